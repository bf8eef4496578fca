"""Higher timeframes in the trader: decisions equal those of a backtest of the database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candles
from onetape.core.timeframes import Timeframe
from onetape.strategies import align_higher_candles, evaluate_strategy
from session_harness import (
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

#: Buys above the average of the last four-hour candles that have closed.
ABOVE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, indicators


@dataclass(frozen=True)
class Above(Strategy):
    name: ClassVar[str] = "above"
    higher_timeframes = ("4h",)

    @property
    def lookback(self):
        return 1

    @property
    def higher_lookback(self):
        return 3

    def evaluate(self, candles, higher):
        line = higher["4h"].as_of(indicators.sma(higher["4h"].close, 3))
        signal = np.nan_to_num(np.sign(candles.close - line)).astype(np.int8)
        return Signals(signal, {"line": line})
"""


def get_simulator_candles(opened: SteppedMarket, timeframe: str, start: int, end: int) -> Candles:
    return opened.simulator.market.get_candles(KEY.symbol, timeframe, start, end)


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order()


@pytest.mark.parametrize("begins", [0.25, 2.5])
def test_every_decision_equals_that_of_a_backtest_over_the_exchanges_candles(
    run: Run, db: Path, strategy_file: StrategyFile, begins: float
) -> None:
    async def scene() -> None:
        name = strategy_file(ABOVE, "above")
        last = 22
        async with (
            open_market(begins) as opened,
            open_session(opened, db, strategy=name) as trading,
        ):
            await step_to(opened, trading, range(int(begins), last))
            start = MARCH - 200 * HOUR
            candles = get_simulator_candles(opened, "1h", start, MARCH + (last - 1) * HOUR)
            longer = get_simulator_candles(opened, "4h", start - 200 * HOUR, MARCH + last * HOUR)
            hour, four = Timeframe.parse("1h"), Timeframe.parse("4h")
            higher = {"4h": align_higher_candles(candles, hour, longer, four)}
            whole = evaluate_strategy(trading.strategy, candles, higher)
            rows = trading.query(
                "SELECT timestamp, signal, indicators, gates FROM decisions ORDER BY timestamp"
            )
            assert len(rows) > 15
            opens = candles.timestamp.tolist()
            for timestamp, signal, indicators, gates in rows:
                bar = opens.index(timestamp)
                assert signal == whole.signal[bar]
                assert json.loads(indicators)["line"] == whole.indicators["line"][bar]
                assert json.loads(gates).get("higher timeframes", "ok") == "ok"

    run(scene())


def test_a_higher_timeframe_candle_that_closed_meanwhile_is_built_and_stored(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        name = strategy_file(ABOVE, "above")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await step_to(opened, trading, range(10))
            rows = trading.query(
                "SELECT timestamp, close, source FROM ohlcv_data WHERE timeframe = '4h' "
                "AND timestamp >= ? ORDER BY timestamp",
                MARCH,
            )
            made = get_simulator_candles(opened, "4h", MARCH, MARCH + 8 * HOUR)
            expected = zip(made.timestamp.tolist(), made.close.tolist(), strict=True)
            assert rows == [(*row, "resample") for row in expected]

    run(scene())
