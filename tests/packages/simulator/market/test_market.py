"""The invented market is a pure function of seed, symbol and time."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_digest import GOLDEN, compute_digest
from onetape.simulator.market.bars import (
    INTERVALS,
    TIMEFRAMES,
    Bars,
    concat_bars,
    group_bars,
    merge_two_bars,
)
from onetape.simulator.market.price_path import END_SECONDS
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol, UnknownSymbol, make_symbols
from repeatable import count_examples

MARCH = 1_709_251_200
DAY = 86_400


def are_equal(one: Bars, other: Bars) -> bool:
    return all(
        np.array_equal(a, b) for a, b in zip(one.get_columns(), other.get_columns(), strict=True)
    )


def test_the_market_of_seed_7_has_the_published_digest() -> None:
    assert compute_digest(SimulatedMarket(7)) == GOLDEN


def test_another_process_gets_the_same_market() -> None:
    code = (
        "from onetape.simulator.market.simulated_market import SimulatedMarket\n"
        "c = SimulatedMarket(11).get_candles('SOL/USDT', '1h', 1709251200, 1709337600)\n"
        "print(c.close.tobytes().hex(), c.volume.tobytes().hex())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    candles = SimulatedMarket(11).get_candles("SOL/USDT", "1h", MARCH, MARCH + DAY)
    assert out.stdout.split() == [candles.close.tobytes().hex(), candles.volume.tobytes().hex()]


def test_another_seed_is_another_market() -> None:
    one, other = (
        SimulatedMarket(seed).get_candles("BTC/USDT", "1d", MARCH, MARCH + 9 * DAY)
        for seed in (1, 2)
    )
    assert not np.any(one.close == other.close)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["1m", "5m", "1h", "4h", "1d"]),
    st.integers(0, 60 * DAY),
    st.integers(1, 3 * DAY),
    st.integers(0, 2 * DAY),
)
def test_any_range_is_a_part_of_any_larger_range(
    timeframe: str, offset: int, length: int, more: int
) -> None:
    symbol = SYMBOLS[1]
    start, end = MARCH + offset, MARCH + offset + length
    alone = SimulatedMarket(7).get_bars(symbol, TIMEFRAMES[timeframe], start, end)
    within = SimulatedMarket(7).get_bars(symbol, TIMEFRAMES[timeframe], start - more, end + more)
    assert are_equal(alone, within.select_between(start, end))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3_000 * DAY * 1_000))
def test_days_computed_together_equal_those_computed_singly(after_ms: int) -> None:
    now_ms = 1_500_000_000_000 + after_ms
    symbols = make_symbols(24)
    together, singly = SimulatedMarket(7, symbols), SimulatedMarket(7, symbols)
    together.prepare_last_day(symbols, now_ms)
    for symbol in symbols:
        one, other = (market.get_last_day(symbol, now_ms) for market in (together, singly))
        assert are_equal(one.bar, other.bar)
        assert one.previous == other.previous


def test_earlier_evaluations_change_nothing() -> None:
    symbol, hour = SYMBOLS[0], TIMEFRAMES["1h"]
    used, fresh = SimulatedMarket(7), SimulatedMarket(7)
    for start in (MARCH + 40 * DAY, MARCH - 3 * DAY, MARCH + DAY):
        used.get_bars(symbol, hour, start, start + 5 * DAY)
        used.get_forming_bar(symbol, hour, start * 1_000 + 1_234_567)
    range_ = (MARCH - 5 * DAY, MARCH + 50 * DAY)
    assert are_equal(used.get_bars(symbol, hour, *range_), fresh.get_bars(symbol, hour, *range_))


@pytest.mark.parametrize("symbol", SYMBOLS, ids=[symbol.id for symbol in SYMBOLS])
def test_the_trades_of_a_minute_give_exactly_its_candle(symbol: SpotSymbol) -> None:
    market = SimulatedMarket(7)
    start = symbol.listed + 30 * DAY
    bars = market.get_bars(symbol, TIMEFRAMES["1m"], start - start % 60, start + 40 * 60)
    rebuilt = concat_bars(
        [market.get_trades(symbol, t).make_bar(t) for t in bars.timestamp.tolist()]
    )
    traded = Bars(*(column[bars.volume > 0] for column in bars.get_columns()))
    assert are_equal(traded, rebuilt)


def test_trade_ids_are_consecutive_and_times_never_decrease() -> None:
    market, symbol = SimulatedMarket(7), SYMBOLS[0]
    minutes = [market.get_trades(symbol, MARCH + 60 * row) for row in range(30)]
    ids = np.concatenate([trades.id for trades in minutes])
    times = np.concatenate([trades.time_ms for trades in minutes])
    assert np.all(np.diff(ids) == 1)
    assert np.all(np.diff(times) >= 0)


@pytest.mark.parametrize("timeframe", INTERVALS)
def test_higher_timeframe_candles_are_built_from_minutes(timeframe: str) -> None:
    market, symbol = SimulatedMarket(7), SYMBOLS[0]
    length = TIMEFRAMES[timeframe]
    opened = length.floor(MARCH + 20 * DAY)
    end = length.next(opened)
    minutes = market.get_bars(symbol, TIMEFRAMES["1m"], opened, end)
    expected = group_bars(minutes, np.array([opened], dtype=np.int64))
    assert are_equal(market.get_bars(symbol, length, opened, end), expected)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(INTERVALS), st.integers(0, 30 * DAY * 1_000))
def test_the_forming_candle_is_all_trades_since_its_open(timeframe: str, after_ms: int) -> None:
    market, symbol = SimulatedMarket(7), SYMBOLS[0]
    length = TIMEFRAMES[timeframe]
    now_ms = MARCH * 1_000 + after_ms
    opened, minute = length.floor(now_ms // 1_000), now_ms // 60_000 * 60
    finished = market.get_bars(symbol, TIMEFRAMES["1m"], opened, minute)
    running = market.get_trades(symbol, minute).select_until(now_ms).make_bar(minute)
    expected = group_bars(concat_bars([finished, running]), np.array([opened], dtype=np.int64))
    assert are_equal(market.get_forming_bar(symbol, length, now_ms), expected)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SYMBOLS), st.integers(0, 30 * DAY), st.integers(1, 500))
def test_a_bar_merged_with_a_later_one_equals_the_bar_of_both(
    symbol: SpotSymbol, after: int, minutes: int
) -> None:
    start = (MARCH + after) // 60 * 60
    bars = SimulatedMarket(7).get_bars(symbol, TIMEFRAMES["1m"], start, start + (minutes + 1) * 60)
    traded = Bars(*(column[bars.volume > 0] for column in bars.get_columns()))
    if len(traded) < 2:
        return
    before, last = traded[:-1], traded[-1:]
    first = before.timestamp[:1]
    expected = group_bars(concat_bars([before, last]), first)
    assert are_equal(merge_two_bars(group_bars(before, first), last), expected)


def test_the_forming_candle_at_its_last_millisecond_is_the_closed_one() -> None:
    market, symbol, hour = SimulatedMarket(7), SYMBOLS[0], TIMEFRAMES["1h"]
    last = market.get_forming_bar(symbol, hour, (MARCH + 3_600) * 1_000 - 1)
    assert are_equal(last, market.get_bars(symbol, hour, MARCH, MARCH + 3_600))


def test_a_candle_opens_with_one_trade_at_its_open() -> None:
    market, symbol = SimulatedMarket(7), SYMBOLS[0]
    bar = market.get_forming_bar(symbol, TIMEFRAMES["1h"], MARCH * 1_000)
    assert bar.trades.tolist() == [1]
    assert bar.open == bar.high == bar.low == bar.close


@settings(max_examples=count_examples(40), deadline=None)
@given(st.sampled_from(SYMBOLS), st.integers(0, 300), st.integers(0, 2**31))
def test_every_candle_is_sound(symbol: SpotSymbol, day: int, seed: int) -> None:
    start = symbol.listed + day * DAY
    bars = SimulatedMarket(seed).get_bars(symbol, TIMEFRAMES["1m"], start, start + DAY // 4)
    assert np.all(bars.low >= 1)
    assert np.all((bars.low <= bars.open) & (bars.low <= bars.close))
    assert np.all((bars.high >= bars.open) & (bars.high >= bars.close))
    assert np.all(bars.volume >= bars.trades)
    assert np.all((bars.quote >= bars.low * bars.volume) & (bars.quote <= bars.high * bars.volume))
    assert np.array_equal(bars.volume == 0, bars.trades == 0)
    assert np.all((bars.volume == 0) | ((bars.buy_volume > 0) & (bars.buy_volume < bars.volume)))


def test_nothing_was_traded_before_the_listing_or_after_the_delisting() -> None:
    closed = SYMBOLS[-1]
    assert closed.delisted is not None
    bars = SimulatedMarket(7).get_bars(
        closed, TIMEFRAMES["1m"], closed.listed - DAY, closed.delisted + DAY
    )
    assert int(bars.timestamp[0]) == closed.listed
    assert int(bars.timestamp[-1]) == closed.delisted - 60


def test_the_first_day_of_bitcoin_opens_at_midnight_though_trading_began_at_four() -> None:
    first = SimulatedMarket(7).get_candles("BTC/USDT", "1d", 0, 1_503_014_400)
    hours = SimulatedMarket(7).get_candles("BTC/USDT", "1h", 0, 1_503_014_400)
    assert first.timestamp.tolist() == [1_502_928_000]
    assert (int(hours.timestamp[0]), float(hours.open[0])) == (1_502_942_400, float(first.open[0]))


def test_the_market_ends_in_2041() -> None:
    assert len(
        SimulatedMarket(7).get_bars(
            SYMBOLS[0], TIMEFRAMES["1h"], END_SECONDS - 7_200, 2 * END_SECONDS
        )
    )
    assert not len(
        SimulatedMarket(7).get_bars(SYMBOLS[0], TIMEFRAMES["1h"], END_SECONDS, 2 * END_SECONDS)
    )


def test_hourly_returns_are_distributed_like_bitcoins() -> None:
    closes = SimulatedMarket(7).get_candles("BTC/USDT", "1h", MARCH - 730 * DAY, MARCH).close
    moves = np.diff(np.log(closes))
    yearly = float(moves.std()) * 8_766**0.5
    apart = moves - float(moves.mean())
    tails = float((apart**4).mean()) / float((apart**2).mean()) ** 2
    assert 0.3 < yearly < 1.0
    assert tails > 4.5, "a normal market has 3"
    sizes = np.abs(moves)
    calm = float(np.corrcoef(sizes[1:], sizes[:-1])[0, 1])
    assert calm > 0.08, "wild hours should follow wild hours"


def test_some_hours_have_a_price_jump_and_some_a_long_wick() -> None:
    hours = SimulatedMarket(7).get_candles("BTC/USDT", "1h", MARCH - 2_000 * DAY, MARCH)
    moves = np.abs(np.diff(np.log(hours.close)))
    body = np.maximum(hours.open, hours.close) - np.minimum(hours.open, hours.close)
    assert 2 <= np.count_nonzero(moves > 0.05) <= 40
    assert 2 <= np.count_nonzero(hours.high - hours.low - body > 0.06 * hours.close) <= 40


def test_volatility_is_clustered_by_weeks_and_some_days_have_a_trend() -> None:
    moves = np.diff(
        np.log(SimulatedMarket(7).get_candles("BTC/USDT", "1h", MARCH - 2_000 * DAY, MARCH).close)
    )
    stretches = moves[: len(moves) // 68 * 68].reshape(-1, 68)
    sizes = np.sqrt((stretches**2).mean(axis=1))
    assert np.quantile(sizes, 0.9) > 2.5 * np.quantile(sizes, 0.1), "stretches are calm or wild"
    # A walk without memory goes farther than this in 46 of 1,000 stretches.
    reach = np.abs(stretches.sum(axis=1)) / (sizes * 68**0.5)
    assert np.mean(reach > 2.0) > 0.07, "some stretches are trends"


def test_the_prices_of_ether_in_bitcoin_and_usdt_are_consistent() -> None:
    market = SimulatedMarket(7)
    ether, bitcoin, cross = (
        market.get_candles(name, "1h", MARCH, MARCH + 30 * DAY).close
        for name in ("ETH/USDT", "BTC/USDT", "ETH/BTC")
    )
    assert np.max(np.abs(ether / bitcoin / cross - 1)) < 0.001


def test_the_cache_of_days_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onetape.simulator.market.simulated_market.MAX_CACHED_MINUTE_DAYS", 3)
    market = SimulatedMarket(7)
    bars = market.get_bars(SYMBOLS[0], TIMEFRAMES["1m"], MARCH, MARCH + 9 * DAY)
    assert len(bars) == 9 * 1_440
    assert len(market._minute_days) == 3  # pyright: ignore[reportPrivateUsage] - what is kept


def test_an_unknown_symbol_is_named() -> None:
    with pytest.raises(UnknownSymbol, match="NOPE"):
        SimulatedMarket(7).get_candles("NOPE", "1h", 0, 1)


def test_the_long_list_has_unique_names_and_markets_with_changing_prices() -> None:
    symbols = make_symbols(3_000)
    assert len({symbol.id for symbol in symbols}) == 3_000
    assert {symbol.get_status(MARCH + 999 * DAY) for symbol in symbols} == {"TRADING", "BREAK"}
    market = SimulatedMarket(7, symbols)
    for symbol in symbols[9:3_000:311]:
        start = symbol.listed + 9 * DAY
        bars = market.get_bars(symbol, TIMEFRAMES["1h"], start, start + 2 * DAY)
        assert len(bars) >= 37
        assert np.any(bars.high > bars.low)
