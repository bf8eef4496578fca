"""The calls of a strategy's code (load, evaluate, describe), for worker and trader."""

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from onetape.core.candles import Candles
from onetape.core.clock import format_utc
from onetape.core.errors import ConfigurationError
from onetape.core.timeframes import Timeframe
from onetape.strategies import (
    Higher,
    Signals,
    Strategy,
    collect_inputs,
    collect_parameters,
    compute_strategy_digest,
    evaluate_strategy,
    get_higher_lookback,
    get_lookback,
    load_strategy,
)
from onetape.strategies.annotation_validation import LONGEST_TEXT
from onetape.strategies.output_capture import stdout_to_stderr
from onetape.strategies.registry import has_other_strategies
from trader.evaluator.messages import CandleView, LoadedStrategy, LoadRequest


def load_requested_strategy(request: LoadRequest) -> tuple[Strategy, LoadedStrategy]:
    """Return a strategy, and the facts about it that the trader reads.

    Raises:
        UsageError: no such strategy or parameter, or a value that it does not allow.
        ConfigurationError: the strategy's file cannot be used.
    """
    strategy = load_strategy(
        request.name, request.parameters, user_folder=Path(request.user_folder)
    )
    inputs = collect_inputs(strategy, Timeframe.parse(request.timeframe))
    loaded = LoadedStrategy(
        name=strategy.name,
        lookback=get_lookback(strategy),
        higher_lookback=get_higher_lookback(strategy) if inputs else 0,
        inputs=inputs,
        parameters={one.name: getattr(strategy, one.name) for one in collect_parameters(strategy)},
        code_digest=compute_strategy_digest(strategy),
        # Of a freqtrade file.
        note=getattr(type(strategy), "without_effect", ""),
        class_name=type(strategy).__name__,
        has_others=has_other_strategies(request.name, Path(request.user_folder)),
        limit_expiry_candles=strategy.limit_expiry_candles,
    )
    return strategy, loaded


def evaluate_with_views(
    strategy: Strategy, candles: Candles, higher: Higher, rows: int, *, may_print: bool = True
) -> tuple[Signals, list[CandleView]]:
    """Return the signals of a strategy, and views of the last candles, oldest first.

    Args:
        strategy: The strategy.
        candles: Closed candles, oldest first, at least one.
        higher: Candles of each higher timeframe and other market of the strategy.
        rows: Number of candles to decide on, the last ones of `candles`.
        may_print: Whether the code may print; stdout is redirected meanwhile, for all threads.

    Raises:
        ConfigurationError: the strategy raised, or returned something that is not usable.
        DataError: a candle has an impossible price or volume.
    """
    signals = evaluate_strategy(strategy, candles, higher, may_print=may_print)
    views = [
        _make_view(strategy, signals, index, int(candles.timestamp[index]), may_print=may_print)
        for index in range(-rows, 0)
    ]
    return signals, views


def _make_view(
    strategy: Strategy, signals: Signals, index: int, timestamp: int, *, may_print: bool
) -> CandleView:
    """Return indicators and texts of the strategy on one candle.

    Raises:
        ConfigurationError: the strategy's `describe` failed.
    """
    values = {name: float(column[index]) for name, column in signals.indicators.items()}
    return CandleView(
        {name: value if math.isfinite(value) else None for name, value in values.items()},
        flat=_describe_candle(
            strategy, signals, index, timestamp, holding=False, may_print=may_print
        ),
        holding=_describe_candle(
            strategy, signals, index, timestamp, holding=True, may_print=may_print
        ),
    )


def _describe_candle(
    strategy: Strategy,
    signals: Signals,
    index: int,
    timestamp: int,
    *,
    holding: bool,
    may_print: bool,
) -> str:
    output: AbstractContextManager[None] = stdout_to_stderr() if may_print else nullcontext()
    try:
        with output:
            text = str(strategy.describe(signals, index, holding=holding))[:LONGEST_TEXT]
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"strategy {strategy.name} could not describe the candle {format_utc(timestamp)} "
            f"({type(error).__name__}: {error}); fix its describe() or its indicators"
        ) from error
    return " ".join(text.split())
