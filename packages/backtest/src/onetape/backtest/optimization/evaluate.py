"""One combination: the searched part and the held-out part, each as a backtest of its own."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from onetape.backtest.models import CandleWindow
from onetape.backtest.optimization.space import Point
from onetape.core.candles import are_sound
from onetape.core.errors import DataError, OnetapeError
from onetape.core.timeframes import Timeframe
from onetape.engine import (
    AccountConfig,
    Background,
    Detail,
    Metrics,
    background_of,
    metrics_of,
    simulate,
)
from onetape.strategies import Higher, Strategy, higher_lookback_of, lookback_of
from onetape.strategies.segments import (
    Holes,
    segments_of,
    signals_by_segment,
    without_entries_before_holes,
)
from onetape.strategies.sharing import SharedColumns
from onetape.strategies.window import window_size


class Ground(Struct, frozen=True, dict=True):
    """What every combination is tried on."""

    window: CandleWindow
    """The whole range, with warm-up enough for every combination."""
    searched: int
    """Candles of the range that the ranking may see; the others are held out."""
    rules: AccountConfig
    higher: Higher
    """Larger candles beside those of the window, enough for every combination."""
    detail: Detail | None = None
    """Finer candles of the range, in memory: a store does not outlive a fork."""
    closes_before: int = 0
    """Closes before an entry that its size depends on."""
    holes: Holes = Holes()
    """The unexplained holes of the window and of the higher timeframes."""
    has_volume: bool | None = None
    """Whether any stored candle of the series has volume; None: whether one of the window has."""

    @cached_property
    def backgrounds(self) -> tuple[Background, Background]:
        """Return what the metrics of each part need of its candles alone."""
        candles = self.window.candles
        middle = self.window.warm_up + self.searched
        parts = (candles[self.window.warm_up : middle], candles[middle:])
        first, second = (background_of(part, self.rules) for part in parts)
        return first, second

    @cached_property
    def are_sound(self) -> bool:
        """Return whether all candles hold numbers, so that no combination need look."""
        return are_sound(self.window.candles)

    @property
    def split(self) -> int:
        """Return the open of the first candle that is held out, epoch seconds."""
        return int(self.window.candles.timestamp[self.window.warm_up + self.searched])


def searched_candles(window: CandleWindow, held_out: float) -> int:
    """Return how many candles of the range the ranking sees; `held_out` is the other part of it.

    Raises:
        DataError: the range is too short for two parts.
    """
    candles = len(window.candles) - window.warm_up
    inside = round(candles * (1.0 - held_out))
    if inside < 2 or candles - inside < 2:
        raise DataError(
            f"{window.key} has {candles:,} closed candles in the range, too few for a searched and "
            "a held-out part; choose a longer one"
        )
    return inside


def parts_of(ground: Ground, lookback: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return both parts as a backtest would read them: first candle, first one traded, end."""
    window = ground.window
    split = window.warm_up + ground.searched
    wanted = window_size(lookback)
    return (
        (max(0, window.warm_up - wanted), window.warm_up, split),
        (max(0, split - wanted), split, len(window.candles)),
    )


def tried(strategy: Strategy, ground: Ground) -> tuple[Metrics, Metrics]:
    """Return the metrics of the searched and of the held-out part.

    Each is evaluated on its own candles, so that not even a strategy that looks ahead sees what is
    held out.

    Raises:
        OnetapeError: the strategy failed; the text says where.
    """
    lookback = max(lookback_of(strategy), ground.closes_before)
    searched, held_out = parts_of(ground, lookback)
    return (
        _part(strategy, ground, searched, lookback, ground.backgrounds[0]),
        _part(strategy, ground, held_out, lookback, ground.backgrounds[1]),
    )


def _part(
    strategy: Strategy,
    ground: Ground,
    part: tuple[int, int, int],
    lookback: int,
    background: Background,
) -> Metrics:
    first, traded, end = part
    whole = ground.window.candles
    candles = whole[first:end]
    higher: Higher = {}
    count = window_size(higher_lookback_of(strategy) if ground.higher else 0)
    if ground.higher:
        higher = {
            name: larger.seen_from(whole, first, end, count)
            for name, larger in ground.higher.items()
        }
    holes = ground.holes.part(first, end)
    timeframe = Timeframe.parse(ground.window.key.timeframe)
    segments = segments_of(candles, timeframe, holes, window_size(lookback), count)
    signals = signals_by_segment(strategy, candles, higher, segments, are_sound=ground.are_sound)
    orders = without_entries_before_holes(signals.signal, holes)
    result = simulate(
        candles,
        orders,
        ground.rules,
        start_index=traded - first,
        detail=ground.detail,
        has_volume=ground.has_volume,
    )
    return metrics_of(result, background)


class Work:
    """The combinations of a search, to be tried by number in any process."""

    def __init__(
        self, points: Sequence[Point], strategies: Mapping[int, Strategy], ground: Ground
    ) -> None:
        """Keep what the processes share."""
        self._points = points
        self._strategies = strategies
        self._ground = ground
        self._columns = SharedColumns((ground.window.candles, *ground.higher.values()))
        _ = ground.backgrounds, ground.are_sound  # found here, once for all processes

    def __call__(self, number: int) -> bytes:
        """Return a line of the results, without its end: what came out, or why nothing did."""
        line: dict[str, Any] = {"parameters": self._points[number]}
        try:
            with self._columns.used():
                line["searched"], line["held_out"] = tried(self._strategies[number], self._ground)
        except OnetapeError as error:
            line["error"] = " ".join(str(error).split())
        except Exception as error:
            line["error"] = f"unexpected {type(error).__name__}: {error}"
        return msgspec.json.encode(line)
