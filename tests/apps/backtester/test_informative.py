"""Backtests of strategies that read other markets: the candles, missing ones, and each command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_columns
from onetape.store.database import open_store

Run = Callable[..., Any]
HOUR, DAY = 3_600, 86_400
START = 1_704_067_200
DAYS = 120
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
LEADER = SeriesKey("simulator", "ETH/USDT", "1h")
FOUR = Timeframe.parse("4h")
SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Market, Signals, Strategy, indicators, parameter


@dataclass(frozen=True)
class Follower(Strategy):
    name: ClassVar[str] = "follower"
    informative = (Market("{symbol}", "{timeframe}"),)
    bars: int = parameter(2, ge=1, le=50)

    @property
    def lookback(self):
        return self.bars + 1

    def evaluate(self, candles, higher):
        leader = higher["{symbol} {timeframe}"]
        line = leader.as_of(indicators.sma(leader.close, self.bars))
        last = leader.as_of(leader.close)
        signal = np.nan_to_num(np.sign(last - line)).astype(np.int8)
        return Signals(signal, {{"line": line, "last": last}})
"""
FLAGS = ("-s", "follower", "--fee", "0", "--trading-rules", "none")


@pytest.fixture(autouse=True)
def follower(folder: Path) -> Callable[..., None]:
    """Write user/strategies/follower.py; return a function that changes its market."""
    path = folder / "user" / "strategies" / "follower.py"
    path.parent.mkdir(parents=True)

    def write(symbol: str = "ETH/USDT", timeframe: str = "4h") -> None:
        path.write_text(SOURCE.format(symbol=symbol, timeframe=timeframe), encoding="utf-8")

    write()
    return write


@pytest.fixture(scope="session")
def leader() -> Candles:
    """Return the hours of the other market."""
    return SimulatedMarket(DEFAULT_SEED).get_candles(LEADER.symbol, "1h", START, START + DAYS * DAY)


def store_candles(database: Path, key: SeriesKey, candles: Candles) -> None:
    with open_store(database, create=False) as store:
        insert_columns(store, key, candles, source="rest", seen_ms=(START + 200 * DAY) * 1_000)


@pytest.fixture
def hours(database: Path, leader: Candles) -> Path:
    """Store the hours of the other market, from which its 4h candles are built."""
    store_candles(database, LEADER, leader)
    return database


@pytest.fixture
def four_hours(database: Path, leader: Candles) -> Path:
    """Store the 4h candles of the other market alone."""
    made = resample(leader, Timeframe.parse("1h"), FOUR)
    store_candles(database, replace(LEADER, timeframe="4h"), made)
    return database


def find_signals(leader: Candles, opens: list[int], bars: int) -> list[int]:
    """Return the signals of the strategy at hours, by a plain loop over spans of four hours."""
    closes = dict(zip(leader.timestamp.tolist(), leader.close.tolist(), strict=True))
    signals: list[int] = []
    for opened in opens:
        over = (opened + HOUR) // (4 * HOUR) * 4 * HOUR
        last = [closes[over - HOUR - 4 * HOUR * back] for back in range(bars)]
        mean = sum(last) / bars
        signals.append(1 if last[0] > mean else -1 if last[0] < mean else 0)
    return signals


def find_trades(candles: Candles, leader: Candles, first: int, bars: int) -> list[tuple[int, int]]:
    """Return entry and exit of each trade, as the times of the opens that fill them."""
    opens = candles.timestamp[candles.timestamp >= first].tolist()
    trades: list[tuple[int, int]] = []
    entered: int | None = None
    # A run of BUYs enters once.
    before = 0
    for opened, signal in zip(opens[:-1], find_signals(leader, opens, bars), strict=False):
        if signal == 1 and entered is None and before != 1:
            entered = opened + HOUR
        if signal == -1 and entered is not None:
            trades.append((entered, opened + HOUR))
            entered = None
        before = signal
    return trades


@pytest.mark.parametrize("stored", ["hours", "four_hours"])
def test_trades_follow_the_closed_candles_of_the_other_market(
    backtest_json: Run,
    request: pytest.FixtureRequest,
    candles: Candles,
    leader: Candles,
    stored: str,
) -> None:
    request.getfixturevalue(stored)
    first = START + 30 * DAY
    document = backtest_json(*FLAGS, "--from", format_utc(first).replace(" ", "T")).document
    found = [
        (trade["entry_timestamp"], trade["exit_timestamp"])
        for trade in document["trades"]
        if trade["exit_timestamp"] is not None
    ]
    expected = find_trades(candles, leader, first, 2)
    assert len(expected) > 100
    assert found == expected
    assert document["check"]["clean"] is True
    words = document["assumptions"]["ETH/USDT 4h candles"]
    assert words.startswith("0 stored, ") is (stored == "hours")
    assert words.endswith("; each is used once it has closed")


def test_a_market_that_is_not_stored_is_one_line_with_the_command_that_fetches_it(
    backtest_json: Run,
) -> None:
    ended = backtest_json(*FLAGS, "--from", "2024-02-01", "--to", "2024-03-01")
    assert ended.code != 0
    (line,) = ended.err.splitlines()
    assert "strategy follower needs ETH/USDT candles: " in line
    assert "holds no closed candle of simulator ETH/USDT 4h; run: uv run backfiller" in line
    # A hundred 4h candles before the first of the hundred hours before the range.
    first = (START + 31 * DAY - 100 * HOUR) // (4 * HOUR) * 4 * HOUR - 400 * HOUR
    day = format_utc(first).removesuffix(" 00:00").replace(" ", "T")
    command = f"--exchange simulator --symbol ETH/USDT --timeframe 4h --from {day} --to 2024-03-01"
    assert command in line


def delete(database: Path, first: int, last: int) -> None:
    """Delete candles of the other market, from one hour up to another after the first."""
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE symbol = ? AND timestamp >= ? AND timestamp < ?",
            (LEADER.symbol, START + first * HOUR, START + last * HOUR),
        )


def test_a_gap_of_the_other_market_is_refused_with_the_command_that_fills_it(
    backtest_json: Run, four_hours: Path
) -> None:
    delete(four_hours, 1_000, 1_100)
    ended = backtest_json(*FLAGS)
    (line,) = ended.err.splitlines()
    assert "strategy follower needs ETH/USDT candles: simulator ETH/USDT 4h has 25" in line
    assert f"missing from {format_utc(START + 1_000 * HOUR)} UTC; run: uv run backfiller" in line
    assert "--symbol ETH/USDT --timeframe 4h" in line
    assert "(or go on without them: --allow-gaps)" in line


def test_after_an_allowed_gap_of_the_other_market_trading_waits_for_a_warm_up(
    backtest_json: Run, four_hours: Path
) -> None:
    delete(four_hours, 1_000, 1_100)
    document = backtest_json(*FLAGS, "--allow-gaps").document
    # A hundred 4h candles, and then a window of a hundred hours.
    since = START + (1_100 + 4 * 100 + 100) * HOUR
    (pause,) = document["pauses"]
    assert (pause["timeframe"], pause["trading_since"]) == ("ETH/USDT 4h", since)
    gap = f"behind the gap of ETH/USDT 4h candles {format_utc(START + 1_000 * HOUR)}"
    assert gap in json.dumps(document["notes"])
    # The candle of hour 1,000 would have closed with hour 1,003.
    silent = range(START + 1_004 * HOUR, since)
    assert not any(trade["entry_timestamp"] in silent for trade in document["trades"])


def test_a_market_that_begins_inside_the_range_is_refused_with_a_later_start(
    backtest_json: Run, four_hours: Path
) -> None:
    delete(four_hours, 0, 400)
    ended = backtest_json(*FLAGS)
    (line,) = ended.err.splitlines()
    later = format_utc(START + 400 * HOUR).replace(" ", "T")
    assert f"(or start at {later}: --from, or go on without them: --allow-gaps)" in line
    assert backtest_json(*FLAGS, "--from", later).document["trades"]


def test_candles_of_the_other_market_after_the_range_change_nothing(
    backtest_json: Run, four_hours: Path, leader: Candles
) -> None:
    end = START + 60 * DAY
    flags = (*FLAGS, "--to", format_utc(end).replace(" ", "T"))
    whole = backtest_json(*flags).document
    delete(four_hours, 24 * 60, 24 * DAYS)
    assert backtest_json(*flags).document["trades"] == whole["trades"]
    del leader


@pytest.mark.parametrize("symbol", ["ETH/{quote}", "ETH/USDT"])
def test_a_traded_symbol_may_be_the_market_that_others_read(
    backtest_json: Run, follower: Callable[..., None], hours: Path, symbol: str
) -> None:
    del hours
    follower(symbol, "1h")
    sizing = ("--sizing", "quote_amount=100")
    together = backtest_json(*FLAGS, *sizing, "--symbol", "BTC/USDT,ETH/USDT").document
    assert {trade["symbol"] for trade in together["trades"]} == {"BTC/USDT", "ETH/USDT"}
    assert together["check"]["clean"] is True


def test_check_finds_a_market_that_is_known_before_it_closes(
    backtester: Run, four_hours: Path, folder: Path
) -> None:
    del four_hours
    path = folder / "user" / "strategies" / "follower.py"
    peeks = (
        "at = np.searchsorted(leader.timestamp, candles.timestamp, 'right') - 1\n"
        "        last = np.where(at < 0, np.nan, leader.close[at])"
    )
    path.write_text(path.read_text().replace("last = leader.as_of(leader.close)", peeks))
    arguments = ("--exchange", "simulator", "-s", "follower", "--from", "2024-02-01")
    ended = backtester("check", *arguments, "--to", "2024-03-01")
    assert "look-ahead" in ended.out
    path.write_text(path.read_text().replace(peeks, "last = leader.as_of(leader.close)"))
    assert "passed" in backtester("check", *arguments, "--to", "2024-03-01").out


def test_explain_shows_the_candle_of_the_other_market(
    backtester: Run, four_hours: Path, leader: Candles
) -> None:
    del four_hours
    ended = backtester("explain", "--exchange", "simulator", *FLAGS, "--at", "2024-03-01T10:00")
    moment = START + 60 * DAY
    close = leader.close[np.searchsorted(leader.timestamp, moment + 7 * HOUR)]
    line = next(line for line in ended.out.splitlines() if line.startswith("input:"))
    assert line.startswith(
        "input:      ETH/USDT 4h: candle 2024-03-01 04:00 to 2024-03-01 08:00 UTC, close "
    )
    assert line.rpartition(" ")[2].replace(",", "") == f"{close:.10g}"


@pytest.mark.parametrize("part", ["in_sample", "out_of_sample"])
def test_an_optimization_sees_what_a_backtest_of_the_part_sees(
    optimize: Run, backtest_json: Run, four_hours: Path, part: str
) -> None:
    del four_hours
    found = optimize("-s", "follower", "--param", "bars=2,9", "--from", "2024-02-01")
    ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
    for result in found["results"]:
        value = f"--param=bars={result['parameters']['bars']}"
        alone = backtest_json("-s", "follower", value, "--from", ends[0], "--to", ends[1])
        assert alone.document["metrics"] == result[part]
        assert result[part]["trades"] > 0


def test_other_candles_of_the_other_market_are_another_optimization(
    optimize: Run, four_hours: Path
) -> None:
    flags = ("-s", "follower", "--param", "bars=2,3", "--from", "2024-02-01")
    first = optimize(*flags)["folder"]
    assert optimize(*flags)["folder"] == first
    with open_store(four_hours, create=False) as store, store.write() as connection:
        connection.execute(
            "UPDATE ohlcv_data SET close = low WHERE symbol = ? AND timestamp = ?",
            (LEADER.symbol, START + 90 * DAY),
        )
    assert optimize(*flags)["folder"] != first
