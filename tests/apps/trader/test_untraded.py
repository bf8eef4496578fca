"""A market that halts: orders wait on paper as in a backtest, and runs of BUYs enter as there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desk import HOUR, MARCH, Desk, Market, desk, market
from onetape.core.candles import Candles
from onetape.core.untraded import find_untraded_rows
from onetape.engine import AccountConfig, ExitConfig, SimulationResult, make_booked_fill, simulate
from onetape.engine.account_config import Reentry
from onetape.simulator.recorded.replay import Replay, read_replay
from onetape.strategies import evaluate_strategy

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
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


def backtested(opened: Market, trading: Desk, last_hour: int) -> SimulationResult:
    """Return the engine's run over the candles from the first decision on."""
    first: int = trading.query("SELECT min(timestamp) FROM decisions")[0][0]
    candles = candles_of(opened, last_hour)
    start = int(np.searchsorted(candles.timestamp, first))
    signals = evaluate_strategy(trading.strategy, candles)
    return simulate(candles, signals.signal, trading.context.rules, start_index=start)


async def step(opened: Market, trading: Desk, hours: range) -> None:
    """Go through the hours; each candle is decided on before the next one closes."""
    untraded = find_untraded_rows(opened_candles := candles_of(opened, hours[-1]))
    traded = {*opened_candles.timestamp[~untraded].tolist()}
    for hour in hours:
        await opened.go_to(hour + 0.1)
        if MARCH + hour * HOUR in traded:
            await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)


def on_paper(trading: Desk) -> list[tuple[Any, ...]]:
    return [(trade.side, trade.price, trade.amount) for trade in trading.fills()]


def by_engine(result: SimulationResult) -> list[tuple[Any, ...]]:
    booked = [(fill.side, make_booked_fill(fill, result.rules)) for fill in result.fills]
    return [(side, fill.price, fill.amount) for side, fill in booked]


EXITS = {
    "no exits": ExitConfig(),
    "trailing stop": ExitConfig(trailing_stop=0.004),
    "time stop and target": ExitConfig(time_stop_bars=3, take_profit=0.005),
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
    run: Run, tmp_path: Path, db: Path, strategy_file: StrategyFile, reentry: Reentry, exits: str
) -> None:
    account = AccountConfig(reentry=reentry, cooldown_bars=1)

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
            # The backtest has the whole of the last candle, of which the market has begun.
            assert fills[: len(trades)] == trades
            assert len(fills) - len(trades) <= 1
            assert len(trades) >= 4
            assert result.fill_log.waited

    run(scene())


def test_paper_entries_of_a_halting_market_keep_to_the_trading_hours_of_the_backtest(
    run: Run, tmp_path: Path, db: Path, strategy_file: StrategyFile
) -> None:
    # 10:00 to 16:00 UTC, and from 20:30 UTC to 01:00 UTC.
    account = AccountConfig(
        trading_hours="15:30-21:30,02:00-06:30", trading_timezone="Asia/Kolkata", cooldown_bars=1
    )

    async def scene() -> None:
        name = strategy_file(RUNS, "runs")
        replay = halting(tmp_path, seed=5)
        exits = ExitConfig(trailing_stop=0.004)
        async with (
            market(0.1, replay) as opened,
            desk(opened, db, strategy=name, account=account, exits=exits) as trading,
        ):
            await step(opened, trading, range(1, HOURS))
            result = backtested(opened, trading, HOURS - 1)
            fills, trades = by_engine(result), on_paper(trading)
            # The backtest has the whole of the last candle, of which the market has begun.
            assert fills[: len(trades)] == trades
            assert len(fills) - len(trades) <= 1
            assert len(trades) >= 4
            hours = {trade.entry_timestamp // HOUR % 24 for trade in result.trades}
            assert hours <= {*range(10, 16), 21, 22, 23, 0}
            blocked = trading.query(
                "SELECT json_extract(gates, '$.\"trading hours\"'), action FROM decisions "
                "WHERE json_extract(gates, '$.\"trading hours\"') IS NOT NULL"
            )
            assert {action for _, action in blocked} == {"HOLD"}
            assert any(
                "opens outside the trading hours 15:30-21:30," in text for text, _ in blocked
            )

    run(scene())


def test_an_order_that_waits_is_cancelled_outside_the_trading_hours_before_the_next_is_sent(
    run: Run,
    tmp_path: Path,
    db: Path,
    strategy_file: StrategyFile,
    capsys: pytest.CaptureFixture[str],
) -> None:
    account = AccountConfig(trading_hours="00:00-06:00,07:00-12:00")
    code = RUNS.replace(
        "np.where(hour % 9 < 6, 1, np.where(hour % 4 == 1, -1, 0))", "np.isin(hour % 24, [3, 6])"
    )
    # Nothing is traded from 04:00 to 08:00.
    lines = ["timestamp,open,high,low,close,volume"]
    for hour in range(-HISTORY, 12):
        is_flat = 4 <= hour < 8
        lines.append(
            f"{MARCH + hour * HOUR},100,{100 if is_flat else 101},100,100,{0 if is_flat else 50}"
        )
    file = tmp_path / "BTC-USDT_1h.csv"
    file.write_text("\n".join(lines) + "\n")

    async def scene() -> None:
        name = strategy_file(code, "runs")
        async with (
            market(0.1, read_replay(file)) as opened,
            desk(opened, db, strategy=name, account=account) as trading,
        ):
            await step(opened, trading, range(1, 11))
            orders = trading.query("SELECT side, status FROM orders ORDER BY signal_timestamp")
            assert orders == [("buy", "canceled"), ("buy", "closed")]
            result = backtested(opened, trading, 10)
            assert on_paper(trading) == by_engine(result)
            assert [trade.entry_timestamp for trade in result.trades] == [MARCH + 8 * HOUR]

    run(scene())
    reason = "the candle of 2024-03-01 06:00 opens outside the trading hours"
    assert capsys.readouterr().out.count(f"the order to buy is cancelled: {reason}") == 1


ALWAYS_BUY = RUNS.replace(
    "np.where(hour % 9 < 6, 1, np.where(hour % 4 == 1, -1, 0))", "np.ones(len(candles))"
)


@pytest.mark.parametrize(("reentry", "most"), [("new_signal", 2), ("while_signal", 99)])
def test_a_run_of_buys_stays_used_up_over_restarts(
    run: Run, db: Path, strategy_file: StrategyFile, reentry: Reentry, most: int
) -> None:
    account = AccountConfig(reentry=reentry)
    exits = ExitConfig(time_stop_bars=1)

    async def scene() -> None:
        name = strategy_file(ALWAYS_BUY, "runs")
        count = 0
        async with market(0.05) as opened:
            for number in range(1, 4):
                async with desk(
                    opened, db, strategy=name, number=number, account=account, exits=exits
                ) as trading:
                    await trading.until_live(opened)
                    for hour in range(3 * number - 2, 3 * number + 1):
                        await opened.go_to(hour + 0.1)
                        await trading.until(lambda hour=hour: trading.source(hour))
                        await trading.until(
                            lambda hour=hour: trading.query(
                                "SELECT 1 FROM decisions WHERE timestamp = ?",
                                MARCH + (hour - 1) * HOUR,
                            )
                        )
                    count = len(trading.fills())
            assert 2 <= count <= most
            assert (count > 2) == (reentry == "while_signal")

    run(scene())


def test_an_order_that_waits_is_printed_once_and_a_sell_drops_a_buy(
    run: Run,
    tmp_path: Path,
    db: Path,
    strategy_file: StrategyFile,
    capsys: pytest.CaptureFixture[str],
) -> None:
    signals = "np.where(hour % 24 == 3, 1, np.where(hour % 24 == 5, -1, 0))"
    code = RUNS.replace("np.where(hour % 9 < 6, 1, np.where(hour % 4 == 1, -1, 0))", signals)
    count = HISTORY + 12
    # Nothing is traded from 04:00 to 08:00.
    lines = ["timestamp,open,high,low,close,volume"]
    for bar in range(count):
        hour = bar - HISTORY
        volume = 0 if 4 <= hour < 8 else 50
        high = 100 if volume == 0 else 101
        lines.append(f"{MARCH + hour * HOUR},100,{high},100,100,{volume}")
    file = tmp_path / "BTC-USDT_1h.csv"
    file.write_text("\n".join(lines) + "\n")

    async def scene() -> None:
        name = strategy_file(code, "runs")
        async with (
            market(0.1, read_replay(file)) as opened,
            desk(opened, db, strategy=name) as trading,
        ):
            await step(opened, trading, range(1, 11))
            assert trading.fills() == []
            orders = trading.query("SELECT side, status, reason FROM orders")
            assert [(side, status) for side, status, _ in orders] == [("buy", "canceled")]
            assert orders[0][2].endswith("; a SELL came while it waited for a trade")

    run(scene())
    out = capsys.readouterr().out
    waits = (
        "the order to buy waits for a trade: nothing was traded in the candle of 2024-03-01 04:00"
    )
    assert out.count(waits) == 1
    assert out.count("the order to buy is cancelled: a SELL came while it waited for a trade") == 1
