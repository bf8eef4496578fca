"""Reasons why freqtrade and the backtester leave a trade in one candle at different prices.

A cause is named only where the prices of both follow from it; other differences are unexplained.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

#: Prices of one trade that differ by less are not listed.
LISTED: Final = 1e-5
#: A price that misses a computed one by more does not follow from it; freqtrade rounds to cents.
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
    theirs: float
    """Price of freqtrade's exit."""
    their_reason: str
    their_stop: float
    """freqtrade's stop at the exit."""
    their_highest: float
    """Highest price of the trade by freqtrade."""
    ours: float
    our_kind: str


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
        """Price that brings back what an entry cost, as a multiple of the entry's."""
        return (1 + self.fee) / (1 - self.fee)


def price_cause(one: Exit, settings: Settings) -> str:
    """Return the cause of different prices of an exit; empty where they differ by less than LISTED.

    Args:
        one: The exit.
        settings: Settings of the strategy.
    """
    if abs(one.ours / one.theirs - 1) <= LISTED:
        return ""
    begun = [ratio for minutes, ratio in sorted(settings.roi.items()) if minutes <= one.minutes]
    if one.their_reason == "roi" and begun:
        target = one.entry * (1 + begun[-1]) * settings.break_even
        is_at_target = _same(one.theirs, min(max(target, one.low), one.high))
        return _target_cause(one, target) if is_at_target else _unexplained(one)
    return _stop_cause(one, settings)


def _target_cause(one: Exit, target: float) -> str:
    """Return the cause where freqtrade left at its target."""
    if one.our_kind == "target" and _same(one.ours, one.open) and one.open > target:
        return "open beyond the target"
    is_inside = one.low <= one.ours * (1 + ROUNDING) and one.high >= target * (1 - ROUNDING)
    if one.our_kind == "trailing_stop" and is_inside:
        return "target and trailing stop in one candle"
    return _unexplained(one)


def _stop_cause(one: Exit, settings: Settings) -> str:
    """Return the cause where freqtrade left at its stop."""
    is_trailing = one.their_reason == "trailing_stop_loss" and one.our_kind == "trailing_stop"
    offset, distance = settings.trailing_offset, settings.trailing_stop
    theirs = one.entry * (1 + offset - distance)
    ours = one.entry * (1 + offset) * settings.break_even * (1 - distance)
    if is_trailing and not one.minutes and _same(one.theirs, theirs) and _same(one.ours, ours):
        return "trailing stop at its offset in the candle of the entry"
    moved = _same(one.their_highest, one.high) and _same(one.theirs, one.their_stop)
    if is_trailing and moved and one.low * (1 - ROUNDING) <= one.ours < one.theirs:
        return "trailing stop moved by the high of its candle"
    is_stop = one.our_kind in ("stop_loss", "trailing_stop")
    if is_stop and _same(one.ours, one.open) and one.open < one.theirs <= one.high:
        return "open beyond the stop"
    return _unexplained(one)


def _unexplained(one: Exit) -> str:
    return f"unexplained ({one.their_reason} and {one.our_kind})"


def _same(one: float, other: float) -> bool:
    return abs(one / other - 1) <= ROUNDING
