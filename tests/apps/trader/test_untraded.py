"""A market that halts: orders wait on paper as in a backtest, and runs of BUYs enter as there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from halting_market import (
    ALWAYS_BUY,
    HISTORY,
    HOURS,
    RUNS,
    list_engine_fills,
    list_paper_fills,
    run_backtest,
    step,
    write_halting_candles,
)
from onetape.engine import AccountConfig, ExitConfig
from onetape.engine.account_config import Reentry
from onetape.simulator.recorded.replay import read_replay
from session_harness import HOUR, MARCH, open_market, open_session

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
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
        replay = write_halting_candles(tmp_path, seed=len(exits) + len(reentry))
        async with (
            open_market(0.1, replay) as opened,
            open_session(opened, db, strategy=name, account=account, exits=EXITS[exits]) as trading,
        ):
            await step(opened, trading, range(1, HOURS))
            result = run_backtest(opened, trading, HOURS - 1)
            fills, trades = list_engine_fills(result), list_paper_fills(trading)
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
        replay = write_halting_candles(tmp_path, seed=5)
        exits = ExitConfig(trailing_stop=0.004)
        async with (
            open_market(0.1, replay) as opened,
            open_session(opened, db, strategy=name, account=account, exits=exits) as trading,
        ):
            await step(opened, trading, range(1, HOURS))
            result = run_backtest(opened, trading, HOURS - 1)
            fills, trades = list_engine_fills(result), list_paper_fills(trading)
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
            open_market(0.1, read_replay(file)) as opened,
            open_session(opened, db, strategy=name, account=account) as trading,
        ):
            await step(opened, trading, range(1, 11))
            orders = trading.query("SELECT side, status FROM orders ORDER BY signal_timestamp")
            assert orders == [("buy", "canceled"), ("buy", "closed")]
            result = run_backtest(opened, trading, 10)
            assert list_paper_fills(trading) == list_engine_fills(result)
            assert [trade.entry_timestamp for trade in result.trades] == [MARCH + 8 * HOUR]

    run(scene())
    reason = "the candle of 2024-03-01 06:00 opens outside the trading hours"
    assert capsys.readouterr().out.count(f"the order to buy is cancelled: {reason}") == 1


@pytest.mark.parametrize(("reentry", "most"), [("new_signal", 2), ("while_signal", 99)])
def test_a_run_of_buys_stays_used_up_across_restarts(
    run: Run, db: Path, strategy_file: StrategyFile, reentry: Reentry, most: int
) -> None:
    account = AccountConfig(reentry=reentry)
    exits = ExitConfig(time_stop_bars=1)

    async def scene() -> None:
        name = strategy_file(ALWAYS_BUY, "runs")
        count = 0
        async with open_market(0.05) as opened:
            for number in range(1, 4):
                async with open_session(
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
            open_market(0.1, read_replay(file)) as opened,
            open_session(opened, db, strategy=name) as trading,
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
