"""`trader accounts`: accounts ranked by return, as a table and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from onetape.cli.tables import Column, fit_table
from onetape.core.clock import format_utc
from onetape.core.digits import Digits
from onetape.core.message_text import format_count
from trader.commands.account_result import AccountResult
from trader.rendering.blocks import format_exact_amount, format_exact_fees, format_fees, wrap_text


class RankedAccount(Struct, frozen=True):
    """An account with the return of buy and hold in the same time."""

    result: AccountResult
    """Result of all its symbols."""
    buy_and_hold: float | None
    """Return of buy and hold, a ratio; None: not known."""
    digits: Digits
    """Decimals with which its money is shown."""

    @property
    def rank(self) -> tuple[bool, float, str]:
        """Return the sort key of accounts: the highest return first, unknown returns last."""
        found = self.result.total_return
        return found is None, 0.0 if found is None else -float(found), self.result.account.name


def format_accounts(
    accounts: Sequence[RankedAccount], database: Path, *, width: int | None = None
) -> str:
    """Return a table of accounts; a narrow terminal shows fewer columns.

    Args:
        accounts: Accounts in the order of their rank; at least one.
        database: Path of the database.
        width: Maximum characters of a line; None: no limit.
    """
    results = [one.result for one in accounts]
    equities = [_format_equity(one) for one in accounts]
    trips = [f"{len(one.closed_trips):,}{' + open' if one.open_trip else ''}" for one in results]
    opened = [format_utc(one.account.opened_ms // 1_000) for one in results]
    series = [f"{one.account.exchange} {one.account.symbol}" for one in results]
    columns = [
        Column("account", [one.account.name for one in results]),
        Column("market", series, ()),
        Column("strategy", [one.account.strategy for one in results], ()),
        Column("opened", [text[:10] for text in opened], ()),
        Column("equity", equities, right=True),
        Column("return", [_format_percent(one.total_return) for one in results], right=True),
        Column(
            "buy and hold",
            [_format_percent(one.buy_and_hold) for one in accounts],
            right=True,
            brief="hold",
        ),
        Column("round trips", trips, ()),
        Column("fees", [format_fees(one.fees) for one in results], (), right=True),
    ]
    table = fit_table(columns, width=width)
    last = (
        f"database: {database}; {format_count(len(accounts), 'account')} by return; buy and hold: "
        "from the first candle after the account was opened"
    )
    return "\n".join([table, *wrap_text(last, "", "  ", width)])


def make_account_document(one: RankedAccount) -> dict[str, Any]:
    """Return an account for --json; money is text with all digits, returns are ratios."""
    result = one.result
    account, total_return = result.account, result.total_return
    return {
        "account": account.name,
        "exchange": account.exchange,
        "symbol": account.symbol,
        "timeframe": account.timeframe,
        "strategy": account.strategy,
        "opened_ms": account.opened_ms,
        "currency": account.currency,
        "start_balance": format_exact_amount(account.start_balance),
        "equity": format_exact_amount(result.equity),
        "return": None if total_return is None else float(total_return),
        "buy_and_hold_return": one.buy_and_hold,
        "realised_profit": format_exact_amount(result.realised),
        "unrealised_profit": format_exact_amount(result.unrealised),
        "fees": format_exact_fees(result.fees),
        "round_trips": len(result.closed_trips),
        "is_position_open": result.open_trip is not None,
    }


def _format_equity(one: RankedAccount) -> str:
    equity = one.result.equity
    currency = one.result.account.currency
    return "?" if equity is None else f"{one.digits.format_money(equity)} {currency}"


def _format_percent(value: Any) -> str:
    return "?" if value is None else f"{float(value):+.2%}"
