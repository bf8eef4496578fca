"""The largest entry in the first 24 hours of a live account, if no setting states it: 20 dollars.

The first day begins when a person confirms the account's first entry (`confirmation.py`).
"""

from decimal import Decimal
from typing import Final

from onetape.core.clock import format_utc
from onetape.execution.risk_limits import RiskLimits
from onetape.store.database import Store
from onetape.store.live_accounts import LiveAccount, read_live_account
from trader.settings import TraderSettings

#: Largest entry within a day of the confirmation if no setting states one, quote currency.
FIRST_DAY_MAX_ORDER: Final = Decimal(20)
_DAY_MS: Final = 86_400_000
#: Refusal of an entry if the quote currency is no dollar and the settings state no limit.
FIRST_DAY_TEXT: Final = (
    "the first day needs --max-order: "
    f"the default of {FIRST_DAY_MAX_ORDER} is meant for dollars and euros"
)
#: The code of a currency with a value of about a dollar contains one of these texts.
_DOLLARS: Final = ("USD", "EUR", "DAI")


def compute_first_day_limit(
    limits: RiskLimits, account: LiveAccount | None, quote: str, now_ms: int
) -> Decimal | None:
    """Return the largest entry of the first day, quote currency; None: the first day sets no limit.

    The result is 0 if the quote currency is no dollar and the settings state no largest order.

    Args:
        limits: Limits of the settings; None is returned if they state a largest order.
        account: The stored account; None: not opened yet.
        quote: Quote currency.
        now_ms: Market time, epoch milliseconds.
    """
    if limits.max_order is not None or account is None or account.confirmed_ms is None:
        return None
    if now_ms - account.confirmed_ms >= _DAY_MS:
        return None
    return FIRST_DAY_MAX_ORDER if is_dollar(quote) else Decimal(0)


def format_first_day_lines(
    store: Store, settings: TraderSettings, account: str, quote: str, now_ms: int
) -> list[str]:
    """Return a line with the largest entry of the first day; empty: the first day sets no limit.

    Args:
        store: The open database.
        settings: Settings of the trader.
        account: Name of the account.
        quote: Quote currency.
        now_ms: Market time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read.
    """
    opened = read_live_account(store, account)
    limit = compute_first_day_limit(settings.risk, opened, quote, now_ms)
    if limit is None or opened is None or opened.confirmed_ms is None:
        return []
    until = format_utc((opened.confirmed_ms + _DAY_MS) // 1_000)
    if not limit:
        return [f"no entries until {until} UTC: {FIRST_DAY_TEXT}"]
    return [
        f"entries are at most {limit} {quote} large until {until} UTC, the account's first day; "
        "--max-order states another limit"
    ]


def is_dollar(quote: str) -> bool:
    """Return whether a currency has about the value of a dollar: dollars, euros, stablecoins."""
    return any(part in quote for part in _DOLLARS)
