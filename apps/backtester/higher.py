"""Larger candles for a strategy that asks for them: stored ones, the others built from the tape."""

from collections.abc import Mapping

from msgspec import Struct, field

from backtester.load import Tape, repair_command
from backtester.settings import BacktesterSettings
from onetape.core.clock import utc_text
from onetape.core.errors import CandleGapError
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.store.database import Store
from onetape.store.higher import LargerCandles, larger_between
from onetape.strategies import (
    Higher,
    HigherCandles,
    Strategy,
    beside,
    higher_lookback_of,
    higher_timeframes_of,
)
from onetape.strategies.higher import LEAST_CANDLES
from onetape.strategies.segments import Range


class HigherTape(Struct, frozen=True):
    """The larger candles of a run."""

    candles: Higher = field(default_factory=dict[str, HigherCandles])
    """By timeframe, beside the candles of the tape."""
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where they come from, by label."""
    notes: tuple[str, ...] = ()
    """What a reader must know of them."""
    holes: Mapping[str, tuple[Range, ...]] = field(default_factory=dict[str, tuple[Range, ...]])
    """Unexplained holes of each timeframe, oldest first; no window crosses one."""


def load_higher(
    store: Store, tape: Tape, strategy: Strategy, settings: BacktesterSettings
) -> HigherTape:
    """Return the larger candles that a strategy asks for, beside those of the tape.

    Raises:
        UsageError: one of its timeframes is not made of whole traded candles.
        CandleGapError: larger candles of the range are missing and nobody can say why.
    """
    timeframe = Timeframe.parse(tape.key.timeframe)
    candles: dict[str, HigherCandles] = {}
    words: dict[str, str] = {}
    notes: list[str] = []
    holes: dict[str, tuple[Range, ...]] = {}
    for larger in higher_timeframes_of(strategy, timeframe):
        found = _found(store, tape, strategy, larger)
        # What began before the first candle is warm-up: it delays trading, and is not refused.
        first = int(tape.candles.timestamp[0])
        inside = [hole for hole in found.missing if hole[0] >= first and hole[1] > tape.start]
        if inside and not settings.allow_gaps:
            raise CandleGapError(_gap_text(found, larger, inside, settings, tape))
        candles[larger.name] = beside(tape.candles, timeframe, found.candles, larger)
        words[f"{larger.name} candles"] = f"{found.words}; each is seen once it has closed"
        holes[larger.name] = tuple(found.holes)
        if found.begins_inside:
            start, end = found.missing[0]
            notes.append(
                f"{counted(larger.count_between(start, end), f'{larger.name} candle')} missing, "
                f"first from {utc_text(start)} UTC, where nothing is stored yet: signals that need "
                "them may differ from a longer run's"
            )
    return HigherTape(candles, words, tuple(notes), holes)


def _found(store: Store, tape: Tape, strategy: Strategy, larger: Timeframe) -> LargerCandles:
    count = max(LEAST_CANDLES, higher_lookback_of(strategy))
    opens = tape.candles.timestamp
    start = max(0, larger.shift(int(opens[0]), -count))
    end = Timeframe.parse(tape.key.timeframe).next(int(opens[-1]))
    return larger_between(store, tape.key, larger, start, end)


def _gap_text(
    found: LargerCandles,
    larger: Timeframe,
    missing: list[tuple[int, int]],
    settings: BacktesterSettings,
    tape: Tape,
) -> str:
    count = sum(larger.count_between(*hole) for hole in missing)
    repair = repair_command(found.key, settings, missing[0][0], tape.end)
    return (
        f"{found.key} has {counted(count, 'candle')} missing from {utc_text(missing[0][0])} UTC, "
        f"neither stored nor to be built from {tape.key.timeframe} candles; run: {repair} (or go "
        "on without them: --allow-gaps)"
    )
