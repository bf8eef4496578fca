"""A market that halts: orders wait on paper as in a backtest, and runs of BUYs enter as there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desk import HOUR, MARCH, Desk, Market, desk, market
from onetape.cli.settings import ExitSettings
from onetape.core.candles import Candles
from onetape.core.untraded import untraded_rows
from onetape.engine import Result, booked_fill, simulate
from onetape.simulator.replay import Replay, read_replay
from onetape.strategies import checked_signals
from trader.settings import PaperAccountSettings

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
HISTORY, HOURS = 120, 48
#: Says BUY in runs of up to six candles and SELL rarely; both also while the market halts.
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


def halting(path: Path, seed: int) -> Replay:
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


def candles_of(opened: Market, last_hour: int) -> Candles:
    start = MARCH - HISTORY * HOUR
    rows = opened.truth(start, MARCH + (last_hour + 1) * HOUR).values()
    opens, *prices = (np.array(column) for column in zip(*rows, strict=True))
    return Candles.from_columns(opens.astype(np.int64), *prices)


def backtested(opened: Market, trading: Desk, last_hour: int) -> Result:
    """Return the engine's run over the candles from the first decision on."""
    first: int = trading.query("SELECT min(timestamp) FROM decisions")[0][0]
    candles = candles_of(opened, last_hour)
    start = int(np.searchsorted(candles.timestamp, first))
    signals = checked_signals(trading.job.strategy, candles)
    return simulate(candles, signals.signal, trading.job.rules, start_index=start)


async def step(opened: Market, trading: Desk, hours: range) -> None:
    """Go through the hours; each candle is decided on before the next one closes."""
    untraded = untraded_rows(opened_candles := candles_of(opened, hours[-1]))
    traded = {*opened_candles.timestamp[~untraded].tolist()}
    for hour in hours:
        await opened.go_to(hour + 0.1)
        if MARCH + hour * HOUR in traded:
            await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)


def on_paper(trading: Desk) -> list[tuple[Any, ...]]:
    return [(trade.side, trade.price, trade.amount) for trade in trading.trades()]


def by_engine(result: Result) -> list[tuple[Any, ...]]:
    booked = [(fill.side, booked_fill(fill, result.rules)) for fill in result.fills]
    return [(side, fill.price, fill.amount) for side, fill in booked]


EXITS = {
    "no exits": ExitSettings(),
    "trailing stop": ExitSettings(trailing_stop=0.004),
    "time stop and target": ExitSettings(time_stop_bars=3, take_profit=0.005),
}


@pytest.mark.parametrize(
    ("reentry", "exits"),
    [
        ("new_signal", "no exits"),
        ("new_signal", "trailing stop"),
        ("while_signal", "time stop and target"),
    ],
)
def test_paper_fills_of_a_halting_market_equal_the_backtest(
    run: Run, tmp_path: Path, db: Path, strategy_file: StrategyFile, reentry: str, exits: str
) -> None:
    account = PaperAccountSettings(reentry=reentry, cool_down_bars=1)

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        replay = halting(tmp_path, seed=len(exits) + len(reentry))
        async with (
            market(0.1, replay) as opened,
            desk(opened, db, strategy=name, account=account, exits=EXITS[exits]) as trading,
        ):
            await step(opened, trading, range(1, HOURS))
            result = backtested(opened, trading, HOURS - 1)
            fills, trades = by_engine(result), on_paper(trading)
            # The backtest knows the whole of the last candle, of which the market has begun.
            assert fills[: len(trades)] == trades
            assert len(fills) - len(trades) <= 1
            assert len(trades) >= 4
            assert result.book.waited

    run(scene())
