"""Exits without a signal: the price levels of a position, and how one bar reaches them.

All levels are fractions of the price that the entry was filled at, before its slippage, so they do
not depend on the account. For a bar j bars after the entry:

    stop loss       entry (1 - stop_loss)
    trailing stop   highest (1 - trailing_stop), highest being the highest of the entry, of the
                    highs of the bars before this one, and of this bar's prices so far; with
                    trailing_offset only once highest is above entry (1 + trailing_offset) b; before
                    that, highest (1 - trailing_stop_before_offset)
    break-even      entry b, with break_even once highest is above entry (1 + break_even) b
    target          entry (1 + take_profit), or the ratio that the table has for j; a limit order,
                    so it is rounded up to the market's price step; with net_targets, times b
    strategy        the stop and the target that the strategy gives (core.strategy_levels): of both
                    stops the higher one counts, of both targets the lower one

b is the break-even price as a multiple of the entry price: a sell there returns what the entry
cost, both fees included.

A price that misses a level only by float rounding reaches it: 10 % above 100 is computed as
110.00000000000001, and a high of 110 reaches it.

A bar that opens beyond a level fills at its open. Otherwise a level that the bar reaches fills at
the level's price. If the bar's prices allow several exits, the bar is ambiguous, and the exit at
the worst price is taken:

- It reaches stop and target: the stop is taken.
- It sets a new high, and its low is at or under high (1 - trailing_stop). If the high came first,
  the stop followed it; if the low came first, the stop was never reached; and the price may have
  turned on the way up. The worst of these sells at the low, or at the stop that held at the bar's
  open if the low reaches that stop: no order of the bar's prices sells lower. Where the bar reaches
  the target, the stop followed the price up to the target at most. At trailing_offset and at
  break_even the stop jumps up: if the low lies between its two values, the exit is at the higher
  value.

Intrabar candles are examined by the same rule, each with the highest price so far (intrabar.py).
"""

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from onetape.core.trading_rules import count_ceil_steps, multiply_step
from onetape.engine.exit_config import NOISE, ExitConfig

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelRow

ExitKind = Literal["signal", "time_stop", "stop_loss", "trailing_stop", "target"]
#: Two stops count as equal up to this ratio. At the offset a trailing stop can be computed from the
#: entry price or from the highest price; the results differ by float rounding only.
EQUAL_UP_TO: Final = 1 + 8 * NOISE
#: Exit kinds, by their number in an array.
EXIT_KINDS: Final[tuple[ExitKind, ...]] = get_args(ExitKind)
SIGNAL, TIME_STOP, STOP_LOSS, TRAILING_STOP, TARGET = range(len(EXIT_KINDS))


class Levels(NamedTuple):
    """Exit prices of a position within one bar, quote currency."""

    stop: float
    """Stop level known before the bar opened; minus infinity: no stop."""
    stop_kind: int
    """Kind of the stop: STOP_LOSS or TRAILING_STOP."""
    target: float
    """Target level; infinity: no target."""
    trailing: float = 0.0
    """Trailing stop as a fraction of a price that the bar itself reaches; 0: no trailing stop."""
    trailing_from: float = 0.0
    """Price above which `trailing` holds; 0: any."""
    trailing_before: float = 0.0
    """Trailing stop, as a fraction of a price, up to `trailing_from`; 0: none."""
    break_even_from: float = math.inf
    """Price above which the stop is at least at `break_even_stop`; infinity: at no price."""
    break_even_stop: float = 0.0
    """Price of the stop at break-even."""

    def compute_trailing_stop(self, highest: float, *, is_above: bool = False) -> float:
        """Return the stop that rising prices have set; 0 or less: none.

        Args:
            highest: Highest price so far.
            is_above: Whether the highest price was a little above this one.
        """
        stop = min(highest, self.trailing_from) * self.trailing_before
        if highest > self.trailing_from or (is_above and highest == self.trailing_from):
            stop = max(stop, highest * self.trailing)
        if highest > self.break_even_from or (is_above and highest == self.break_even_from):
            stop = max(stop, self.break_even_stop)
        return stop

    def follow_price(self, price: float) -> "Levels":
        """Return the levels after the price has risen to `price` within the bar."""
        stop = self.compute_trailing_stop(price)
        is_higher = stop > max(self.stop, 0.0)
        return self._replace(stop=stop, stop_kind=TRAILING_STOP) if is_higher else self

    def compute_lowest_moved_stop(self, low: float) -> float:
        """Return the lowest stop, from a low on, that rising prices can set.

        The lowest stop is the low itself, because the stop follows the price; at the offset and at
        break-even the stop jumps, and a low inside a jump means an exit at the jump's upper end.
        """
        for price in sorted((self.trailing_from, self.break_even_from)):
            if math.isfinite(price) and low > self.compute_trailing_stop(price):
                low = max(low, self.compute_trailing_stop(price, is_above=True))
        return low


class BarExit(NamedTuple):
    """Exit of a position within one bar: kind and price."""

    price: float
    """Price of the exit before slippage, inside the bar."""
    kind: int
    """Kind of the exit, as an index into EXIT_KINDS."""
    is_ambiguous: bool
    """Whether the bar's prices allow another exit, and this is the one at the worst price."""


def compute_stop_factor(ratio: float) -> float:
    """Return the factor by which a price is multiplied to get a stop this fraction below it."""
    return (1 - ratio) * (1 + NOISE)


def compute_target_factor(ratio: float) -> float:
    """Return the factor by which a price is multiplied to get a target this fraction above it."""
    return (1 + ratio) * (1 - NOISE)


def compute_levels(
    exits: ExitConfig,
    entry_price: float,
    highest: float,
    age: int,
    price_step: float,
    row: "LevelRow | None" = None,
) -> Levels:
    """Return the levels of one bar.

    Args:
        exits: Settings of the exits.
        entry_price: Price of the entry before slippage.
        highest: Highest of the entry price and of the highs of the bars before this one.
        age: Number of bars since the entry; 0 for the entry's bar.
        price_step: Price step of the market; 0: none.
        row: Stop and target of the strategy that are in force for the position; None: none.
    """
    stop = (
        -math.inf if exits.stop_loss is None else entry_price * compute_stop_factor(exits.stop_loss)
    )
    trailing = 0.0 if exits.trailing_stop is None else compute_stop_factor(exits.trailing_stop)
    before = exits.trailing_stop_before_offset
    target = entry_price * compute_target_factor(exits.compute_target_ratio(age))
    if row is not None:
        stop = stop if row.stop is None else max(stop, row.stop * (1 + NOISE))
        target = target if row.target is None else min(target, row.target * (1 - NOISE))
    levels = Levels(
        stop,
        STOP_LOSS,
        round_up_to_step(target, price_step),
        trailing,
        entry_price * exits.trailing_from,
        0.0 if before is None else compute_stop_factor(before),
        entry_price * exits.break_even_from,
        entry_price * exits.break_even_stop,
    )
    return levels.follow_price(highest)


def find_exit_at_open(open_: float, levels: Levels) -> BarExit | None:
    """Return the exit at the open of a bar; None: the open is beyond no level."""
    if open_ <= levels.stop:
        return BarExit(open_, levels.stop_kind, is_ambiguous=False)
    if open_ >= levels.target:
        return BarExit(open_, TARGET, is_ambiguous=False)
    return None


def find_exit_in_bar(open_: float, high: float, low: float, levels: Levels) -> BarExit | None:
    """Return the exit in a bar of a position that is held at the bar's open; None: no exit."""
    at_open = find_exit_at_open(open_, levels)
    if at_open is not None:
        return at_open
    stop, kind, *_ = levels.follow_price(open_)
    highest_stop = max(stop, levels.compute_trailing_stop(min(high, levels.target)))
    if low <= highest_stop:
        is_ambiguous = highest_stop > stop * EQUAL_UP_TO or high >= levels.target
        if low <= stop:
            return BarExit(stop, kind, is_ambiguous)
        return BarExit(levels.compute_lowest_moved_stop(low), TRAILING_STOP, is_ambiguous)
    if high >= levels.target:
        return BarExit(levels.target, TARGET, is_ambiguous=False)
    return None


def find_exit_after_limit(limit: float, high: float, low: float, levels: Levels) -> BarExit | None:
    """Return the exit in the bar inside which an entry was filled at its limit; None: no exit.

    The low comes after the fill, because the price fell through the limit; the high may have come
    before it. So a stop is reached as in any bar that opens at the limit, and a target is not.

    Args:
        limit: Price of the fill.
        high: High of the bar, which may be before the fill.
        low: Low of the bar.
        levels: Levels of a position that was entered at the limit.
    """
    if limit <= levels.stop:
        return BarExit(limit, levels.stop_kind, is_ambiguous=False)
    if limit >= levels.target:
        levels = levels._replace(target=math.inf)
    found = find_exit_in_bar(limit, high, low, levels)
    return None if found is None or found.kind == TARGET else found


def find_final_exit(open_: float, high: float, low: float, levels: Levels) -> BarExit | None:
    """Return the exit of a bar that still forms, or None while its later prices may change it.

    Final are an exit at the open, and a stop that held at the open and was reached. A target, or a
    trailing stop that the bar's own high has moved over its low, is decided at the bar's close.
    """
    if low <= levels.follow_price(open_).stop:
        return find_exit_in_bar(open_, high, low, levels)
    return find_exit_at_open(open_, levels)


def find_final_exit_after_limit(
    limit: float, high: float, low: float, levels: Levels
) -> BarExit | None:
    """Return `find_exit_after_limit` of a forming bar, if later prices cannot change that exit."""
    return find_exit_after_limit(limit, high, low, levels) if low <= levels.stop else None


def round_up_to_step(price: float, step: float) -> float:
    """Return a price rounded up to the market's price step; a step of 0 rounds nothing."""
    if not step or math.isinf(price):
        return price
    # The float nearest to the decimal, because 1,058 * 0.1 as a float is above a high of 105.8.
    return multiply_step(count_ceil_steps(price / step), step)
