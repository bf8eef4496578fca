"""The invented market as a feed of trades and offers."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol
from onetape.simulator.market.tickers import find_book, make_depth
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.market_trade_feed import MarketTradeFeed
from onetape.simulator.trading.money import round_down_to_unit, scale_to_decimal
from onetape.simulator.trading.orders import RequestedOrder
from onetape.simulator.trading.trade_feed import MarketTrade, Side
from repeatable import count_examples

MARCH_MS = 1_709_251_200_000
MARKET = SimulatedMarket(3)
BTC = MARKET.get_symbol("BTCUSDT")
THIN = next(symbol for symbol in SYMBOLS if symbol.untraded_share)
FEED = MarketTradeFeed(MARKET, held=False)


def find_hit_by_loop(
    symbol_id: str, after: tuple[int, int], until_ms: int, low: int, high: int
) -> MarketTrade | None:
    """Return the result that `next_hit` must have, by a loop over every trade."""
    symbol = MARKET.get_symbol(symbol_id)
    for minute in range(after[0] // 60_000 * 60, until_ms // 1_000 + 1, 60):
        trades = MARKET.get_trades(symbol, minute)
        for row in range(len(trades)):
            when, number = int(trades.time_ms[row]), int(trades.id[row])
            price = int(trades.price[row])
            if after < (when, number) and when <= until_ms and (price <= low or price >= high):
                amount, buys = int(trades.amount[row]), bool(trades.buys[row])
                return MarketTrade(number, when, price, amount, buys)
    return None


@settings(max_examples=count_examples(60), deadline=None)
@given(
    st.sampled_from([BTC.id, THIN.id]),
    st.integers(0, 200_000),
    st.integers(0, 900_000),
    st.integers(0, 12),
)
def test_the_next_hit_is_the_first_trade_that_reaches_the_price(
    symbol_id: str, start_ms: int, length_ms: int, away: int
) -> None:
    symbol = MARKET.get_symbol(symbol_id)
    after = (MARCH_MS + start_ms, 1 << 62)
    until_ms = after[0] + length_ms
    last = FEED.find_last_trade(symbol, after[0])
    assert last is not None
    unit = max(last.price // 10_000, 1)
    low, high = last.price - away * unit, last.price + away * unit
    assert FEED.find_next_hit(symbol, after, until_ms, low, high) == find_hit_by_loop(
        symbol_id, after, until_ms, low, high
    )


def test_a_hit_months_away_is_found_quickly() -> None:
    after = (MARCH_MS, 1 << 62)
    until_ms = MARCH_MS + 300 * 86_400_000
    last = FEED.find_last_trade(BTC, MARCH_MS)
    assert last is not None
    hit = FEED.find_next_hit(BTC, after, until_ms, last.price * 9 // 10, None)
    assert hit is not None
    assert hit.price <= last.price * 9 // 10


def test_the_first_offer_is_that_of_the_book_ticker() -> None:
    found, last = find_book(MARKET, BTC, MARCH_MS + 1), FEED.find_last_trade(BTC, MARCH_MS + 1)
    assert found is not None
    assert last is not None
    assert next(FEED.iterate_offers(BTC, last, "BUY")) == (found.ask, found.ask_amount)
    assert next(FEED.iterate_offers(BTC, last, "SELL")) == (found.bid, found.bid_amount)


@settings(max_examples=count_examples(60), deadline=None)
@given(
    # Within the markets' filters of value and quantity.
    st.tuples(st.just(BTC), st.integers(100, 9_000_000))
    | st.tuples(st.just(THIN), st.integers(50, 50_000)),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(0, 5_000_000),
)
def test_a_market_order_takes_exactly_the_book_that_depth_shows(
    what: tuple[SpotSymbol, int], side: Side, after_ms: int
) -> None:
    (symbol, steps), now_ms = what, MARCH_MS + after_ms
    rich = {asset: Decimal(10**12) for asset in (symbol.base, symbol.quote)}
    exchange = Exchange(FEED, MARKET.symbols, balance=rich, now_ms=now_ms)
    shown: Any = make_depth(MARKET, symbol, now_ms, 5_000)["asks" if side == "BUY" else "bids"]
    order = exchange.place(RequestedOrder(symbol, side, "MARKET", quantity=steps), now_ms)
    left, value = scale_to_decimal(steps, symbol.amount_digits), Decimal(0)
    for price, amount in ((Decimal(price), Decimal(amount)) for price, amount in shown):
        taken = min(left, amount)
        value += round_down_to_unit(price * taken)
        left -= taken
    assert order.value == value
    assert scale_to_decimal(order.remaining, symbol.amount_digits) == left


def test_a_stepped_market_offers_everything_at_the_last_price() -> None:
    feed = MarketTradeFeed(MARKET, held=True)
    last = feed.find_last_trade(BTC, MARCH_MS)
    assert last is not None
    ((price, amount),) = feed.iterate_offers(BTC, last, "BUY")
    assert price == last.price == int(MARKET.get_trades(BTC, MARCH_MS // 1_000).price[0])
    assert amount > 10**15


def test_a_market_before_its_listing_has_no_last_trade() -> None:
    assert FEED.find_last_trade(BTC, BTC.listed * 1_000 - 1) is None
    assert not FEED.is_trading(BTC, BTC.listed * 1_000 - 1)
