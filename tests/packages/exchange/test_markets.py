"""Markets, tickers, listings and the catalogue of exchanges, as read through CCXT."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from onetape.core.errors import UsageError
from onetape.core.quirks import QUIRKS
from onetape.core.timeframes import Timeframe
from onetape.exchange.catalogue import collect_exchange_facts, get_exchange_facts
from onetape.exchange.clients import Endpoint
from onetape.exchange.listing import fetch_listing_time
from onetape.exchange.markets import Ticker, parse_market, parse_ticker
from onetape.exchange.rest import RestExchange
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket

CallExchange = Callable[..., Any]


@pytest.fixture(scope="module")
def endpoint(simulator_url: str) -> Endpoint:
    return Endpoint("simulator", simulator_url)


def test_every_spot_market_has_steps_minimum_and_fees(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    markets = call_exchange(endpoint, RestExchange.fetch_markets)
    assert [market.symbol for market in markets] == sorted(market.symbol for market in markets)
    (bitcoin,) = [market for market in markets if market.symbol == "BTC/USDT"]
    assert bitcoin.active
    assert bitcoin.taker == Decimal("0.001")
    assert bitcoin.trading_rules.price_step is not None
    assert bitcoin.trading_rules.min_notional > 0


def test_tickers_have_volume_bid_and_ask(call_exchange: CallExchange, endpoint: Endpoint) -> None:
    async def work(exchange: RestExchange) -> dict[str, Ticker]:
        return await exchange.fetch_tickers(["BTC/USDT", "ETH/USDT", "NO/SUCH"])

    tickers = call_exchange(endpoint, work)
    assert list(tickers) == ["BTC/USDT", "ETH/USDT"]
    for ticker in tickers.values():
        assert ticker.quote_volume > 0
        assert 0 < ticker.bid <= ticker.ask
        assert 0 <= ticker.spread < 0.01


def test_all_tickers_are_those_of_all_traded_markets(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    async def work(exchange: RestExchange) -> tuple[set[str], set[str]]:
        traded = {market.symbol for market in await exchange.fetch_markets() if market.active}
        return set(await exchange.fetch_tickers()), traded

    found, traded = call_exchange(endpoint, work)
    assert found == traded


def test_the_listing_is_the_open_of_the_first_daily_candle(
    call_exchange: CallExchange, endpoint: Endpoint
) -> None:
    listed = SimulatedMarket(DEFAULT_SEED).get_symbol("BTC/USDT").listed

    async def work(exchange: RestExchange) -> int | None:
        return await fetch_listing_time(exchange, "BTC/USDT")

    found = call_exchange(endpoint, work)
    assert found == Timeframe.parse("1d").floor(listed)


def test_a_market_has_its_listing_date_if_the_exchange_states_one() -> None:
    info = {"created": 1_500_000_000_000, "maker": 0.0001, "taker": 0.001, "active": False}
    market = parse_market("BTC/USDT", info, ccxt.TICK_SIZE)
    assert (market.listed, market.maker, market.active) == (1_500_000_000, Decimal("0.0001"), False)


@pytest.mark.parametrize(
    ("info", "quote_volume", "spread"),
    [
        ({"quoteVolume": "12.5", "bid": 99, "ask": 101}, 12.5, 0.02),
        ({"baseVolume": 2, "last": 10}, 20.0, None),
        ({"baseVolume": 2, "vwap": 11, "last": 10}, 22.0, None),
        ({"bid": 101, "ask": 99}, None, None),
        ({}, None, None),
    ],
)
def test_a_ticker_has_the_values_of_the_exchange(
    info: dict[str, Any], quote_volume: float | None, spread: float | None
) -> None:
    ticker = parse_ticker("BTC/USDT", info)
    assert (ticker.quote_volume, ticker.spread) == (quote_volume, spread)


def test_the_catalogue_names_every_exchange_and_needs_no_network() -> None:
    catalogue = {facts.exchange: facts for facts in collect_exchange_facts()}
    assert set(catalogue) == {"simulator", *ccxt.exchanges}
    binance, kraken = catalogue["binance"], catalogue["kraken"]
    assert (binance.name, binance.page_limit, binance.is_tried) == ("Binance", 1_000, True)
    assert {"1s", "1m", "1h", "1d", "1w", "1M"} <= set(binance.timeframes)
    assert (kraken.page_limit, kraken.newest_only) == (720, True)
    assert not catalogue["bitflyer"].serves_candles
    untried = catalogue["upbit"]
    assert (untried.page_limit, untried.is_tried, untried.serves_candles) == (200, False, True)
    assert "1s" not in get_exchange_facts("simulator").timeframes


@pytest.mark.parametrize("exchange", sorted(set(QUIRKS) - {"simulator"}))
def test_our_page_limit_is_not_above_what_ccxt_states(exchange: str) -> None:
    client: Any = getattr(ccxt, exchange)()
    stated = client.features["spot"]["fetchOHLCV"]["limit"]
    assert QUIRKS[exchange].page_limit <= stated
    assert QUIRKS[exchange].source


@pytest.mark.parametrize(
    ("exchange", "words"), [("kucoin", "weeks begin on Thursday"), ("bitstamp", "3 days")]
)
def test_a_timeframe_with_another_anchor_is_refused_with_the_reason(
    run: Callable[[Any], Any], exchange: str, words: str
) -> None:
    async def check() -> None:
        async with RestExchange(Endpoint(exchange)) as client:
            assert client.has_timeframe("1d")
            client.check_timeframe("1w")

    with pytest.raises(UsageError, match=words):
        run(check())
