"""Causes of different exit prices of freqtrade and the backtester within one candle.

compare_freqtrade.py uses them. A cause is named only if the prices of both follow from it; other
differences are unexplained.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

#: Relative difference of two prices below which they are not listed.
LISTED: Final = 1e-5
#: Relative difference up to which a price counts as the computed one; freqtrade rounds to cents.
ROUNDING: Final = 1e-6


class Exit(NamedTuple):
    """Exits of both programs from one trade, in the same candle."""

    entry: float
    """Price of the entry, the same in both."""
    minutes: int
    """Time from the open of the entry's candle to that of the exit's."""
    open: float
    """Open of the exit's candle."""
    high: float
    low: float
    freqtrade_price: float
    """Price of freqtrade's exit."""
    freqtrade_reason: str
    """freqtrade's exit reason."""
    freqtrade_stop: float
    """freqtrade's stop at the exit."""
    freqtrade_highest: float
    """Highest price of the trade by freqtrade."""
    backtester_price: float
    """Price of the backtester's exit."""
    backtester_kind: str
    """Kind of the backtester's exit."""


class Settings(NamedTuple):
    """Settings of a strategy's file that decide the prices."""

    roi: Mapping[int, float]
    """Least profit by minutes since the entry."""
    trailing_stop: float
    """Distance of the trailing stop above its offset; 0: none."""
    trailing_offset: float
    fee: float
    """Fee of each order as a ratio."""

    @property
    def break_even(self) -> float:
        """Price at which a sell returns what the entry cost, as a multiple of the entry price."""
        return (1 + self.fee) / (1 - self.fee)


def find_price_cause(exits: Exit, settings: Settings) -> str:
    """Return the cause of different prices of an exit; empty if they differ by less than LISTED.

    Args:
        exits: Both exits.
        settings: Settings of the strategy.
    """
    if abs(exits.backtester_price / exits.freqtrade_price - 1) <= LISTED:
        return ""
    begun = [ratio for minutes, ratio in sorted(settings.roi.items()) if minutes <= exits.minutes]
    if exits.freqtrade_reason == "roi" and begun:
        target = exits.entry * (1 + begun[-1]) * settings.break_even
        is_at_target = _is_same(exits.freqtrade_price, min(max(target, exits.low), exits.high))
        return _find_target_cause(exits, target) if is_at_target else _describe_unexplained(exits)
    return _find_stop_cause(exits, settings)


def _find_target_cause(exits: Exit, target: float) -> str:
    """Return the cause where freqtrade left at its target."""
    if (
        exits.backtester_kind == "target"
        and _is_same(exits.backtester_price, exits.open)
        and exits.open > target
    ):
        return "open beyond the target"
    is_inside = exits.low <= exits.backtester_price * (1 + ROUNDING) and exits.high >= target * (
        1 - ROUNDING
    )
    if exits.backtester_kind == "trailing_stop" and is_inside:
        return "target and trailing stop in one candle"
    return _describe_unexplained(exits)


def _find_stop_cause(exits: Exit, settings: Settings) -> str:
    """Return the cause where freqtrade left at its stop."""
    is_trailing = (
        exits.freqtrade_reason == "trailing_stop_loss" and exits.backtester_kind == "trailing_stop"
    )
    offset, distance = settings.trailing_offset, settings.trailing_stop
    theirs = exits.entry * (1 + offset - distance)
    ours = exits.entry * (1 + offset) * settings.break_even * (1 - distance)
    if (
        is_trailing
        and not exits.minutes
        and _is_same(exits.freqtrade_price, theirs)
        and _is_same(exits.backtester_price, ours)
    ):
        return "trailing stop at its offset in the candle of the entry"
    moved = _is_same(exits.freqtrade_highest, exits.high) and _is_same(
        exits.freqtrade_price, exits.freqtrade_stop
    )
    if (
        is_trailing
        and moved
        and exits.low * (1 - ROUNDING) <= exits.backtester_price < exits.freqtrade_price
    ):
        return "trailing stop moved by the high of its candle"
    is_stop = exits.backtester_kind in ("stop_loss", "trailing_stop")
    if (
        is_stop
        and _is_same(exits.backtester_price, exits.open)
        and exits.open < exits.freqtrade_price <= exits.high
    ):
        return "open beyond the stop"
    return _describe_unexplained(exits)


def _describe_unexplained(exits: Exit) -> str:
    return f"unexplained ({exits.freqtrade_reason} and {exits.backtester_kind})"


def _is_same(first: float, second: float) -> bool:
    return abs(first / second - 1) <= ROUNDING
