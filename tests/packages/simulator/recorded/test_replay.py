"""A replay serves the recorded candles unchanged, gaps included, with matching trades."""

import csv
import gzip
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.errors import UsageError
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import TIMEFRAMES, Bars, concat_bars, group_bars
from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.replay import RecordedSeries, Replay, read_replay
from onetape.simulator.recorded.replay_market import ReplayMarket
from onetape.simulator.server.simulator import Simulator
from onetape.simulator.streams.feeds import KlineFeed, make_feed
from onetape.simulator.trading.market_trade_feed import MarketTradeFeed
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from repeatable import count_examples

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Client = Callable[..., AbstractAsyncContextManager[Any]]
#: 2024-03-01 00:00 UTC.
MARCH = 1_709_251_200
HEADER = "timestamp,open,high,low,close,volume"


def write_csv(folder: Path, rows: list[Candle], name: str = "x_BTC-USDT_1h_1.csv") -> Path:
    path = folder / name
    lines = [HEADER, *(",".join(map(repr, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_csv_rows(path: Path) -> list[list[float]]:
    """Return a CSV's rows as CCXT gives candles: milliseconds, then floats."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    return [[int(row[0]) * 1_000, *map(float, row[1:])] for row in rows]


HOURS = [
    Candle(MARCH, 100.0, 110.5, 95.25, 105.0, 12.5),
    Candle(MARCH + 3_600, 105.0, 105.0, 105.0, 105.0, 0.0),
    Candle(MARCH + 3 * 3_600, 104.0, 120.0, 103.0, 119.75, 0.03),
    Candle(MARCH + 4 * 3_600, 119.75, 119.75, 90.0, 90.0, 7.77),
]
#: What the third hour would have been.
GAP_CANDLE = Candle(MARCH + 2 * 3_600, 105.0, 106.0, 104.0, 104.0, 1.0)


@pytest.fixture
def market(tmp_path: Path) -> ReplayMarket:
    """Return four hours with a silent one, and a gap after it."""
    return ReplayMarket(7, read_replay(write_csv(tmp_path, HOURS)))


@pytest.mark.parametrize(
    ("file", "timeframe"),
    [
        ("binance_BTC-USDT_1h_20170817_20240421.csv.gz", "1h"),
        ("binance_BRD-BTC_5m_20210225_20210520.csv.gz", "5m"),
        ("binance_DOGE-USDT_1m_20210420_20210520.csv.gz", "1m"),
    ],
)
def test_ccxt_gets_the_candles_of_the_file_with_their_gaps(
    run: Run, ccxt_client: Client, shared: Path, file: str, timeframe: str
) -> None:
    path = shared / "data" / "candles" / file
    rows = read_csv_rows(path)
    replay = read_replay(path)
    name = replay.series[0].symbol.name
    end_ms = rows[-1][0] + TIMEFRAMES[timeframe].seconds * 1_000

    async def scene() -> list[list[float]]:
        clock = make_clock(start_ms=int(end_ms), stepped=True)
        async with Simulator(clock=clock, replay=replay) as simulator, ccxt_client(simulator) as c:
            found: list[list[float]] = []
            # From one candle after the last, so that a page begins inside a gap too.
            since = rows[0][0]
            while page := await c.fetch_ohlcv(name, timeframe, since, 1_000):
                found += page
                since = page[-1][0] + 1
            return found

    assert run(scene()) == rows


@pytest.mark.parametrize("name", ["币安人生/USDT", "1INCH/USDT", "0G/USDT"])
def test_markets_of_any_name_are_served_to_ccxt(
    run: Run, ccxt_client: Client, tmp_path: Path, name: str
) -> None:
    path = write_csv(tmp_path, HOURS, f"binance_{name.replace('/', '-')}_1h_x.csv")

    async def scene() -> list[list[float]]:
        clock = make_clock(start_ms=(MARCH + 5 * 3_600) * 1_000, stepped=True)
        simulator = Simulator(clock=clock, replay=read_replay(path))
        async with simulator, ccxt_client(simulator) as client:
            return await client.fetch_ohlcv(name, "1h", MARCH * 1_000)

    assert [row[4] for row in run(scene())] == [row.close for row in HOURS]


def test_a_stream_of_a_market_with_a_chinese_name_is_opened(tmp_path: Path) -> None:
    market = ReplayMarket(7, read_replay(write_csv(tmp_path, HOURS, "x_币安人生-USDT_1h.csv")))
    assert isinstance(make_feed("币安人生usdt@kline_1h", market), KlineFeed)


def test_higher_timeframe_candles_of_a_file_equal_those_of_the_exchange(shared: Path) -> None:
    folder = shared / "data" / "candles"
    small, large = (
        read_replay(folder / f"binance_BTC-USDT_{name}_20250520_20250818.csv.gz")
        for name in ("5m", "15m")
    )
    theirs = large.series[0].candles
    end = int(theirs.timestamp[-1])
    built = ReplayMarket(7, small).get_candles("BTC/USDT", "15m", 0, end)
    for column in ("timestamp", "open", "high", "low", "close"):
        assert np.array_equal(getattr(built, column), getattr(theirs, column)[:-1])
    assert np.allclose(built.volume, theirs.volume[:-1], rtol=1e-9)


def test_quiet_minutes_supply_no_open_to_higher_timeframe_candles(shared: Path) -> None:
    folder = shared / "data" / "candles"
    small = ReplayMarket(7, read_replay(folder / "binance_BRD-BTC_1m_20210410_20210520.csv.gz"))
    large = read_replay(folder / "binance_BRD-BTC_5m_20210225_20210520.csv.gz").series[0].candles
    built = small.get_candles("BRD/BTC", "5m", 0, 2**40)
    common, ours, theirs = np.intersect1d(
        built.timestamp[1:-1], large.timestamp, return_indices=True
    )
    # The exchange's own 1m history lacks trades in a few windows, and some minutes are missing.
    wrong = built.open[1:-1][ours] != large.open[theirs]
    assert len(common) > 10_900
    assert np.count_nonzero(wrong) < 20


def test_a_database_is_replayed_by_its_smallest_timeframe(tmp_path: Path) -> None:
    path = tmp_path / "onetape.db"
    with open_store(path, create=True) as store:
        key = SeriesKey("binance", "BTC/USDT", "1h")
        insert_closed_rows(store, key, HOURS, source="import", seen_ms=0)
        days = [HOURS[0]._replace(volume=99.0)]
        insert_closed_rows(
            store, SeriesKey("binance", "BTC/USDT", "1d"), days, source="import", seen_ms=0
        )
        others = [HOURS[0]._replace(open=96.0)]
        insert_closed_rows(
            store, SeriesKey("binance", "ETH/USDT", "1d"), others, source="import", seen_ms=0
        )
    market = ReplayMarket(7, read_replay(path))
    assert [symbol.name for symbol in market.symbols] == ["BTC/USDT", "ETH/USDT"]
    hours = market.get_candles("BTC/USDT", "1h", 0, 2**40)
    assert hours.timestamp.tolist() == [row.timestamp for row in HOURS]
    assert market.get_candles("ETH/USDT", "1d", 0, 2**40).open.tolist() == [96.0]


def test_the_trades_of_a_candle_give_exactly_the_candle(market: ReplayMarket) -> None:
    (symbol,) = market.symbols
    for row in HOURS:
        recorded = market.get_bars(symbol, TIMEFRAMES["1h"], row.timestamp, row.timestamp + 1)
        minutes = market.get_bars(symbol, TIMEFRAMES["1m"], row.timestamp, row.timestamp + 3_600)
        assert len(minutes) == 60
        assert are_equal(group_bars(minutes, recorded.timestamp), recorded)


def test_a_forming_candle_grows_into_the_recorded_one(market: ReplayMarket) -> None:
    (symbol,) = market.symbols
    hour = TIMEFRAMES["1h"]
    for row in HOURS:
        recorded = market.get_bars(symbol, hour, row.timestamp, row.timestamp + 1)
        first = market.get_forming_bar(symbol, hour, row.timestamp * 1_000)
        last = market.get_forming_bar(symbol, hour, (row.timestamp + 3_600) * 1_000 - 1)
        assert first.open == first.high == first.low == first.close == recorded.open
        assert are_equal(last, recorded)


@pytest.mark.parametrize("has_volume", [False, True])
def test_higher_timeframe_candles_of_recorded_ones_without_volume_equal_those_of_resample(
    tmp_path: Path, *, has_volume: bool
) -> None:
    # Two days: flat hours, and hours that moved, some of them without volume.
    rows = [
        Candle(MARCH + 3_600 * at, price, price + up, price - up, price, volume * has_volume)
        for at in range(48)
        for price, up in [(100.0 + at * 7 % 13, float(at % 3))]
        for volume in [float(at % 5 == 1)]
    ]
    market = ReplayMarket(7, read_replay(write_csv(tmp_path, rows)))
    for name in ("4h", "1d"):
        built = market.get_candles("BTC/USDT", name, 0, 2**40)
        columns = [np.array([row[at] for row in rows]) for at in range(6)]
        hours = Candles(columns[0].astype(np.int64), *columns[1:])
        expected = resample(hours, Timeframe.parse("1h"), Timeframe.parse(name))
        for column in ("timestamp", "open", "high", "low", "close", "volume"):
            assert getattr(built, column).tolist() == getattr(expected, column).tolist()


def test_a_recorded_hour_that_moved_without_volume_moves_in_its_last_minute(
    tmp_path: Path,
) -> None:
    row = Candle(MARCH, 100.0, 110.0, 95.0, 105.0, 0.0)
    market = ReplayMarket(7, read_replay(write_csv(tmp_path, [row])))
    (symbol,) = market.symbols
    hour, minute = TIMEFRAMES["1h"], TIMEFRAMES["1m"]
    recorded = market.get_bars(symbol, hour, MARCH, MARCH + 1)
    minutes = market.get_bars(symbol, minute, MARCH, MARCH + 3_600)
    assert np.array_equal(minutes.high[:-1], np.repeat(recorded.open, 59))
    assert are_equal(group_bars(minutes, recorded.timestamp, has_volume=False), recorded)
    assert are_equal(market.get_forming_bar(symbol, hour, (MARCH + 3_600) * 1_000 - 1), recorded)
    assert market.get_forming_bar(symbol, hour, MARCH * 1_000 + 5_000).high == recorded.open


def test_nothing_happens_in_a_gap_and_streams_go_on_after_it(market: ReplayMarket) -> None:
    (symbol,) = market.symbols
    gap = MARCH + 2 * 3_600
    assert not len(market.get_forming_bar(symbol, TIMEFRAMES["1h"], gap * 1_000 + 5))
    feed = make_feed("btcusdt@kline_1h", market)
    list(feed.iterate_events(gap * 1_000 - 1))
    assert list(feed.iterate_events(gap * 1_000 + 1)) == []
    events: list[Any] = list(feed.iterate_events((gap + 3_600) * 1_000))
    assert [(event["k"]["t"], event["k"]["x"]) for event in events] == [
        ((gap - 3_600) * 1_000, True),
        ((gap + 3_600) * 1_000, False),
    ]


def test_the_last_candle_of_the_file_is_closed_on_the_stream(market: ReplayMarket) -> None:
    feed = make_feed("btcusdt@kline_1h", market)
    end_ms = (MARCH + 5 * 3_600) * 1_000
    list(feed.iterate_events(end_ms - 1))
    events: list[Any] = list(feed.iterate_events(end_ms + 7_200_000))
    assert [event["k"]["x"] for event in events] == [True]


@settings(max_examples=count_examples(60), deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=4, max_size=4),
    st.integers(0, 40) | st.integers(10**3, 10**9) | st.integers(10**12, 10**15),
    st.sampled_from(["1m", "5m", "1h", "4h", "1d"]),
    st.integers(0, 99),
)
def test_the_price_path_inside_any_candle_stays_within_it(
    prices: list[int], volume: int, timeframe: str, seed: int
) -> None:
    low, one, other, high = sorted(prices)
    length = TIMEFRAMES[timeframe]
    if volume == 0:
        other = low = high = one
    cells = (MARCH, *(price / 100 for price in (one, high, low, other)), volume / 1_000)
    columns = [np.array([cell], dtype=np.float64) for cell in cells]
    candles = Candles(columns[0].astype(np.int64), *columns[1:])
    market = ReplayMarket(seed, Replay(Path("x"), (make_series(candles, timeframe),)))
    (symbol,) = market.symbols
    minutes = market.get_bars(symbol, TIMEFRAMES["1m"], MARCH, MARCH + length.seconds)
    recorded = market.get_bars(symbol, length, MARCH, MARCH + 1)
    assert are_equal(group_bars(minutes, recorded.timestamp), recorded)
    some = [
        market.get_trades(symbol, minute).make_bar(minute)
        for minute in minutes.timestamp[:99].tolist()
    ]
    traded = Bars(*(column[minutes.volume > 0] for column in minutes.get_columns()))
    assert are_equal(concat_bars(some), traded.select_between(MARCH, MARCH + 99 * 60))


@pytest.mark.parametrize(
    ("close", "volume"), [(68_000.12345678, 23_456.12345678), (0.00001234, 9_999_999_999_999.0)]
)
def test_a_day_of_many_coins_in_small_steps_is_added_up_exactly(
    close: float, volume: float
) -> None:
    cells = (MARCH, close, close * 1.1, close * 0.9, close, volume)
    columns = [np.array([cell], dtype=np.float64) for cell in cells]
    candles = Candles(columns[0].astype(np.int64), *columns[1:])
    market = ReplayMarket(7, Replay(Path("x"), (make_series(candles, "1d"),)))
    (symbol,) = market.symbols
    day = market.get_bars(symbol, TIMEFRAMES["1d"], MARCH, MARCH + 1)
    trades = [market.get_trades(symbol, MARCH + 60 * minute) for minute in range(1_440)]
    amounts = [amount for one in trades for amount in one.amount.tolist()]
    prices = [price for one in trades for price in one.price.tolist()]
    assert min(amounts) > 0
    assert sum(amounts) == int(day.volume[0])
    value = sum(price * amount for price, amount in zip(prices, amounts, strict=True))
    assert value == int(day.quote[0])


def make_series(candles: Candles, timeframe: str) -> RecordedSeries:
    from onetape.simulator.recorded.replay import _make_series  # pyright: ignore[reportPrivateUsage] - its steps

    return _make_series(Path("x"), "BTC/USDT", timeframe, candles)


def test_steps_are_as_small_as_the_file_or_its_trades_need(market: ReplayMarket) -> None:
    (symbol,) = market.symbols
    assert (symbol.price_digits, symbol.amount_digits) == (2, 3)


def test_market_time_begins_inside_the_file(tmp_path: Path) -> None:
    assert read_replay(write_csv(tmp_path, HOURS)).start_ms == HOURS[2].timestamp * 1_000


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", f"{HEADER}\n{MARCH},1,1,1,1,1\n", "add --data-symbol BTC/USDT"),
        ("x_BTC-USDT_1h_.csv", "time,open\n", "no header"),
        ("x_BTC-USDT_1h_.csv", f"{HEADER}\n{MARCH},1,1,1,one,1\n", "cannot be read as CSV"),
        ("x_BTC-USDT_1h_.csv", f"{HEADER}\n{MARCH},1,1,2,1,1\n", "candle 1: high or low"),
        ("x_BTC-USDT_1h_.csv", f"{HEADER}\n{MARCH + 5},1,1,1,1,1\n", "not the open of a 1h"),
        (
            "x_BTC-USDT_1h_.csv", f"{HEADER}\n{MARCH},1,1,1,1,1\n{MARCH},1,1,1,1,1\n",
            "candle 2: time is not later",
        ),
        ("x_BTC-USDT_1h_.csv", f"{HEADER}\n\n", "has no candles"),
        ("x_BTC-USDT_1h_.csv", f"{HEADER}\n{MARCH},1,1,1,1\n", "rows of 5 columns, not 6"),
        ("x_BTC-USDT_1w_.csv", f"{HEADER}\n{MARCH},1,1,1,1,1\n", "only 1m to 1d"),
        ("x_BTC-USDT_1h_.csv.gz", "no gzip", "cannot be read as CSV"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_replayed_is_refused_with_the_reason(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_replay(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nope\.db: file not found"):
        read_replay(tmp_path / "nope.db")


def are_equal(one: Bars, other: Bars) -> bool:
    return all(
        np.array_equal(a, b) for a, b in zip(one.get_columns(), other.get_columns(), strict=True)
    )


def test_no_order_is_taken_in_a_gap_of_its_own_market(tmp_path: Path) -> None:
    path = tmp_path / "two.db"
    with open_store(path, create=True) as store:
        for symbol, rows in (("BTC/USDT", HOURS), ("ETH/USDT", [*HOURS, GAP_CANDLE])):
            insert_closed_rows(
                store, SeriesKey("binance", symbol, "1h"), rows, source="rest", seen_ms=0
            )
    market = ReplayMarket(7, read_replay(path))
    feed = MarketTradeFeed(market, held=True)
    in_gap_ms = (MARCH + 2 * 3_600 + 60) * 1_000
    trading = {symbol.id: feed.is_trading(symbol, in_gap_ms) for symbol in market.symbols}
    assert trading == {"BTCUSDT": False, "ETHUSDT": True}
