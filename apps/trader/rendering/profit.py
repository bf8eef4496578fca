"""`trader profit`: the profit of days, weeks or months, as tables and as JSON."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from msgspec import Struct

from onetape.cli.tables import Column, fit_table
from onetape.core.digits import format_fixed
from onetape.core.message_text import format_count
from trader.commands.account_result import AccountResult
from trader.commands.profit_periods import Period, PeriodProfit, sum_periods
from trader.commands.round_trips import PRECISION
from trader.rendering.blocks import format_exact_amount, format_exact_fees, format_fees, wrap_text


class CurrencyProfit(Struct, frozen=True):
    """The accounts of one quote currency, and their profit by period."""

    currency: str
    results: list[AccountResult]
    """Results of accounts, one for each symbol."""
    periods: list[PeriodProfit]
    """Profit of each period, oldest first."""
    money_decimals: int
    """Number of decimals with which amounts of the currency are shown."""

    @property
    def unrealised(self) -> Decimal | None:
        """Return the unrealised profit of all accounts; None: that of one is unknown."""
        found = [result.unrealised for result in self.results]
        known = [one for one in found if one is not None]
        with localcontext(prec=PRECISION):
            return sum(known, Decimal(0)) if len(known) == len(found) else None


def format_profit(
    currencies: Sequence[CurrencyProfit],
    period: Period,
    timezone: str,
    database: Path,
    *,
    sources: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """Return a table of periods for each quote currency; different currencies are not added up.

    Args:
        currencies: Currencies, at least one.
        period: Length of a period.
        timezone: Name of the time zone whose days count.
        database: Path of the database.
        sources: Series at whose closes profit was converted; empty: nothing was.
        width: Maximum characters of a line; None: no limit.
    """
    parts = [_format_currency_profit(one, period, width) for one in currencies]
    count = len({each.account.name for one in currencies for each in one.results})
    converted = f"; converted by the closes of {', '.join(sources)}" if sources else ""
    last = f"database: {database}; {format_count(count, 'account')}; days of {timezone}{converted}"
    return "\n\n".join([*parts, "\n".join(wrap_text(last, "", "  ", width))])


def make_profit_document(one: CurrencyProfit) -> dict[str, Any]:
    """Return the profit of one quote currency for --json; money is text with all digits."""
    total = sum_periods(one.periods)
    return {
        "currency": one.currency,
        "accounts": list(dict.fromkeys(result.account.name for result in one.results)),
        "periods": [_make_period_document(period) for period in one.periods],
        "total": None if total is None else _make_period_document(total),
        "unrealised_profit": format_exact_amount(one.unrealised),
    }


def _make_period_document(one: PeriodProfit) -> dict[str, Any]:
    return {
        "first_day": one.first_day.isoformat(),
        "round_trips": one.round_trips,
        "won": one.won,
        "profit": format_exact_amount(one.profit),
        "fees": format_exact_fees(one.fees),
    }


def _format_currency_profit(one: CurrencyProfit, period: Period, width: int | None) -> str:
    unrealised = one.unrealised
    amount = "unknown" if unrealised is None else _format_money(unrealised, one)
    rest = f"open positions: unrealised {amount} {one.currency}, not part of the table"
    total = sum_periods(one.periods)
    if total is None:
        none = f"{one.currency}: no round trip is closed yet"
        return "\n".join([*wrap_text(none, "", "  ", width), *wrap_text(rest, "", "  ", width)])
    rows = [*one.periods, total]
    days = [each.first_day.isoformat() for each in one.periods]
    if period == "month":
        days = [day[:7] for day in days]
    columns = [
        Column("week from" if period == "week" else period, [*days, "total"]),
        Column(
            "round trips", [f"{each.round_trips:,}" for each in rows], right=True, brief="trips"
        ),
        Column("won", [f"{each.won:,}" for each in rows], right=True),
        Column(
            f"profit, {one.currency}",
            [_format_money(each.profit, one) for each in rows],
            right=True,
        ),
        Column("fees paid", [format_fees(each.fees) for each in rows], (), right=True),
    ]
    return "\n".join([fit_table(columns, width=width), *wrap_text(rest, "", "  ", width)])


def _format_money(amount: Decimal, one: CurrencyProfit) -> str:
    return format_fixed(float(amount), one.money_decimals, signed=True)
