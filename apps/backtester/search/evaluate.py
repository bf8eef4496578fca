"""One combination: the searched part and the held-out part, each as a backtest of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from backtester.load import LEAST_WARM_UP, Tape
from backtester.search.space import Point
from onetape.core.candles import Candles
from onetape.core.errors import OnetapeError
from onetape.engine import Metrics, Rules, metrics_of, simulate
from onetape.strategies import Strategy, checked_signals, lookback_of


@dataclass(frozen=True, slots=True)
class Ground:
    """What every combination is tried on."""

    tape: Tape
    """The whole range, with warm-up enough for every combination."""
    searched: int
    """Candles of the range that the ranking may see; the others are held out."""
    rules: Rules

    @property
    def split(self) -> int:
        """Return the open of the first candle that is held out, epoch seconds."""
        return int(self.tape.candles.timestamp[self.tape.warm_up + self.searched])


def parts_of(ground: Ground, lookback: int) -> tuple[tuple[Candles, int], tuple[Candles, int]]:
    """Return both parts as a backtest would read them: candles, and how many are warm-up."""
    tape = ground.tape
    split = tape.warm_up + ground.searched
    wanted = max(LEAST_WARM_UP, lookback)
    first, second = min(wanted, tape.warm_up), min(wanted, split)
    return (
        (tape.candles[tape.warm_up - first : split], first),
        (tape.candles[split - second :], second),
    )


def tried(strategy: Strategy, ground: Ground) -> tuple[Metrics, Metrics]:
    """Return the metrics of the searched and of the held-out part.

    Raises:
        OnetapeError: the strategy failed; the text says where.
    """
    searched, held_out = parts_of(ground, lookback_of(strategy))
    return _part(strategy, ground.rules, *searched), _part(strategy, ground.rules, *held_out)


def _part(strategy: Strategy, rules: Rules, candles: Candles, warm_up: int) -> Metrics:
    signals = checked_signals(strategy, candles)
    return metrics_of(simulate(candles, signals.signal, rules, start_index=warm_up))


class Work:
    """The combinations of a search, to be tried by number in any process."""

    def __init__(
        self, points: Sequence[Point], strategies: Mapping[int, Strategy], ground: Ground
    ) -> None:
        """Keep what the processes share."""
        self._points = points
        self._strategies = strategies
        self._ground = ground

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
