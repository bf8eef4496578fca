"""Takes the place of a strategy that is not loaded, for a symbol with an open position or order."""

import asyncio

import numpy as np

from onetape.cli.common_settings import StrategySettings
from onetape.core.candles import Candles
from onetape.core.trading import Session
from onetape.strategies import Higher
from trader.evaluator.messages import CandleView, LoadedStrategy
from trader.evaluator.results import Evaluation, EvaluationFailure, StrategyEvaluator

_NO_VIEW = CandleView({}, "", "")


class StandInEvaluator:
    """Gives no signals; stop, target and time stop of the position need none.

    While the strategy is being loaded, no candle is decided on: the next session, which has the
    strategy, decides on each of them. If the strategy cannot be loaded, each candle is a HOLD.
    """

    def __init__(
        self, settings: StrategySettings, session: Session | None, *, is_loading: bool
    ) -> None:
        """Initialise with the facts that the last session has stored about the strategy.

        Args:
            settings: Name and parameters of the strategy that entered.
            session: Last session of the symbol; None: none is stored.
            is_loading: Whether the strategy is being loaded; otherwise it cannot be loaded.
        """
        self.settings = settings
        """Name and parameters of the strategy."""
        self.is_loading = is_loading
        """Whether the strategy is being loaded."""
        self._strategy = LoadedStrategy(
            name=settings.name if session is None else session.strategy,
            lookback=1,
            higher_lookback=0,
            inputs=(),
            parameters={} if session is None else dict(session.parameters),
            code_digest="" if session is None else session.code_digest,
        )

    @property
    def strategy(self) -> LoadedStrategy:
        """Return name, parameters and code digest of the last session; the lookback is 1."""
        return self._strategy

    @property
    def has_evaluated(self) -> bool:
        """Return True: no failure of a first evaluation can end the trader."""
        return True

    async def load(self) -> LoadedStrategy:
        """Return the facts about the strategy."""
        return self._strategy

    async def evaluate(
        self, candles: Candles, higher: Higher, rows: int, seconds: float
    ) -> Evaluation | EvaluationFailure:
        """Return HOLD for each candle; while the strategy is being loaded, wait until cancelled.

        Args:
            candles: Closed candles, oldest first.
            higher: Unused.
            rows: Number of candles to decide on, the last ones of `candles`.
            seconds: Unused.
        """
        del higher, seconds
        if self.is_loading:
            await asyncio.Event().wait()
        return Evaluation(np.zeros(len(candles), np.int8), [_NO_VIEW] * rows)

    async def close(self) -> None:
        """Do nothing, because there is no process to end."""


def is_loading(evaluator: StrategyEvaluator) -> bool:
    """Return whether an evaluator stands in for a strategy that is being loaded."""
    return isinstance(evaluator, StandInEvaluator) and evaluator.is_loading
