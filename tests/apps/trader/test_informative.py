"""Other markets in the trader: decisions as in a backtest, and a candle that comes late."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candles
from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig, ExitConfig
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
from symbol_desk import run_symbol_sessions

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
OTHER = "ETH/USDT"
LATE = "other market late"

#: Buys while the other market is above its average; `last` is the open of its last known candle.
FOLLOWS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Market, Signals, Strategy, indicators


@dataclass(frozen=True)
class Follows(Strategy):
    name: ClassVar[str] = "follows"
    informative = (Market("ETH/USDT", "TIMEFRAME"),)

    @property
    def lookback(self):
        return 1

    @property
    def higher_lookback(self):
        return 3

    def evaluate(self, candles, higher):
        leader = higher["ETH/USDT TIMEFRAME"]
        line = leader.as_of(indicators.sma(leader.close, 3))
        last = leader.as_of(leader.timestamp.astype(np.float64))
        signal = np.sign(leader.as_of(leader.close) - line)
        SIGNAL
        return Signals(np.nan_to_num(signal).astype(np.int8), {"line": line, "last": last})
"""
#: BUY once the candle of hour 0 is known, and SELL once that of hour 1 is.
TWO_HOURS = f"signal = np.where(last == {MARCH}, 1, np.where(last == {MARCH + HOUR}, -1, 0))"


@pytest.fixture(autouse=True)
def quick_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of the requests for other markets."""
    monkeypatch.setattr("trader.informative_fetchers.CHECK_SECONDS", 0.05)


def source(timeframe: str = "1h", signal: str = "pass") -> str:
    return FOLLOWS.replace("TIMEFRAME", timeframe).replace("SIGNAL", signal)


def truth(opened: SteppedMarket, symbol: str, timeframe: str, start: int, end: int) -> Candles:
    return opened.simulator.market.get_candles(symbol, timeframe, start, end)


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order()


def gates(trading: SessionHarness, hour: int) -> dict[str, str]:
    rows = trading.query("SELECT gates FROM decisions WHERE timestamp = ?", MARCH + hour * HOUR)
    return json.loads(rows[0][0])


def sides(trading: SessionHarness) -> list[str]:
    return [trade.side for trade in trading.fills()]


@pytest.mark.parametrize(("timeframe", "delay"), [("1h", 0.0), ("1h", 0.1), ("4h", 0.0)])
def test_every_decision_is_the_one_of_a_backtest_over_the_true_candles(
    run: Run, db: Path, strategy_file: StrategyFile, timeframe: str, delay: float
) -> None:
    async def scene() -> None:
        name, last = strategy_file(source(timeframe), "follows"), 14
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            opened.proxy.delayed_path, opened.proxy.rest_delay_seconds = "/klines", delay
            await step_to(opened, trading, range(last))
            start = MARCH - 200 * HOUR
            candles = truth(opened, KEY.symbol, "1h", start, MARCH + (last - 1) * HOUR)
            leader = truth(opened, OTHER, timeframe, start - 400 * HOUR, MARCH + last * HOUR)
            hour, other = Timeframe.parse("1h"), Timeframe.parse(timeframe)
            aligned = align_higher_candles(candles, hour, leader, other, OTHER)
            whole = evaluate_strategy(trading.strategy, candles, {f"{OTHER} {timeframe}": aligned})
            rows = trading.query(
                "SELECT timestamp, signal, indicators, gates FROM decisions ORDER BY timestamp"
            )
            assert len(rows) > 10
            opens = candles.timestamp.tolist()
            for timestamp, signal, indicators, verdicts in rows:
                bar = opens.index(timestamp)
                assert signal == whole.signal[bar]
                for column in ("line", "last"):
                    assert json.loads(indicators)[column] == whole.indicators[column][bar]
                assert json.loads(verdicts).get("other markets", "ok") == "ok"
                assert json.loads(verdicts)["strategy"] == "ok"

    run(scene())


def test_candles_of_the_other_market_are_stored_as_the_exchange_returned_them(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        name = strategy_file(source(), "follows")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await step_to(opened, trading, range(4))
            rows = trading.query(
                "SELECT timestamp, close, source FROM ohlcv_data WHERE symbol = ? "
                "AND timestamp >= ? AND closed = 1 ORDER BY timestamp",
                OTHER,
                MARCH - 103 * HOUR,
            )
            true = truth(opened, OTHER, "1h", MARCH - 103 * HOUR, MARCH + 3 * HOUR)
            expected = zip(true.timestamp.tolist(), true.close.tolist(), strict=True)
            assert rows == [(*row, "rest") for row in expected]

    run(scene())


def test_row_160_a_late_candle_of_another_market_is_no_decision_and_sells_once_it_arrives(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("trader.informative_fetchers.WAIT_SECONDS", 0.5)

    async def scene() -> None:
        name = strategy_file(source(signal=TWO_HOURS), "follows")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_live(opened)
            await opened.go_to(1.1)
            await trading.until(lambda: sides(trading) == ["buy"])
            # The stream goes on: only candles of the other market come over REST.
            opened.proxy.rest_is_down = True
            await opened.go_to(2.1)
            await trading.until_decided(1)
            assert gates(trading, 1)["strategy"] == LATE
            assert sides(trading) == ["buy"]
            opened.proxy.rest_is_down = False
            await trading.until(lambda: sides(trading) == ["buy", "sell"])
            assert trading.decided()[-1] == MARCH + HOUR

    run(scene())
    out = capsys.readouterr().out
    missing = f"{OTHER} 1h candle of 2024-03-01 01:00 not stored yet"
    assert f"degraded: {LATE}: {missing}; no decision on this candle" in out
    assert f"HOLD ({LATE}: no order), next 03:00" in out
    again = f"decision of 2024-03-01 02:00 evaluated again ({LATE}): signal HOLD -> SELL"
    assert f"{again}, the position is sold" in out


def test_a_decision_waits_for_the_candle_of_another_market(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.informative_fetchers.WAIT_SECONDS", 60.0)

    async def scene() -> None:
        name = strategy_file(source(signal=TWO_HOURS), "follows")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_live(opened)
            opened.proxy.rest_is_down = True
            await opened.go_to(1.1)
            await trading.until(lambda: (trading.source(0) or (0,))[0] == 1)
            await asyncio.sleep(0.5)
            assert MARCH not in trading.decided()
            opened.proxy.rest_is_down = False
            await trading.until_decided(0)
            assert gates(trading, 0)["strategy"] == "ok"
            await trading.until(lambda: sides(trading) == ["buy"])

    run(scene())


def test_row_160_a_stop_sells_while_a_decision_waits_for_another_market(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.informative_fetchers.WAIT_SECONDS", 600.0)

    async def scene() -> None:
        name = strategy_file(source(signal=TWO_HOURS), "follows")
        async with (
            open_market(0.25) as opened,
            open_session(
                opened,
                db,
                strategy=name,
                exits=ExitConfig(time_stop_bars=1),
                max_signal_age_seconds=3_600,
            ) as trading,
        ):
            await trading.until_live(opened)
            await opened.go_to(1.1)
            await trading.until(lambda: sides(trading) == ["buy"])
            opened.proxy.rest_is_down = True
            await opened.go_to(2.1)
            await trading.until(lambda: sides(trading) == ["buy", "sell"])
            assert MARCH + HOUR not in trading.decided()

    run(scene())


def test_row_160_a_candle_that_the_exchange_leaves_out_is_not_waited_for(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.informative_fetchers.WAIT_SECONDS", 60.0)

    async def scene() -> None:
        name = strategy_file(source(), "follows")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trading.until_live(opened)
            opened.proxy.hidden_market = "ETHUSDT"
            opened.proxy.hidden_candles = {(MARCH + HOUR) * 1_000}
            await step_to(opened, trading, range(1, 4))
            rows = trading.query(
                "SELECT json_extract(indicators, '$.last'), json_extract(gates, '$.strategy') "
                "FROM decisions WHERE timestamp >= ? ORDER BY timestamp",
                MARCH,
            )
            # In the hour without a candle the last known value holds, as in a backtest.
            assert rows == [(float(MARCH + hour * HOUR), "ok") for hour in (0, 0, 2)]

    run(scene())


def test_symbols_that_read_one_market_request_each_of_its_candles_once(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        name = strategy_file(source(), "follows")
        symbols = ("SOL/USDT", "XRP/USDT", "BNB/USDT")
        async with (
            open_market(0.25) as opened,
            run_symbol_sessions(
                opened,
                db,
                dict.fromkeys(symbols, name),
                account=AccountConfig(sizing="equity_share", equity_share=0.3),
                entry_wait_seconds=30.0,
            ) as trading,
        ):
            await trading.until_decided(MARCH - HOUR)
            for hour in range(1, 6):
                before = len(opened.proxy.kline_requests)
                await opened.go_to(hour + 0.1)
                await trading.until_decided(MARCH + (hour - 1) * HOUR)
                sent = opened.proxy.kline_requests[before:]
                assert [one["symbol"] for one in sent].count("ETHUSDT") == 1
            for symbol in symbols:
                stored = trading.first.query(
                    "SELECT json_extract(indicators, '$.last') - d.timestamp FROM decisions d "
                    "JOIN sessions s ON s.session = d.session WHERE s.symbol = ?",
                    symbol,
                )
                assert {row[0] for row in stored} == {0.0}

    run(scene())


def test_a_market_that_a_session_trades_too_is_read_from_its_stream(
    run: Run, db: Path, strategy_file: StrategyFile
) -> None:
    async def scene() -> None:
        name = strategy_file(source(), "follows")
        async with (
            open_market(0.25) as opened,
            run_symbol_sessions(
                opened,
                db,
                dict.fromkeys(("SOL/USDT", OTHER), name),
                account=AccountConfig(sizing="equity_share", equity_share=0.3),
                entry_wait_seconds=30.0,
            ) as trading,
        ):
            await trading.until_decided(MARCH - HOUR)
            await trading.first.until_live(opened)
            for hour in range(1, 4):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(MARCH + (hour - 1) * HOUR)
            rows = trading.first.query(
                "SELECT source FROM ohlcv_data WHERE symbol = ? AND timestamp BETWEEN ? AND ?",
                OTHER,
                MARCH + HOUR,
                MARCH + 2 * HOUR,
            )
            assert {origin for (origin,) in rows} == {"ws"}
            assert len(rows) == 2

    run(scene())
