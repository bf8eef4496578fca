"""Minutes without a trade, and outages of the whole exchange: what history and streams show."""

import hashlib
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.simulator.demo import LIVE_FROM
from onetape.simulator.market.bars import TIMEFRAMES, Bars, group_bars
from onetape.simulator.market.outages import (
    MAX_UNTRADED_MINUTES,
    Outage,
    compute_minute_index,
    make_outages,
)
from onetape.simulator.market.price_path import ORIGIN_SECONDS
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SYMBOLS
from onetape.simulator.market.tickers import find_book, make_day_ticker
from onetape.simulator.streams.feeds import make_feed

DAY = 86_400
MARCH = 1_709_251_200
BITCOIN = SYMBOLS[0]
THIN = next(symbol for symbol in SYMBOLS if symbol.untraded_share)


#: Changes only when the market is changed on purpose; the same on every Python.
GOLDEN = "4849605dc4cce900"


def test_quiet_minutes_and_outages_of_seed_7_have_the_published_digest() -> None:
    total = hashlib.sha256(repr(make_outages(7)).encode())
    one = make_outages(7)[20]
    for symbol in (BITCOIN, THIN):
        bars = SimulatedMarket(7).get_bars(
            symbol,
            TIMEFRAMES["1m"],
            compute_minute_start(one.halt - 300),
            compute_minute_start(one.end + 300),
        )
        for column in bars.get_columns():
            total.update(column.astype("<i8").tobytes())
    assert total.hexdigest()[:16] == GOLDEN


def compute_minute_start(minute: int) -> int:
    return ORIGIN_SECONDS + 60 * minute


@pytest.fixture(scope="module")
def outage() -> Outage:
    """Return an outage of seed 7 while Bitcoin is listed that swallows whole hours."""
    listed = compute_minute_index(BITCOIN.listed)
    return next(one for one in make_outages(7) if one.halt > listed and one.end - one.start > 150)


def test_bitcoins_hours_have_a_few_gaps_in_all_their_history() -> None:
    hours = SimulatedMarket(7).get_candles("BTC/USDT", "1h", 0, LIVE_FROM).timestamp
    gaps = int(np.count_nonzero(np.diff(hours) > 3_600))
    assert 5 <= gaps <= 30


def test_the_demos_candles_have_no_gap() -> None:
    start, end = LIVE_FROM - 200 * DAY, LIVE_FROM + 90 * 3_600
    hours = SimulatedMarket(7).get_candles("BTC/USDT", "1h", start, end)
    assert len(hours) == (end - start) // 3_600
    assert np.all(hours.volume > 0)


@pytest.mark.parametrize("symbol", [BITCOIN, THIN], ids=["lively", "thin"])
def test_an_outage_halts_trading_and_then_leaves_no_candle(outage: Outage, symbol: object) -> None:
    assert symbol in SYMBOLS
    market, minute = SimulatedMarket(7), TIMEFRAMES["1m"]
    picked = BITCOIN if symbol is BITCOIN else THIN
    start, end = compute_minute_start(outage.halt - 200), compute_minute_start(outage.end + 200)
    bars = market.get_bars(picked, minute, start, end)
    halted = bars.select_between(
        compute_minute_start(outage.halt), compute_minute_start(outage.start)
    )
    assert len(halted) == outage.start - outage.halt
    assert not halted.volume.any()
    assert (
        len(
            bars.select_between(
                compute_minute_start(outage.start), compute_minute_start(outage.end)
            )
        )
        == 0
    )
    assert int(
        bars.select_between(compute_minute_start(outage.end), end).timestamp[0]
    ) == compute_minute_start(outage.end)


def test_an_hour_partly_in_an_outage_is_made_of_its_minutes_and_one_within_is_missing(
    outage: Outage,
) -> None:
    market, hour = SimulatedMarket(7), 3_600
    opened = compute_minute_start(outage.start) // hour * hour
    last = compute_minute_start(outage.end) // hour * hour
    hours = market.get_bars(BITCOIN, TIMEFRAMES["1h"], opened, last + hour)
    assert hours.timestamp.tolist() == [opened, last]
    minutes = market.get_bars(BITCOIN, TIMEFRAMES["1m"], last, last + hour)
    assert int(hours.volume[-1]) == int(minutes.volume.sum())


def test_a_minute_without_a_trade_is_flat_at_the_previous_close() -> None:
    bars = SimulatedMarket(7).get_bars(THIN, TIMEFRAMES["1m"], MARCH, MARCH + 3 * DAY)
    quiet = np.flatnonzero(bars.volume[1:] == 0) + 1
    assert 0.3 < len(quiet) / len(bars) < 0.5
    for price in (bars.open, bars.high, bars.low, bars.close):
        assert np.array_equal(price[quiet], bars.close[quiet - 1])
    runs = np.diff(np.flatnonzero(bars.volume > 0))
    assert 10 < int(runs.max()) <= MAX_UNTRADED_MINUTES


def test_trade_ids_are_consecutive_across_quiet_minutes_and_an_outage(outage: Outage) -> None:
    for symbol in (BITCOIN, THIN):
        start, end = compute_minute_start(outage.halt - 600), compute_minute_start(outage.end + 600)
        bars = SimulatedMarket(7).get_bars(symbol, TIMEFRAMES["1m"], start, end)
        ends = bars.first_id + bars.trades
        assert np.array_equal(bars.first_id[1:], ends[:-1])


def test_a_quiet_candle_supplies_no_open_high_or_low() -> None:
    flat, traded = [0, 9, 9, 9, 9, 0, 0, 0, 1, 0, 0], [60, 5, 6, 4, 5, 2, 9, 1, 1, 1, 5]
    columns = zip(flat, traded, strict=True)
    small = Bars(*(np.array(pair, dtype=np.int64) for pair in columns))
    large = group_bars(small, np.array([0], dtype=np.int64))
    assert [int(column[0]) for column in large.get_columns()[:6]] == [0, 5, 6, 4, 5, 2]


def test_a_candle_of_quiet_candles_is_flat_at_their_close() -> None:
    one, other = [0, 9, 9, 9, 9, 0, 0, 0, 1, 0, 0], [60, 9, 9, 9, 9, 0, 0, 0, 1, 0, 0]
    columns = zip(one, other, strict=True)
    small = Bars(*(np.array(pair, dtype=np.int64) for pair in columns))
    large = group_bars(small, np.array([0], dtype=np.int64))
    assert [int(column[0]) for column in large.get_columns()[:6]] == [0, 9, 9, 9, 9, 0]


def test_a_candle_that_moved_without_volume_counts_in_a_higher_timeframe() -> None:
    rows = [(0, 9, 9, 9, 9, 0), (60, 5, 8, 4, 6, 0), (120, 6, 7, 6, 7, 2), (180, 7, 7, 3, 4, 0)]
    small = Bars(*np.array([(*row, 0, 0, 1, 0, 0) for row in rows], dtype=np.int64).T)
    large = group_bars(small, np.array([0], dtype=np.int64))
    assert [int(column[0]) for column in large.get_columns()[:6]] == [0, 5, 8, 3, 4, 2]


@settings(max_examples=25, deadline=None)
@given(st.integers(-400, 900), st.integers(1, 500), st.integers(0, 300))
def test_any_range_around_an_outage_is_a_part_of_any_larger_range(
    offset: int, length: int, more: int
) -> None:
    one = make_outages(7)[20]
    start = compute_minute_start(one.halt + offset)
    for symbol in (BITCOIN, THIN):
        for timeframe in (TIMEFRAMES["1m"], TIMEFRAMES["15m"]):
            end = start + 60 * length
            alone = SimulatedMarket(7).get_bars(symbol, timeframe, start, end)
            within = SimulatedMarket(7).get_bars(
                symbol, timeframe, start - 60 * more, end + 60 * more
            )
            columns = zip(
                alone.get_columns(), within.select_between(start, end).get_columns(), strict=True
            )
            assert all(np.array_equal(a, b) for a, b in columns)


def test_streams_send_nothing_in_an_outage_and_close_the_open_candle_after_it(
    outage: Outage,
) -> None:
    market = SimulatedMarket(7)
    names = ("kline_1h", "ticker", "bookTicker", "trade")
    feeds = [make_feed(f"btcusdt@{name}", market) for name in names]
    for feed in feeds:
        list(feed.iterate_events(compute_minute_start(outage.start) * 1_000 - 1))
    for minute in range(outage.start, outage.end, 7):
        assert not [
            event
            for feed in feeds
            for event in feed.iterate_events(compute_minute_start(minute) * 1_000)
        ]
    events = [
        list(feed.iterate_events(compute_minute_start(outage.end) * 1_000 + 5)) for feed in feeds
    ]
    assert all(events)
    bars = [cast("dict[str, object]", event["k"]) for event in events[0]]
    assert [bar["x"] for bar in bars] == [True, False]


def test_offers_and_ticker_are_those_after_the_last_trade(outage: Outage) -> None:
    market = SimulatedMarket(7)
    before, within = (
        compute_minute_start(outage.halt) * 1_000 - 1,
        compute_minute_start(outage.end) * 1_000 - 1,
    )
    assert find_book(market, BITCOIN, before) == find_book(market, BITCOIN, within)
    one, other = (make_day_ticker(market, BITCOIN, now_ms) for now_ms in (before, within))
    assert one["lastPrice"] == other["lastPrice"]


def test_a_quiet_forming_minute_is_flat_and_names_no_trade() -> None:
    market = SimulatedMarket(7)
    bars = market.get_bars(THIN, TIMEFRAMES["1m"], MARCH, MARCH + 3_600)
    quiet = int(bars.timestamp[np.flatnonzero(bars.volume == 0)[0]])
    (event,) = make_feed("brdbtc@kline_1m", market).iterate_events(quiet * 1_000 + 500)
    bar = cast("dict[str, object]", event["k"])
    assert [bar[key] for key in ("v", "n", "f", "L")] == ["0.00000000", 0, -1, -1]
