"""A market that halts for hours, traded by one symbol on paper and in a backtest."""

from pathlib import Path
from typing import Any

import numpy as np

from onetape.core.candles import Candles
from onetape.core.untraded import find_untraded_rows
from onetape.engine import SimulationResult, make_booked_fill, simulate
from onetape.simulator.recorded.replay import Replay, read_replay
from onetape.strategies import evaluate_strategy
from session_harness import HOUR, MARCH, SessionHarness, SteppedMarket

#: Candles before March 2024, and hours of it that are traded.
HISTORY, HOURS = 120, 48
#: Gives BUY in runs of up to six candles and SELL rarely; both also while the market halts.
RUNS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Runs(Strategy):
    name: ClassVar[str] = "runs"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        hour = candles.timestamp // 3_600
        signal = np.where(hour % 9 < 6, 1, np.where(hour % 4 == 1, -1, 0))
        return Signals(signal.astype(np.int8), {})
"""


def write_halting_candles(path: Path, seed: int) -> Replay:
    """Return hourly candles to replay that often repeat a price for hours."""
    rng = np.random.default_rng(seed)
    count = HISTORY + HOURS + 2
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.006, count))), 2)
    is_flat = np.zeros(count, dtype=np.bool_)
    for start in np.flatnonzero(rng.random(count) < 0.25).tolist():
        is_flat[max(1, start) : start + int(rng.integers(1, 6))] = True
    for bar in np.flatnonzero(is_flat).tolist():
        close[bar] = close[bar - 1]
    # After a halt the price has moved.
    open_ = np.round(np.append(100.0, close[:-1]) * np.exp(rng.normal(0, 0.003, count)), 2)
    open_[is_flat] = close[is_flat]
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    high = np.where(is_flat, high, np.round(high * 1.002, 2))
    low = np.where(is_flat, low, np.round(low * 0.998, 2))
    volume = np.where(is_flat, 0.0, 50.0)
    first = MARCH - HISTORY * HOUR
    lines = ["timestamp,open,high,low,close,volume"]
    for bar in range(count):
        prices = (float(column[bar]) for column in (open_, high, low, close))
        lines.append(",".join(map(str, (first + HOUR * bar, *prices, float(volume[bar])))))
    file = path / "BTC-USDT_1h.csv"
    file.write_text("\n".join(lines) + "\n")
    return read_replay(file)


def read_candles(opened: SteppedMarket, last_hour: int) -> Candles:
    start = MARCH - HISTORY * HOUR
    rows = opened.truth(start, MARCH + (last_hour + 1) * HOUR).values()
    opens, *prices = (np.array(column) for column in zip(*rows, strict=True))
    return Candles.from_columns(opens.astype(np.int64), *prices)


def run_backtest(
    opened: SteppedMarket, trading: SessionHarness, last_hour: int
) -> SimulationResult:
    """Return the engine's run over the candles from the first decision on."""
    first: int = trading.query("SELECT min(timestamp) FROM decisions")[0][0]
    candles = read_candles(opened, last_hour)
    start = int(np.searchsorted(candles.timestamp, first))
    signals = evaluate_strategy(trading.strategy, candles)
    return simulate(candles, signals.signal, trading.context.rules, start_index=start)


async def step(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    """Go through the hours; each candle is decided on before the next one closes."""
    untraded = find_untraded_rows(opened_candles := read_candles(opened, hours[-1]))
    traded = {*opened_candles.timestamp[~untraded].tolist()}
    for hour in hours:
        await opened.go_to(hour + 0.1)
        if MARCH + hour * HOUR in traded:
            await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)


def list_paper_fills(trading: SessionHarness) -> list[tuple[Any, ...]]:
    return [(trade.side, trade.price, trade.amount) for trade in trading.fills()]


def list_engine_fills(result: SimulationResult) -> list[tuple[Any, ...]]:
    booked = [(fill.side, make_booked_fill(fill, result.rules)) for fill in result.fills]
    return [(side, fill.price, fill.amount) for side, fill in booked]


#: Gives BUY on each candle.
ALWAYS_BUY = RUNS.replace(
    "np.where(hour % 9 < 6, 1, np.where(hour % 4 == 1, -1, 0))", "np.ones(len(candles))"
)
