"""Tickers: the best bid and ask, and the statistics of the last 24 hours."""

from itertools import islice
from typing import Final

from onetape.simulator.market.bars import TIMEFRAMES, concat_bars
from onetape.simulator.market.order_book import BOTH_SIDES, OrderBook, make_book_after_trade
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server.wire import JsonObject, NumberFormat

_DAY_MS: Final = 86_400_000
#: Minutes of the mean price (`avgPriceMins` of the filters).
AVERAGE_MINUTES: Final = 5
#: REST name and stream name of each field of a 24-hour ticker.
_STREAM_KEYS: Final = {
    "symbol": "s", "priceChange": "p", "priceChangePercent": "P", "weightedAvgPrice": "w",
    "prevClosePrice": "x", "lastPrice": "c", "lastQty": "Q", "bidPrice": "b", "bidQty": "B",
    "askPrice": "a", "askQty": "A", "openPrice": "o", "highPrice": "h", "lowPrice": "l",
    "volume": "v", "quoteVolume": "q", "openTime": "O", "closeTime": "C", "firstId": "F",
    "lastId": "L", "count": "n",
}  # fmt: skip
_MINI_KEYS: Final = ("s", "c", "o", "h", "l", "v", "q")


def find_book(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> OrderBook | None:
    """Return the book at a moment, which is the book after the last trade.

    None while the market is not open.
    """
    if not market.is_open(symbol, now_ms // 1_000):
        return None
    trades = market.get_last_trades(symbol, now_ms)
    if not len(trades):
        return None
    last = (int(trades.price[-1]), int(trades.amount[-1]), bool(trades.buys[-1]))
    return make_book_after_trade(market.seed, symbol, int(trades.id[-1]), last)


def make_book_ticker(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
    """Return an entry of `GET /api/v3/ticker/bookTicker`."""
    return {"symbol": symbol.id, **_make_offer_fields(symbol, find_book(market, symbol, now_ms))}


def make_depth(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int, limit: int) -> JsonObject:
    """Return the reply of `GET /api/v3/depth`: the offers that a taker would find.

    Args:
        market: Simulated market.
        symbol: Symbol of the market.
        now_ms: Market time, epoch milliseconds.
        limit: Levels of each side.
    """
    found = find_book(market, symbol, now_ms)
    if found is None:
        return {"lastUpdateId": 0, "bids": [], "asks": []}
    numbers = NumberFormat(symbol)
    bids, asks = (
        [
            [numbers.format_price(price), numbers.format_amount(amount)]
            for price, amount in islice(found.iterate_levels(side), limit)
        ]
        for side in BOTH_SIDES
    )
    return {"lastUpdateId": found.update_id, "bids": bids, "asks": asks}


def make_average_price(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
    """Return the reply of `GET /api/v3/avgPrice`: the last five minutes weighted by volume."""
    minute = now_ms // 60_000 * 60
    start = minute - (AVERAGE_MINUTES - 1) * 60
    whole = market.get_bars(symbol, TIMEFRAMES["1m"], start, minute)
    bars = concat_bars((whole, market.get_running_trades(symbol, now_ms).make_bar(minute)))
    volume, last = int(bars.volume.sum()), market.get_last_trades(symbol, now_ms)
    if volume:
        price = int(bars.quote.sum()) * 10**8 // volume
    else:
        price = int(last.price[-1]) * 10**8 if len(last) else 0
    return {
        "mins": AVERAGE_MINUTES,
        "price": NumberFormat(symbol).format_mean_price(price),
        "closeTime": int(last.time_ms[-1]) if len(last) else 0,
    }


def make_price_ticker(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
    """Return an entry of `GET /api/v3/ticker/price`."""
    found = find_book(market, symbol, now_ms)
    return {
        "symbol": symbol.id,
        "price": NumberFormat(symbol).format_price(found.last if found else 0),
    }


def make_book_event(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject | None:
    """Return an event of the stream `bookTicker`; None while the market does not trade."""
    found = find_book(market, symbol, now_ms)
    if found is None:
        return None
    offers = _make_offer_fields(symbol, found)
    return {
        "u": found.update_id,
        "s": symbol.id,
        "b": offers["bidPrice"],
        "B": offers["bidQty"],
        "a": offers["askPrice"],
        "A": offers["askQty"],
    }


def make_day_event(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
    """Return an event of the stream `ticker`."""
    ticker = make_day_ticker(market, symbol, now_ms)
    renamed = {_STREAM_KEYS[name]: value for name, value in ticker.items()}
    return {"e": "24hrTicker", "E": now_ms, **renamed}


def make_mini_event(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
    """Return an event of the stream `miniTicker`: prices and volumes only."""
    event = make_day_event(market, symbol, now_ms)
    return {"e": "24hrMiniTicker", "E": now_ms} | {name: event[name] for name in _MINI_KEYS}


def make_day_ticker(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
    """Return an entry of `GET /api/v3/ticker/24hr`.

    The window is the last 1,440 minutes; the last of them is still running.
    """
    numbers = NumberFormat(symbol)
    found = market.get_last_day(symbol, now_ms)
    day = found.bar
    offers = find_book(market, symbol, now_ms)
    times = {"openTime": now_ms - _DAY_MS, "closeTime": now_ms}
    if not day.volume.any():
        return _make_empty_day_ticker(symbol) | times
    opened, last = int(day.open[0]), int(day.close[0])
    volume, quote = int(day.volume[0]), int(day.quote[0])
    previous = opened if found.previous is None else found.previous
    # In ticks with 8 more digits than the tick has, then cut to the digits of a price.
    average = quote * 10**8 // volume
    return {
        "symbol": symbol.id,
        "priceChange": numbers.format_price(last - opened),
        "priceChangePercent": f"{(last - opened) / opened * 100:.3f}",
        "weightedAvgPrice": numbers.format_mean_price(average),
        "prevClosePrice": numbers.format_price(previous),
        "lastPrice": numbers.format_price(last),
        "lastQty": numbers.format_amount(offers.last_amount if offers else 0),
        **_make_offer_fields(symbol, offers),
        "openPrice": numbers.format_price(opened),
        "highPrice": numbers.format_price(int(day.high[0])),
        "lowPrice": numbers.format_price(int(day.low[0])),
        "volume": numbers.format_amount(volume),
        "quoteVolume": numbers.format_value(quote),
        **times,
        "firstId": int(day.first_id[0]),
        "lastId": int(day.first_id[0] + day.trades[0]) - 1,
        "count": int(day.trades[0]),
    }


def _make_offer_fields(symbol: SpotSymbol, found: OrderBook | None) -> JsonObject:
    numbers = NumberFormat(symbol)
    return {
        "bidPrice": numbers.format_price(found.bid if found else 0),
        "bidQty": numbers.format_amount(found.bid_amount if found else 0),
        "askPrice": numbers.format_price(found.ask if found else 0),
        "askQty": numbers.format_amount(found.ask_amount if found else 0),
    }


def _make_empty_day_ticker(symbol: SpotSymbol) -> JsonObject:
    """Return Binance's ticker of a market without a trade in 24 hours: zeros, and ids of -1."""
    zero = "0.00000000"
    ticker: JsonObject = {name: zero for name in _STREAM_KEYS if name not in ("symbol", "count")}
    return {"symbol": symbol.id} | ticker | {
        "priceChangePercent": "0.000", "firstId": -1, "lastId": -1, "count": 0,
    }  # fmt: skip
