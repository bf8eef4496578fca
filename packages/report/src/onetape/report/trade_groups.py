"""Trades in groups: by exit reason, entry reason and symbol, with the sums of each group."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from onetape.report.data import ReportData, ReportTrade

#: Names of the groups of a table; further ones are summed up in one row.
MAX_GROUPS: Final = 30
#: Name of the group of trades without an exit.
OPEN: Final = "open position"
#: Name of the group of trades without a reason.
NO_REASON: Final = "no reason stated"

GroupKind = Literal["exit", "entry", "symbol"]


class TradeOutcome(NamedTuple):
    """The result of one trade, and the name of its group."""

    group: str
    """Name of the group that the trade belongs to."""
    profit: float
    """Profit after fees, quote currency."""
    ratio: float
    """Profit after fees as a ratio of the amount paid; NaN where nothing was paid."""
    seconds: int
    """Time from entry to exit."""
    is_open: bool = False
    """Whether the trade has no exit; `profit` is then its profit at the last close."""


class TradeGroup(Struct, frozen=True):
    """Sums of one group of trades, all after fees."""

    name: str
    """Name of the group."""
    trades: int
    """Number of trades in the group."""
    wins: int
    """Number of trades with a profit above 0."""
    profit: float
    """Sum of the profits, quote currency."""
    average: float | None
    """Mean profit ratio; None without a ratio."""
    best: float | None
    """Largest profit ratio."""
    worst: float | None
    """Smallest profit ratio."""
    held_seconds: float
    """Mean time from entry to exit."""
    is_rest: bool = False
    """Whether the group stands for several names."""

    @property
    def win_rate(self) -> float:
        """Return wins / trades."""
        return self.wins / self.trades if self.trades else 0.0


def group_trades(outcomes: Iterable[TradeOutcome]) -> list[TradeGroup]:
    """Return the sums of each group, the group with the most trades first.

    Trades that are open at the end are in no other group: they form a separate group, the last one.
    The groups after the first 30 are summed up in one group.
    """
    by_name: dict[str, list[TradeOutcome]] = {}
    still_open: list[TradeOutcome] = []
    for one in outcomes:
        (still_open if one.is_open else by_name.setdefault(one.group, [])).append(one)
    names = sorted(by_name, key=lambda name: (-len(by_name[name]), name))
    groups = [sum_outcomes(name, by_name[name]) for name in names[:MAX_GROUPS]]
    rest = [one for name in names[MAX_GROUPS:] for one in by_name[name]]
    if rest:
        name = f"{len(names) - MAX_GROUPS:,} others"
        groups.append(sum_outcomes(name, rest, is_rest=True))
    if still_open:
        groups.append(sum_outcomes(OPEN, still_open))
    return groups


def sum_outcomes(
    name: str, outcomes: Sequence[TradeOutcome], *, is_rest: bool = False
) -> TradeGroup:
    """Return the sums of some trades, at least one."""
    ratios = [one.ratio for one in outcomes if math.isfinite(one.ratio)]
    return TradeGroup(
        name=name,
        trades=len(outcomes),
        wins=sum(one.profit > 0 for one in outcomes),
        profit=math.fsum(one.profit for one in outcomes),
        average=_compute_mean(ratios) if ratios else None,
        best=max(ratios, default=None),
        worst=min(ratios, default=None),
        held_seconds=_compute_mean([one.seconds for one in outcomes]),
        is_rest=is_rest,
    )


def _compute_mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values)


def make_outcomes(data: ReportData, kind: GroupKind) -> list[TradeOutcome]:
    """Return the trades of a report, each with the name of its group."""
    return [
        TradeOutcome(
            group=_get_group_name(data, trade, kind),
            profit=trade.profit_quote,
            ratio=trade.profit_ratio,
            seconds=trade.exit_timestamp - trade.entry_timestamp,
            is_open=trade.open_at_end,
        )
        for trade in data.trades
    ]


def _get_group_name(data: ReportData, trade: ReportTrade, kind: GroupKind) -> str:
    if kind == "symbol":
        return trade.symbol or data.title.symbol
    return (trade.exit_reason if kind == "exit" else trade.entry_reason) or NO_REASON
