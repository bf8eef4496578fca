"""Evaluates a built-in strategy in the trader's own process.

A user's code runs in a separate process, because it may block, print or end its process. A
built-in strategy does none of that, and takes less time than the exchange of messages with another
process: on a busy computer a decision need not wait until that process is scheduled.
"""

from typing import Final

from onetape.cli.common_settings import StrategySettings
from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError, OnetapeError
from onetape.core.folders import USER_FOLDER
from onetape.core.message_text import format_error
from onetape.strategies import Higher, Strategy
from onetape.strategies.registry import BUILT_IN, find_strategy_file
from trader.evaluator.messages import LoadedStrategy, LoadRequest
from trader.evaluator.results import Evaluation, EvaluationFailure
from trader.evaluator.strategy_calls import evaluate_with_views, load_requested_strategy

#: Number of the strategy in the load request, which nothing here reads.
_STRATEGY_KEY: Final = 1


def is_built_in(settings: StrategySettings) -> bool:
    """Return whether the settings name a built-in strategy, not a file of the user."""
    return settings.name in BUILT_IN and find_strategy_file(settings.name, USER_FOLDER) is None


class BuiltInEvaluator:
    """Evaluates one built-in strategy in the calling thread."""

    def __init__(self, settings: StrategySettings, timeframe: str) -> None:
        """Initialise; nothing is loaded yet.

        Args:
            settings: Name and parameters of the strategy.
            timeframe: The traded CCXT timeframe.
        """
        self.settings = settings
        """Name and parameters of the strategy."""
        self._timeframe = timeframe
        self._loaded: tuple[Strategy, LoadedStrategy] | None = None
        self._has_evaluated = False

    @property
    def strategy(self) -> LoadedStrategy:
        """Return name, parameters and lookback of the loaded strategy.

        Raises:
            ConfigurationError: the strategy is not loaded yet.
        """
        return self._get_loaded()[1]

    @property
    def has_evaluated(self) -> bool:
        """Return whether the strategy has returned signals before."""
        return self._has_evaluated

    async def load(self) -> LoadedStrategy:
        """Load the strategy.

        Raises:
            UsageError: no such parameter, or a value that the strategy does not allow.
        """
        name, parameters = self.settings.name, dict(self.settings.parameters)
        request = LoadRequest(_STRATEGY_KEY, name, parameters, str(USER_FOLDER), self._timeframe)
        self._loaded = load_requested_strategy(request)
        return self._loaded[1]

    async def evaluate(
        self, candles: Candles, higher: Higher, rows: int, seconds: float
    ) -> Evaluation | EvaluationFailure:
        """Evaluate the strategy once, at once; return the signals, or the reason for none.

        Args:
            candles: Closed candles, oldest first, at least one.
            higher: Candles of each higher timeframe of the strategy.
            rows: Number of candles to decide on, the last ones of `candles`.
            seconds: Unused, because a built-in strategy needs no time limit.
        """
        del seconds
        strategy, _ = self._get_loaded()
        try:
            signals, views = evaluate_with_views(strategy, candles, higher, rows, may_print=False)
        except OnetapeError as error:
            return EvaluationFailure("failed", str(error), error)
        except Exception as error:
            text = f"the strategy's code raised {type(error).__name__}: {format_error(error)}"
            return EvaluationFailure("failed", text, ConfigurationError(text))
        self._has_evaluated = True
        return Evaluation(signals.signal, views, signals.level_columns)

    async def close(self) -> None:
        """Do nothing, because there is no process to end."""

    def _get_loaded(self) -> tuple[Strategy, LoadedStrategy]:
        if self._loaded is None:
            raise ConfigurationError(f"strategy {self.settings.name} is not loaded yet")
        return self._loaded
