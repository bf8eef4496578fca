"""The return of buy and hold since an account was opened, by the backtest's rule."""

from collections.abc import Sequence
from typing import Any, Final

from onetape.core.timeframes import Timeframe
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import AccountConfig
from onetape.engine.buy_and_hold import compute_buy_and_hold
from onetape.store.account_reading import read_last_session
from onetape.store.accounts import AccountSeries
from onetape.store.batches import convert_rows_to_columns
from onetape.store.candles import read_candle_at
from onetape.store.database import Store
from onetape.store.market_data import read_trading_rules
from onetape.store.reading import read_first_traded_after, read_newest_row
from trader.commands.account_result import make_series_key

#: Settings of the costs that buy and hold pays too.
_COSTS: Final = ("fee_rate", "fee_currency", "slippage_bps", "spread_bps", "volume_impact")


def read_mean_buy_and_hold(store: Store, symbols: Sequence[AccountSeries]) -> float | None:
    """Return the return of buy and hold with all symbols of an account in equal parts.

    Args:
        store: The open database.
        symbols: The account, one record for each of its symbols; at least one.

    Returns:
        A ratio, as of `read_buy_and_hold`; None: that of a symbol is not known.

    Raises:
        StoreError: the file cannot be read.
    """
    found = [read_buy_and_hold(store, one) for one in symbols]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def read_buy_and_hold(store: Store, account: AccountSeries) -> float | None:
    """Return the return of buy and hold with the start balance since an account was opened.

    The buy is at the open of the first candle with a trade after the opening, with the costs of the
    account's last session, and valued at the newest stored price without selling.

    Returns:
        A ratio: 0.05 is 5 %. None: the candles or the start balance are not stored.

    Raises:
        StoreError: the file cannot be read.
    """
    key, start = make_series_key(account), account.start_balance
    opened = Timeframe.parse(key.timeframe).floor(account.opened_ms // 1_000)
    bought, newest = read_first_traded_after(store, key, opened), read_newest_row(store, key)
    if bought is None or newest is None or start is None:
        return None
    # The engine buys in the second candle of its input.
    before = read_candle_at(store, key, opened) or bought._replace(timestamp=opened)
    rows = [before, bought, *([newest] if newest.timestamp > bought.timestamp else [])]
    session = read_last_session(store, account.name, account.symbol)
    costs: dict[str, Any] = {}
    if session is not None:
        costs = {name: session.rules[name] for name in _COSTS if name in session.rules}
    steps = read_trading_rules(store, key.exchange, key.symbol) or NO_TRADING_RULES
    config = AccountConfig(cash=float(start), trading_rules=steps, **costs)
    held = compute_buy_and_hold(convert_rows_to_columns(rows), config)
    return None if held is None else held.total_return
