"""The result of an evaluation of a strategy, and the interface `StrategyEvaluator`."""

from typing import Literal, Protocol

from msgspec import Struct

from onetape.cli.common_settings import StrategySettings
from onetape.core.candles import Candles
from onetape.core.errors import OnetapeError
from onetape.core.strategy_levels import LevelColumns
from onetape.strategies import Higher, SignalArray
from trader.evaluator.messages import CandleView, LoadedStrategy


class Evaluation(Struct, frozen=True):
    """Signals and other results of a strategy for some candles."""

    signal: SignalArray
    """1 BUY, -1 SELL, 0 HOLD for each candle, shape (n,)."""
    views: list[CandleView]
    """Indicators and texts of the strategy on each candle to decide on, oldest first."""
    levels: LevelColumns | None = None
    """Stops and targets of the strategy for each candle; None: it gives none."""


class EvaluationFailure(Struct, frozen=True):
    """Reason why there is no evaluation."""

    kind: Literal["late", "ended", "failed", "input"]
    """`late`: no reply in time; `ended`: the worker process ended; `failed`: the code raised or
    returned something that is not usable; `input`: a candle of another market is not stored yet."""
    text: str
    """Description of the failure."""
    error: OnetapeError
    """Error to raise if the failure ends the trader."""


class StrategyEvaluator(Protocol):
    """Evaluates one strategy with one set of parameters, for all symbols that use it."""

    settings: StrategySettings
    """Name and parameters of the strategy."""

    @property
    def strategy(self) -> LoadedStrategy:
        """Return name, parameters and lookback of the loaded strategy.

        Raises:
            ConfigurationError: the strategy is not loaded yet.
        """
        ...

    @property
    def has_evaluated(self) -> bool:
        """Return whether the strategy has returned usable signals before."""
        ...

    async def load(self) -> LoadedStrategy:
        """Load the strategy; return its facts.

        Raises:
            UsageError: no such strategy or parameter, or a value that it does not allow.
            ConfigurationError: the strategy's file cannot be used.
        """
        ...

    async def evaluate(
        self, candles: Candles, higher: Higher, rows: int, seconds: float
    ) -> Evaluation | EvaluationFailure:
        """Evaluate the strategy once; return the signals, or the reason why there are none.

        Args:
            candles: Closed candles, oldest first, at least one.
            higher: Candles of each higher timeframe of the strategy.
            rows: Number of candles to decide on, the last ones of `candles`.
            seconds: Maximum time of the strategy, wall seconds.
        """
        ...

    async def close(self) -> None:
        """End what belongs to the evaluator; the strategy is not evaluated again."""
        ...
