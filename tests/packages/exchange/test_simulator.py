"""The real CCXT class on the simulator: markets, clock and pages equal the simulator's own."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from onetape.core.candles import Candle
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.timeframes import Timeframe
from onetape.exchange.catalogue import check_exchange
from onetape.exchange.clients import Endpoint
from onetape.exchange.pages import Page, compute_last_closed_open, iterate_closed_pages
from onetape.exchange.rest import MarketInfo as RestMarket
from onetape.exchange.rest import RestExchange
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket

CallExchange = Callable[..., Any]
HOUR = 3_600
NOW = 1_709_252_400
#: Where the running hour opened.
FORMING = NOW - 20 * 60


@pytest.fixture(scope="module")
def endpoint(simulator_url: str) -> Endpoint:
    return Endpoint("simulator", simulator_url)


def make_simulated_candles(
    timeframe: str, start: int, end: int, symbol: str = "BTC/USDT"
) -> list[Candle]:
    candles = SimulatedMarket(DEFAULT_SEED).get_candles(symbol, timeframe, start, end)
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    rows = zip(candles.timestamp.tolist(), *(column.tolist() for column in columns), strict=True)
    return [Candle(*row) for row in rows]


def fetch_pages(
    ask: CallExchange, endpoint: Endpoint, timeframe: str, start: int, end: int
) -> list[Page]:
    async def walk(exchange: RestExchange) -> list[Page]:
        walker = iterate_closed_pages(
            exchange, "BTC/USDT", Timeframe.parse(timeframe), start=start, end=end
        )
        return [page async for page in walker]

    return ask(endpoint, walk)


def fetch_market(ask: CallExchange, endpoint: Endpoint, symbol: str) -> RestMarket:
    async def market(exchange: RestExchange) -> RestMarket:
        return await exchange.fetch_market(symbol)

    return ask(endpoint, market)


def index_rows(walked: list[Page]) -> dict[int, Candle]:
    return {row.timestamp: row for page in walked for row in page.rows}


@pytest.mark.parametrize(
    ("timeframe", "start", "most_pages"),
    [("1h", FORMING - 2_500 * HOUR, 3), ("1d", FORMING - 40 * 86_400, 1), ("1m", NOW - 7_300, 1)],
)
def test_the_pages_equal_the_simulators_candles(
    call_exchange: CallExchange, endpoint: Endpoint, timeframe: str, start: int, most_pages: int
) -> None:
    walked = fetch_pages(call_exchange, endpoint, timeframe, start, NOW + 10 * 86_400)
    forming = Timeframe.parse(timeframe).floor(NOW)
    assert list(index_rows(walked).values()) == make_simulated_candles(timeframe, start, forming)
    assert len(walked) <= most_pages
    assert walked[-1].covered_until == forming


def test_the_forming_candle_is_served_but_never_among_the_closed_ones(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    async def newest(exchange: RestExchange) -> list[Candle]:
        since_ms = (FORMING - HOUR) * 1_000
        return (
            await exchange.fetch_candles("BTC/USDT", "1h", since_ms=since_ms, limit=5)
        ).make_candles()

    assert [row.timestamp for row in call_exchange(endpoint, newest)] == [FORMING - HOUR, FORMING]
    assert list(index_rows(fetch_pages(call_exchange, endpoint, "1h", FORMING - HOUR, NOW))) == [
        FORMING - HOUR
    ]
    assert fetch_pages(call_exchange, endpoint, "1h", FORMING, NOW) == []


def test_the_end_of_a_range_is_exclusive(call_exchange: CallExchange, endpoint: Endpoint) -> None:
    walked = fetch_pages(call_exchange, endpoint, "1h", FORMING - 5 * HOUR, FORMING - 2 * HOUR)
    assert list(index_rows(walked)) == [FORMING - hours * HOUR for hours in (5, 4, 3)]


def test_time_before_the_listing_is_passed_without_an_error(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    listed = SimulatedMarket(DEFAULT_SEED).get_symbol("BTC/USDT").listed
    first = Timeframe.parse("1d").floor(listed)
    walked = fetch_pages(call_exchange, endpoint, "1d", first - 1_500 * 86_400, first + 3 * 86_400)
    assert list(index_rows(walked)) == [first + day * 86_400 for day in range(3)]


def test_a_range_without_candles_is_requested_and_empty(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    listed = SimulatedMarket(DEFAULT_SEED).get_symbol("BTC/USDT").listed
    start = Timeframe.parse("1h").floor(listed) - 3_000 * HOUR
    walked = fetch_pages(call_exchange, endpoint, "1h", start, start + 10 * HOUR)
    assert [page.rows for page in walked] == [[]]
    assert walked[-1].covered_until == start + 10 * HOUR


def test_a_closed_candle_is_final_only_after_the_grace_period() -> None:
    hour = Timeframe.parse("1h")
    assert compute_last_closed_open(hour, FORMING * 1_000, 0) == FORMING - HOUR
    assert compute_last_closed_open(hour, FORMING * 1_000 + 1_999, 2_000) == FORMING - 2 * HOUR
    assert compute_last_closed_open(hour, FORMING * 1_000 + 2_000, 2_000) == FORMING - HOUR


def test_the_steps_of_a_market_are_exact_decimals(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    market = fetch_market(call_exchange, endpoint, "BTC/USDT")
    symbol = SimulatedMarket(DEFAULT_SEED).get_symbol("BTC/USDT")
    assert (market.base, market.quote, market.active) == ("BTC", "USDT", True)
    assert market.trading_rules.price_step == Decimal(1).scaleb(-symbol.price_digits)
    assert market.trading_rules.amount_step == Decimal(1).scaleb(-symbol.amount_digits)
    assert market.trading_rules.min_notional > 0


def test_an_unknown_market_is_refused_with_a_near_name(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    with pytest.raises(UsageError, match=r"no spot market 'BTC/USDR'; did you mean 'BTC/USDT'\?"):
        fetch_market(call_exchange, endpoint, "BTC/USDR")


def test_an_unknown_exchange_is_refused_with_a_near_name() -> None:
    with pytest.raises(UsageError, match=r"'binanse' is not known to CCXT; did you mean 'binance"):
        check_exchange("binanse")


def test_a_timeframe_that_is_not_served_is_refused_with_those_that_are(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    async def check(exchange: RestExchange) -> None:
        exchange.check_timeframe("1h")
        exchange.check_timeframe("7h")

    with pytest.raises(UsageError, match=r"serves no '7h' candles.*it serves 1m, 3m"):
        call_exchange(endpoint, check)


def test_market_time_is_the_simulators(call_exchange: CallExchange, endpoint: Endpoint) -> None:
    async def times(exchange: RestExchange) -> tuple[int, int]:
        return exchange.now_ms(), await exchange.compare_clocks()

    assert call_exchange(endpoint, times) == (NOW * 1_000, 0)


@pytest.mark.parametrize(
    ("exchange", "url"), [("binance", "http://127.0.0.1:1"), ("simulator", None)]
)
def test_only_the_simulator_has_an_address_and_it_must_have_one(
    exchange: str, url: str | None
) -> None:
    with pytest.raises(ConfigurationError, match="and only for it"):
        Endpoint(exchange, url)
