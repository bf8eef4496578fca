"""Sums the profit of closed round trips by day, week or month of a time zone."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal, localcontext
from typing import Final, Literal, get_args

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from trader.commands.round_trips import PRECISION, RoundTrip

#: Length of a period of profit.
Period = Literal["day", "week", "month"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)


class PeriodProfit(Struct, frozen=True):
    """Profit of the round trips that were closed in one period."""

    first_day: date
    """First day of the period in its time zone; the Monday of a week."""
    round_trips: int
    """Number of round trips that were closed."""
    won: int
    """Number of round trips with a profit above 0."""
    profit: Decimal
    """Profit of the period after fees, quote currency."""
    fees: dict[str, Decimal]
    """Fees paid in the period, by currency."""


def parse_period(text: str) -> Period:
    """Return the period of `--by`.

    Raises:
        UsageError: the value is not day, week or month.
    """
    for period in PERIODS:
        if period == text:
            return period
    raise UsageError(f"--by {text!r} is not one of {', '.join(PERIODS)}")


def parse_timezone(name: str) -> tzinfo:
    """Return the time zone of an IANA name.

    Raises:
        UsageError: this computer has no time zone of that name.
    """
    from zoneinfo import ZoneInfo, available_timezones

    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        hint = suggest_name(name, available_timezones())
        raise UsageError(
            f"--timezone {name!r} is not known; write a name such as Europe/Berlin{hint}"
        ) from error


def compute_first_day(moment_ms: int, period: Period, zone: tzinfo) -> date:
    """Return the first day of the period that a moment lies in.

    Args:
        moment_ms: Epoch milliseconds.
        period: Weeks begin on Monday.
        zone: Time zone whose days count.
    """
    day = datetime.fromtimestamp(moment_ms / 1_000, tz=zone).date()
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def sum_profit_by_period(
    trips: Iterable[RoundTrip], period: Period, zone: tzinfo
) -> list[PeriodProfit]:
    """Return the profit of each period in which a round trip was closed, oldest first.

    Args:
        trips: Round trips of one quote currency; open ones are left out.
        period: Weeks begin on Monday.
        zone: Time zone whose days count for the last sell of a round trip.
    """
    groups: dict[date, list[RoundTrip]] = {}
    for trip in trips:
        if trip.closed_ms is not None:
            groups.setdefault(compute_first_day(trip.closed_ms, period, zone), []).append(trip)
    return [_sum_trips(first_day, groups[first_day]) for first_day in sorted(groups)]


def sum_periods(periods: Iterable[PeriodProfit]) -> PeriodProfit | None:
    """Return the sum of periods, with the first day of the first one; None: no period."""
    listed = list(periods)
    if not listed:
        return None
    with localcontext(prec=PRECISION):
        return PeriodProfit(
            listed[0].first_day,
            sum(one.round_trips for one in listed),
            sum(one.won for one in listed),
            sum((one.profit for one in listed), Decimal(0)),
            add_fees(one.fees for one in listed),
        )


def add_fees(parts: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sums of fees by currency.

    Args:
        parts: Fees by currency, of several round trips or periods.
    """
    fees: dict[str, Decimal] = {}
    with localcontext(prec=PRECISION):
        for part in parts:
            for currency, fee in part.items():
                fees[currency] = fees.get(currency, Decimal(0)) + fee
    return fees


def _sum_trips(first_day: date, trips: list[RoundTrip]) -> PeriodProfit:
    profits = [trip.quote_flow for trip in trips]
    with localcontext(prec=PRECISION):
        profit = sum(profits, Decimal(0))
    won = sum(one > 0 for one in profits)
    return PeriodProfit(first_day, len(trips), won, profit, add_fees(trip.fees for trip in trips))
