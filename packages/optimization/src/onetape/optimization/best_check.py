"""The bias check of the best combination of an optimization."""

from collections.abc import Sequence

from msgspec.structs import replace

from onetape.backtest.bias_check import check_run, make_strategy_factory
from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.backtest.records import BiasCheck
from onetape.backtest.warm_up import find_run_segments
from onetape.core.errors import OnetapeError
from onetape.optimization.account_parameters import (
    apply_account_parameters,
    select_strategy_parameters,
)
from onetape.optimization.ranking import TrialResult
from onetape.optimization.space import format_parameter_value
from onetape.strategies.segments import evaluate_by_segment


def check_best(
    config: BacktestConfig,
    order: Sequence[TrialResult],
    window: CandleWindow,
    higher: HigherTimeframes,
) -> BiasCheck | None:
    """Return the bias check of the best combination on the whole range; None: none is ranked.

    A strategy with look-ahead is good in the out-of-sample part too, so only the check shows it.

    Args:
        config: Configuration of the optimization.
        order: The combinations, best first.
        window: The candles of the whole range.
        higher: Higher-timeframe candles of the whole range.
    """
    if not order:
        return None
    point = order[0]["parameters"]
    parameters = {
        name: format_parameter_value(value)
        for name, value in select_strategy_parameters(point).items()
    }
    best = replace(
        config,
        strategy=replace(config.strategy, parameters=parameters),
        account=apply_account_parameters(config.account, point, config.key.timeframe),
    )
    try:
        strategy = make_strategy_factory(best)()
        segments = find_run_segments(window, higher, strategy)
        signals = evaluate_by_segment(strategy, window.candles, higher.candles, segments)
    except OnetapeError as error:
        return BiasCheck.make_not_run(f"not run: {' '.join(str(error).split())}")
    return check_run(best, window, higher.candles, segments, signals)
