"""Intrabar candles decide which level of a bar was reached first, and at which price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles
from onetape.core.resample import resample
from onetape.core.strategy_levels import LevelColumns
from onetape.core.timeframes import Timeframe
from onetape.engine import (
    AccountConfig,
    BarExit,
    ExitConfig,
    IntrabarSource,
    Levels,
    SimulationResult,
    SymbolSeries,
    compute_levels,
    find_exit_in_bar,
    simulate,
    simulate_portfolio,
)
from onetape.engine.exits import STOP_LOSS, TARGET, TRAILING_STOP
from onetape.engine.intrabar import find_intrabar_exit, make_candle_reader
from plain_engine import PlainLoop, draw_rules, make_signals, walk
from plain_levels import make_levels
from repeatable import count_examples

HOUR, MINUTE = Timeframe.parse("1h"), Timeframe.parse("1m")
BOTH = Levels(90.0, STOP_LOSS, 110.0)
STOP = BOTH._replace(target=math.inf)
LIMIT = BOTH._replace(stop=-math.inf, stop_kind=TARGET)
#: Number, open, high, low, and volume where it is not 1.
Minute = tuple[float, ...]


def make_intrabar(
    rows: Sequence[Minute], absent: tuple[tuple[int, int], ...] = ()
) -> IntrabarSource:
    """Return the intrabar of these minutes."""
    times = np.array([60 * int(row[0]) for row in rows], dtype=np.int64)
    open_, high, low = (np.array([row[at] for row in rows], dtype=np.float64) for at in (1, 2, 3))
    volume = np.array([row[4] if len(row) > 4 else 1.0 for row in rows], dtype=np.float64)
    candles = Candles.from_columns(times, open_, high, low, open_, volume)
    return IntrabarSource(HOUR, MINUTE, make_candle_reader(candles), absent)


QUIET = (0, 100, 101, 99)


@pytest.mark.parametrize(
    ("levels", "rows", "found"),
    [
        (BOTH, [QUIET, (1, 100, 111, 99)], (110.0, TARGET, 60)),
        (BOTH, [QUIET, (1, 100, 105, 89)], (90.0, STOP_LOSS, 60)),
        (BOTH, [QUIET, (1, 112, 113, 85)], (112.0, TARGET, 60)),
        (BOTH, [QUIET, (1, 87, 113, 85)], (87.0, STOP_LOSS, 60)),
        (STOP, [QUIET, (1, 87, 89, 85)], (87.0, STOP_LOSS, 60)),
        (STOP, [QUIET, (1, 95, 96, 85)], (90.0, STOP_LOSS, 60)),
        (LIMIT, [QUIET, (1, 112, 114, 105)], (112.0, TARGET, 60)),
        (LIMIT, [QUIET, (1, 105, 114, 104)], (110.0, TARGET, 60)),
        # Nothing was traded in the first minute: it repeats a price of before the bar.
        (STOP, [(0, 87, 87, 87, 0.0), (1, 100, 101, 88)], (90.0, STOP_LOSS, 60)),
        # The price of a minute with volume 0 moved: its trades are not counted, and were there.
        (STOP, [(0, 100, 101, 88, 0.0), (1, 85, 101, 84)], (90.0, STOP_LOSS, 0)),
        # No minute has any volume: their source does not report it, and a flat one counts, too.
        (STOP, [(0, 87, 87, 87, 0.0), (1, 100, 101, 88, 0.0)], (87.0, STOP_LOSS, 0)),
    ],
)
def test_the_first_minute_that_reaches_a_level_fills_it_or_its_own_open_beyond_it(
    levels: Levels, rows: Sequence[Minute], found: tuple[float, int, int]
):
    inside = find_intrabar_exit(make_intrabar(rows), 0, levels, 80.0, 120.0)
    assert inside.exit is not None
    assert (inside.exit.price, inside.exit.kind, inside.timestamp) == found


@pytest.mark.parametrize(
    ("rows", "undecided"),
    [
        ([], "missing"),
        ([QUIET, (2, 100, 111, 99)], "missing"),
        ([QUIET, (1, 100, 101, 99)], "missing"),
        ([(minute, *QUIET[1:]) for minute in range(60)], "unlike"),
        # The bar never fell to 70, so this minute is not a part of it.
        ([QUIET, (1, 70, 71, 69)], "unlike"),
    ],
)
def test_intrabar_minutes_that_decide_nothing_have_a_reason(rows: Sequence[Minute], undecided: str):
    inside = find_intrabar_exit(make_intrabar(rows), 0, BOTH, 80.0, 120.0)
    assert (inside.exit, inside.undecided, inside.is_position_open) == (None, undecided, False)


def test_a_minute_that_reaches_stop_and_target_counts_as_stopped_and_decides_nothing():
    inside = find_intrabar_exit(make_intrabar([(0, 100, 111, 89)]), 0, BOTH, 80.0, 120.0)
    assert inside == ((90.0, STOP_LOSS, True), 0, "both")


#: A trailing stop of 5 % on an entry at 100, in an hour that reaches from 96.5 to 130.
TRAILING = Levels(95.0, TRAILING_STOP, math.inf, 0.95)
REST = [(minute, 130, 130, 130) for minute in range(3, 60)]


@pytest.mark.parametrize(
    ("rows", "found", "opened", "undecided"),
    [
        # The stop follows the highest minute so far: 103, then the low.
        ([(0, 100, 103, 100), (1, 103, 103, 96.5), (2, 97, 130, 97)], 97.85, 60, None),
        ([(0, 100, 103, 100), (1, 97, 98, 96.5), (2, 97, 130, 97)], 97.0, 60, None),
        # The low came first: the position goes on.
        ([(0, 100, 101, 96.5), (1, 97, 101, 97), (2, 130, 130, 125)], None, 0, None),
        # One minute has both, and the worst that it allows is its low.
        ([(0, 100, 101, 100), (1, 100, 130, 96.5), (2, 130, 130, 125)], 96.5, 60, "both"),
        ([(0, 100, 103, 100), (2, 97, 130, 97)], None, 0, "missing"),
        # Minutes without the hour's high do not prove that its stop was not reached.
        ([(0, 100, 101, 96.5), (1, 97, 97, 97), (2, 97, 97, 97)], None, 0, "unlike"),
    ],
)
def test_a_trailing_stop_follows_the_minutes_inside_a_bar(
    rows: Sequence[Minute], found: float | None, opened: int, undecided: str | None
):
    rest = [(minute, 97, 97, 97) for minute in range(3, 60)] if undecided == "unlike" else REST
    inside = find_intrabar_exit(make_intrabar([*rows, *rest]), 0, TRAILING, 96.5, 130.0)
    price = None if inside.exit is None else inside.exit.price
    assert (price, inside.timestamp, inside.undecided) == (pytest.approx(found), opened, undecided)
    assert inside.is_position_open == (found is None and undecided is None)


@pytest.mark.parametrize(("absent", "undecided"), [((60, 180), None), ((60, 120), "missing")])
def test_a_minute_that_the_exchange_does_not_have_is_skipped(
    absent: tuple[int, int], undecided: str | None
):
    intrabar = make_intrabar([QUIET, (3, 100, 111, 99)], (absent,))
    assert find_intrabar_exit(intrabar, 0, BOTH, 80.0, 120.0).undecided == undecided


def test_quiet_minutes_of_a_series_with_volume_reach_nothing():
    # The bar traded although its minutes did not: they lack its trades.
    quiet = [(minute, 87, 87, 87, 0.0) for minute in range(60)]
    intrabar = replace(make_intrabar(quiet), has_volume=True)
    assert find_intrabar_exit(intrabar, 0, BOTH, 80.0, 120.0).undecided == "unlike"


def run_of(
    bar: tuple[float, float, float], exits: ExitConfig, rows: Sequence[Minute]
) -> SimulationResult:
    """Return a run of an entry at 100 in the second of three hours, which is this bar."""
    open_, high, low = np.array([(100.0, 100.0, 100.0), bar, (100.0, 100.0, 100.0)]).T
    times = np.arange(3, dtype=np.int64) * 3_600
    candles = Candles.from_columns(times, open_, high, low, open_, np.ones(3))
    minutes = [(60 + row[0], *row[1:]) for row in rows]
    return simulate(
        candles,
        np.array([1, 0, 0], dtype=np.int8),
        AccountConfig(fee_rate=0.0, exits=exits),
        intrabar=make_intrabar(minutes),
    )


@pytest.mark.parametrize(
    ("exits", "rows", "price"),
    [
        ({"stop_loss": 0.1}, [QUIET, (1, 85, 86, 84)], 85.0),
        ({"trailing_stop": 0.1}, [QUIET, (1, 85, 86, 84)], 85.0),
        ({"take_profit": 0.1}, [QUIET, (1, 115, 116, 112)], 115.0),
        ({"stop_loss": 0.1, "take_profit": 0.1}, [QUIET, (1, 115, 116, 84)], 115.0),
        ({"stop_loss": 0.1, "take_profit": 0.1}, [QUIET, (1, 85, 116, 84)], 85.0),
        ({"stop_loss": 0.1}, [QUIET], 90.0),
    ],
)
def test_a_level_that_a_minute_opens_beyond_is_filled_at_that_open(
    exits: dict[str, Any], rows: Sequence[Minute], price: float
):
    result = run_of((100.0, 120.0, 80.0), ExitConfig(**exits), rows)
    assert result.sells[0].before_slippage == pytest.approx(price)
    assert result.fills[1].base_change == pytest.approx(-100.0)


def test_a_bar_that_opens_beyond_a_level_reads_no_minutes():
    prices = np.array([100.0, 100.0, 80.0])
    candles = Candles.from_columns(
        np.arange(3, dtype=np.int64) * 3_600, prices, prices, prices, prices, np.ones(3)
    )
    rules = AccountConfig(fee_rate=0.0, exits=ExitConfig(stop_loss=0.1))
    signal = np.array([1, 0, 0], dtype=np.int8)
    result = simulate(candles, signal, rules, intrabar=make_intrabar([(120, 70, 71, 69)]))
    assert (result.sells[0].before_slippage, result.fill_log.intrabar_exits) == (80.0, {})


def test_ambiguous_bars_are_counted_by_the_decision_of_their_minutes():
    exits = ExitConfig(stop_loss=0.1, take_profit=0.1)
    counts = [
        (fill_log.ambiguous, fill_log.decided, fill_log.missing_intrabar)
        for rows in ([QUIET, (1, 100, 111, 99)], [(0, 100, 111, 89)], [QUIET])
        for fill_log in [run_of((100.0, 120.0, 80.0), exits, rows).fill_log]
    ]
    assert counts == [(0, 1, 0), (1, 0, 0), (1, 0, 1)]


FINE, COARSE = Timeframe.parse("1h"), Timeframe.parse("4h")


def compute_trailing_stop(levels: Levels, highest: float) -> float:
    """Return the trailing stop after a highest price; 0 without one."""
    before = min(highest, levels.trailing_from) * levels.trailing_before
    stop = max(before, highest * levels.trailing) if highest > levels.trailing_from else before
    return max(stop, levels.break_even_stop) if highest > levels.break_even_from else stop


def compute_stop_above(levels: Levels, price: float) -> float:
    """Return the trailing stop after the price has been a little above this one."""
    stop = compute_trailing_stop(levels, price)
    if price == levels.trailing_from:
        stop = max(stop, price * levels.trailing)
    return max(stop, levels.break_even_stop) if price == levels.break_even_from else stop


def find_exit_in_minute(open_: float, high: float, low: float, levels: Levels) -> BarExit | None:
    """Return what ends a position in an intrabar candle, step by step along its prices."""
    stop, kind, target, *_ = levels
    if open_ <= stop or open_ >= target:
        return BarExit(open_, kind if open_ <= stop else TARGET, is_ambiguous=False)
    if compute_trailing_stop(levels, open_) > max(stop, 0.0):
        stop, kind = compute_trailing_stop(levels, open_), TRAILING_STOP
    moved = compute_trailing_stop(levels, min(high, target))
    if low <= stop:
        return BarExit(stop, kind, is_ambiguous=moved > stop or high >= target)
    if low <= moved:
        # At the offset the stop jumps: no price inside of the jump is a stop.
        price = low
        for jump in sorted((levels.trailing_from, levels.break_even_from)):
            if math.isfinite(jump) and price > compute_trailing_stop(levels, jump):
                price = max(price, compute_stop_above(levels, jump))
        return BarExit(price, TRAILING_STOP, is_ambiguous=True)
    return BarExit(target, TARGET, is_ambiguous=False) if high >= target else None


class IntrabarLoop(PlainLoop):
    """The plain loop, which reads intrabar candles of each bar that may end a position."""

    def __init__(
        self,
        candles: Candles,
        signal: list[int],
        rules: AccountConfig,
        intrabar: "MinuteCandles",
        own: LevelColumns | None = None,
    ) -> None:
        super().__init__(candles, signal, rules, own)
        self._made = intrabar
        self.decided = self.missing_intrabar = 0

    def inside(self, bar: int, open_: float, high: float, low: float) -> None:
        step = float(self.rules.trading_rules.price_step or 0)
        age = bar - (self.entry or 0)
        levels = compute_levels(
            self.rules.exits, self.entry_price, self.highest, age, step, self.own.row
        )
        coarse = find_exit_in_bar(open_, high, low, levels)
        if coarse is None:
            return
        if open_ <= levels.stop or open_ >= levels.target:
            self.leave(bar, coarse.price, coarse.kind)
            return
        found_inside = self._walked(int(self.candles.timestamp[bar]), levels, (open_, high, low))
        if isinstance(found_inside, BarExit) and not low <= found_inside.price <= high:
            found_inside = "unlike"
        if coarse.is_ambiguous:
            is_decided = found_inside == "on" or (
                isinstance(found_inside, BarExit) and not found_inside.is_ambiguous
            )
            self.decided += is_decided
            self.done.ambiguous += not is_decided
            self.missing_intrabar += found_inside == "missing"
        if found_inside != "on":
            found = found_inside if isinstance(found_inside, BarExit) else coarse
            self.leave(bar, found.price, found.kind)

    def _walked(self, start: int, levels: Levels, bar: tuple[float, float, float]) -> BarExit | str:
        stop, kind = levels.stop, levels.stop_kind
        if compute_trailing_stop(levels, bar[0]) > max(stop, 0.0):
            stop, kind = compute_trailing_stop(levels, bar[0]), TRAILING_STOP
        target = levels.target if bar[1] >= levels.target else math.inf
        stop = stop if bar[2] <= stop else -math.inf
        must_end = math.isfinite(stop) or math.isfinite(target)
        highs, lows = list[float](), list[float]()
        moments = range(start, start + COARSE.seconds, FINE.seconds)
        there = [self._made.there[moment] for moment in moments if moment in self._made.there]
        has_volume = any(volume for *_, volume in there)
        for moment in moments:
            if moment in self._made.absent:
                continue
            if moment not in self._made.there:
                return "missing"
            open_, high, low, volume = self._made.there[moment]
            if has_volume and not volume and high == low:
                continue
            highs.append(high)
            lows.append(low)
            found = find_exit_in_minute(open_, high, low, Levels(stop, kind, target, *levels[3:]))
            if found is not None:
                return found
            if compute_trailing_stop(levels, high) > max(stop, 0.0):
                stop, kind = compute_trailing_stop(levels, high), TRAILING_STOP
        is_whole = bool(highs) and max(highs) >= bar[1] and min(lows) <= bar[2]
        return "on" if is_whole and not must_end else "unlike"


@dataclass(frozen=True)
class MinuteCandles:
    """Finer candles for the loop: a dictionary where the engine has arrays."""

    there: dict[int, tuple[float, float, float, float]]
    absent: set[int]

    @classmethod
    def of(cls, candles: Candles, absent: set[int]) -> "MinuteCandles":
        columns = (candles.open, candles.high, candles.low, candles.volume)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return cls(dict(zip(candles.timestamp.tolist(), rows, strict=True)), absent)


def select_candles(candles: Candles, is_kept: NDArray[np.bool_]) -> Candles:
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.timestamp[is_kept], *(column[is_kept] for column in columns))


@settings(max_examples=count_examples(300))
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(8, 600),
    rules=draw_rules().filter(lambda rules: rules.exits.has_levels),
    lost=st.sampled_from([0.0, 0.0, 0.05, 0.5]),
    is_foreign=st.booleans(),
    move=st.sampled_from([0.004, 0.02]),
    has_own=st.booleans(),
)
def test_every_fill_equals_that_of_a_loop_over_the_intrabar_candles(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    lost: float,
    is_foreign: bool,
    move: float,
    has_own: bool,
):
    fine = walk(seed, count, move=move)
    bars = resample(fine, FINE, COARSE)
    rng = np.random.default_rng(seed)
    # Foreign ones contradict the bars: no fill may leave its candle for that.
    stored = walk(seed + 1, count, move=move) if is_foreign else fine
    is_lost = rng.random(count) < lost
    is_absent = is_lost & (rng.random(count) < 0.5)
    there, absent = select_candles(stored, ~is_lost), stored.timestamp[is_absent].tolist()
    signal = make_signals(seed, len(bars))
    ranges = tuple((moment, moment + FINE.seconds) for moment in absent)
    intrabar = IntrabarSource(COARSE, FINE, make_candle_reader(there), ranges)
    own = make_levels(seed, bars) if has_own else None
    result = simulate(bars, np.array(signal, np.int8), rules, intrabar=intrabar, levels=own)
    loop = IntrabarLoop(bars, signal, rules, MinuteCandles.of(there, set(absent)), own)
    plain = loop.run()
    kinds = iter(result.exit_kinds)
    assert [
        (bar, fill.side, fill.price, fill.amount, "" if fill.side == "buy" else next(kinds))
        for bar, fill in zip(result.indices, result.fills, strict=True)
    ] == plain.fills
    assert result.equity.tolist() == plain.equity
    fill_log = result.fill_log
    assert (fill_log.ambiguous, fill_log.decided, fill_log.missing_intrabar) == (
        *(plain.ambiguous, loop.decided, loop.missing_intrabar),
    )
    for bar, fill in zip(result.indices, result.fills, strict=True):
        noise = fill.before_slippage * 1e-12
        assert bars.low[bar] - noise <= fill.before_slippage <= bars.high[bar] + noise


@settings(max_examples=count_examples(60))
@given(
    seed=st.integers(0, 2**32 - 1),
    rules=draw_rules().filter(lambda rules: rules.exits.has_levels),
    at=st.floats(0, 1),
)
def test_intrabar_fills_are_equal_for_a_split_range_and_for_a_shared_account(
    seed: int, rules: AccountConfig, at: float
):
    fine = walk(seed, 400)
    bars = resample(fine, FINE, COARSE)
    intrabar = IntrabarSource(COARSE, FINE, make_candle_reader(fine))
    signal = np.array(make_signals(seed, len(bars)), np.int8)
    whole = simulate(bars, signal, rules, intrabar=intrabar)
    split = int(at * len(bars))
    first = simulate(bars[:split], signal[:split], rules, intrabar=intrabar)
    second = simulate(bars, signal, rules, split, state=first.state, intrabar=intrabar)
    assert [*first.fills, *second.fills] == list(whole.fills)
    assert first.fill_log.decided + second.fill_log.decided == whole.fill_log.decided
    series = SymbolSeries("A/B", bars, signal, 0, rules.trading_rules, intrabar)
    (alone,) = simulate_portfolio([series], rules).parts
    assert (alone.fills, alone.fill_log.intrabar_exits) == (
        whole.fills,
        whole.fill_log.intrabar_exits,
    )
