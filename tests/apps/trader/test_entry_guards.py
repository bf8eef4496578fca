"""Entry guards of a paper trader pause entries as in a backtest, across restarts."""

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
from onetape.simulator.recorded.replay import Replay, read_replay
from session_harness import HOUR, MARCH, open_market, open_session

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
COUNTS = "trade_limit=1,lookback_period_candles=2,stop_duration_candles="
GATE = "SELECT json_extract(gates, '$.\"entry guards\"'), action FROM decisions"


@pytest.mark.parametrize(
    ("guard", "numbers"),
    [
        ("stoploss_guard", f"{COUNTS}5,required_profit=0.5"),
        ("drawdown_pause", f"{COUNTS}4,max_allowed_drawdown=0.001"),
        ("low_profit_pairs", f"{COUNTS}6,required_profit=0"),
    ],
)
def test_paper_entries_of_a_halting_market_pause_as_in_the_backtest(
    run: Run, tmp_path: Path, db: Path, strategy_file: StrategyFile, guard: str, numbers: str
) -> None:
    account = AccountConfig(
        cooldown_bars=1,
        **{guard: numbers},  # pyright: ignore[reportArgumentType]
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
            assert result.pauses
            blocked = [(text, action) for text, action in trading.query(GATE) if text is not None]
            assert blocked
            assert {action for _, action in blocked} == {"HOLD"}
            title = guard.replace("_", " ").replace("low profit", "low-profit")
            assert all(text.startswith(f"{title}: ") for text, _ in blocked)
            assert all("no entry for" in text for text, _ in blocked)

    run(scene())


def write_falling_candles(path: Path) -> Replay:
    """Return hourly candles at 100 to replay; those of 02:00 and 12:00 fall to 90."""
    lines = ["timestamp,open,high,low,close,volume"]
    for hour in range(-HISTORY, 20):
        low = 90 if hour in (2, 12) else 100
        lines.append(f"{MARCH + hour * HOUR},100,101,{low},100,50")
    file = path / "BTC-USDT_1h.csv"
    file.write_text("\n".join(lines) + "\n")
    return read_replay(file)


def test_a_pause_of_entries_continues_after_a_restart(
    run: Run, tmp_path: Path, db: Path, strategy_file: StrategyFile
) -> None:
    account = AccountConfig(reentry="while_signal", stoploss_guard=f"{COUNTS}6")
    exits = ExitConfig(stop_loss=0.05)

    async def scene() -> None:
        name = strategy_file(ALWAYS_BUY, "runs")
        sides, entries, sessions = list[str](), list[Any](), list[Any]()
        async with open_market(0.1, write_falling_candles(tmp_path)) as opened:
            for number, hours in enumerate((range(1, 5), range(5, 8), range(8, 17)), 1):
                async with open_session(
                    opened, db, strategy=name, number=number, account=account, exits=exits
                ) as trading:
                    await trading.until_live(opened)
                    for hour in hours:
                        await opened.go_to(hour + 0.1)
                        await trading.until(lambda hour=hour: trading.source(hour))
                        await trading.until(
                            lambda hour=hour: trading.query(
                                "SELECT 1 FROM decisions WHERE timestamp = ?",
                                MARCH + (hour - 1) * HOUR,
                            )
                        )
                        await trading.until_no_open_order()
                    sides = [fill.side for fill in trading.fills()]
                    entries = trading.query(
                        "SELECT filled_timestamp FROM orders WHERE side = 'buy' "
                        "AND status = 'closed' ORDER BY filled_timestamp"
                    )
                    sessions = trading.query(
                        "SELECT DISTINCT session FROM decisions "
                        "WHERE json_extract(gates, '$.\"entry guards\"') IS NOT NULL"
                    )
            # The stop of 02:00 pauses entries until the open of 09:00, the one of 12:00 to the end.
            first, second = [(at - MARCH) // HOUR for (at,) in entries]
            assert first < 2
            assert second == 9
            assert sides == ["buy", "sell"] * 2
            assert sorted(sessions) == [(f"session-{number}",) for number in (1, 2, 3)]

    run(scene())
