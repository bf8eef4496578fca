"""One combination: the searched part and the held-out part, each as a backtest of its own."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from backtester.load import LEAST_WARM_UP, Tape
from backtester.search.space import Point
from onetape.core.errors import OnetapeError
from onetape.engine import BuyAndHold, Detail, Metrics, Rules, metrics_of, simulate
from onetape.engine.holding import buy_and_hold
from onetape.strategies import (
    Higher,
    Strategy,
    checked_signals,
    higher_lookback_of,
    lookback_of,
)
from onetape.strategies.higher import LEAST_CANDLES


class Ground(Struct, frozen=True, dict=True):
    """What every combination is tried on."""

    tape: Tape
    """The whole range, with warm-up enough for every combination."""
    searched: int
    """Candles of the range that the ranking may see; the others are held out."""
    rules: Rules
    higher: Higher
    """Larger candles beside those of the tape, enough for every combination."""
    detail: Detail | None = None
    """Finer candles of the range, in memory: a store does not outlive a fork."""

    @cached_property
    def holds(self) -> tuple[BuyAndHold | None, BuyAndHold | None]:
        """Return what buying and holding made in each part: the same for every combination."""
        candles = self.tape.candles
        middle = self.tape.warm_up + self.searched
        parts = (candles[self.tape.warm_up : middle], candles[middle:])
        first, second = (buy_and_hold(part, self.rules) for part in parts)
        return first, second

    @property
    def split(self) -> int:
        """Return the open of the first candle that is held out, epoch seconds."""
        return int(self.tape.candles.timestamp[self.tape.warm_up + self.searched])


def parts_of(ground: Ground, lookback: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return both parts as a backtest would read them: first candle, first one traded, end."""
    tape = ground.tape
    split = tape.warm_up + ground.searched
    wanted = max(LEAST_WARM_UP, lookback)
    return (
        (max(0, tape.warm_up - wanted), tape.warm_up, split),
        (max(0, split - wanted), split, len(tape.candles)),
    )


def tried(strategy: Strategy, ground: Ground) -> tuple[Metrics, Metrics]:
    """Return the metrics of the searched and of the held-out part.

    Each is evaluated on its own candles, so that not even a strategy that looks ahead sees what is
    held out.

    Raises:
        OnetapeError: the strategy failed; the text says where.
    """
    searched, held_out = parts_of(ground, lookback_of(strategy))
    return (
        _part(strategy, ground, searched, ground.holds[0]),
        _part(strategy, ground, held_out, ground.holds[1]),
    )


def _part(
    strategy: Strategy, ground: Ground, part: tuple[int, int, int], hold: BuyAndHold | None
) -> Metrics:
    first, traded, end = part
    whole = ground.tape.candles
    candles = whole[first:end]
    higher: Higher = {}
    if ground.higher:
        count = max(LEAST_CANDLES, higher_lookback_of(strategy))
        higher = {
            name: larger.seen_from(whole, first, end, count)
            for name, larger in ground.higher.items()
        }
    signals = checked_signals(strategy, candles, higher)
    result = simulate(
        candles, signals.signal, ground.rules, start_index=traded - first, detail=ground.detail
    )
    return metrics_of(result, hold)


class Work:
    """The combinations of a search, to be tried by number in any process."""

    def __init__(
        self, points: Sequence[Point], strategies: Mapping[int, Strategy], ground: Ground
    ) -> None:
        """Keep what the processes share."""
        self._points = points
        self._strategies = strategies
        self._ground = ground
        _ = ground.holds  # found here, once for all processes

    def __call__(self, number: int) -> bytes:
        """Return a line of the results, without its end: what came out, or why nothing did."""
        line: dict[str, Any] = {"parameters": self._points[number]}
        try:
            line["searched"], line["held_out"] = tried(self._strategies[number], self._ground)
        except OnetapeError as error:
            line["error"] = " ".join(str(error).split())
        except Exception as error:
            line["error"] = f"unexpected {type(error).__name__}: {error}"
        return msgspec.json.encode(line)
