"""A built-in strategy is evaluated in the trader's own process, with the results of a worker."""

import asyncio
from contextlib import closing

import numpy as np
import pytest

from onetape.cli.common_settings import StrategySettings
from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.strategies.registry import BUILT_IN
from onetape.strategies.testing import random_candles
from trader.evaluator.built_in import BuiltInEvaluator, is_built_in
from trader.evaluator.process_evaluator import ProcessEvaluator
from trader.evaluator.processes import StrategyHelper
from trader.evaluator.results import Evaluation, EvaluationFailure

CANDLES = random_candles(300, seed=7)


def test_each_built_in_strategy_gives_the_same_results_as_a_worker_process() -> None:
    async def compare(helper: StrategyHelper) -> None:
        for name in BUILT_IN:
            settings = StrategySettings(name=name)
            worker = ProcessEvaluator(settings, "1h", helper, memory_mb=4_096)
            own = BuiltInEvaluator(settings, "1h")
            assert await own.load() == await worker.load()
            assert not own.has_evaluated
            found = await own.evaluate(CANDLES, {}, 3, 60.0)
            expected = await worker.evaluate(CANDLES, {}, 3, 60.0)
            await worker.close()
            assert isinstance(found, Evaluation)
            assert isinstance(expected, Evaluation)
            assert np.array_equal(found.signal, expected.signal)
            assert found.views == expected.views
            assert own.has_evaluated

    with closing(StrategyHelper()) as helper:
        asyncio.run(compare(helper))


def test_an_impossible_candle_is_a_failed_evaluation_and_no_exception() -> None:
    close = CANDLES.close.copy()
    close[-1] = np.nan
    columns = (CANDLES.timestamp, CANDLES.open, CANDLES.high, CANDLES.low, close, CANDLES.volume)
    own = BuiltInEvaluator(StrategySettings(name="rsi"), "1h")
    asyncio.run(own.load())
    found = asyncio.run(own.evaluate(Candles.from_columns(*columns), {}, 1, 60.0))
    assert isinstance(found, EvaluationFailure)
    assert found.kind == "failed"
    assert not own.has_evaluated


def test_an_invalid_parameter_of_a_built_in_strategy_is_refused() -> None:
    own = BuiltInEvaluator(StrategySettings(name="rsi", parameters={"period": "0"}), "1h")
    with pytest.raises(UsageError, match="period must be"):
        asyncio.run(own.load())


def test_a_strategy_file_is_not_a_built_in_strategy() -> None:
    assert is_built_in(StrategySettings(name="rsi"))
    assert not is_built_in(StrategySettings(name="mine.py:Mine"))
    assert not is_built_in(StrategySettings(name="mine"))
