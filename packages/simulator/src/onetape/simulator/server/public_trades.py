"""Public trades as REST shows them: the last ones, those from an id on, or those of a time."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.market.trades import Trades
from onetape.simulator.server.wire import JsonObject, NumberFormat

_DAY: Final = 86_400
_MINUTE: Final = TIMEFRAMES["1m"]
#: Range of the first search for the last trades, seconds; each next one is eight times longer.
_LOOK_BACK: Final = 3_600


def make_last_rows(
    market: SimulatedMarket, symbol: SpotSymbol, now_ms: int, limit: int
) -> list[JsonObject]:
    """Return the last trades as `GET /api/v3/trades` does, oldest first."""
    return [
        row
        for part in _collect_last_trades(market, symbol, now_ms, limit)
        for row in _iterate_rows(symbol, part)
    ]


def make_rows_from_id(
    market: SimulatedMarket, symbol: SpotSymbol, from_id: int, now_ms: int, limit: int
) -> list[JsonObject]:
    """Return the trades from an id on as `GET /api/v3/historicalTrades` does."""
    parts = _take_first(_iterate_from_id(market, symbol, from_id, now_ms), limit)
    return [row for part in parts for row in _iterate_rows(symbol, part)]


def make_aggregate_rows(
    market: SimulatedMarket,
    symbol: SpotSymbol,
    now_ms: int,
    limit: int,
    *,
    from_id: int | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> list[JsonObject]:
    """Return trades as `GET /api/v3/aggTrades` does; here each aggregate is one trade.

    Args:
        market: Simulated market.
        symbol: Symbol of the market.
        now_ms: Market time, epoch milliseconds.
        limit: Maximum number of trades: the first ones, or the last ones without a start.
        from_id: Trades from this id on.
        start_ms: Trades from this moment on, epoch milliseconds.
        end_ms: No trades after this moment.
    """
    until = now_ms if end_ms is None else min(now_ms, end_ms)
    if from_id is not None:
        parts = _take_first(_iterate_from_id(market, symbol, from_id, now_ms), limit)
    elif start_ms is not None:
        start_ms = max(start_ms, symbol.listed * 1_000)
        parts = _take_first(_iterate_from_time(market, symbol, start_ms, until), limit)
    else:
        parts = _collect_last_trades(market, symbol, until, limit)
    return [row for part in parts for row in _iterate_aggregates(symbol, part)]


def make_aggregate(
    numbers: NumberFormat, number: int, time_ms: int, cells: tuple[int, int, bool]
) -> JsonObject:
    """Return a trade as an aggregate; `cells` are price, amount and whether the taker bought."""
    price, amount, buys = cells
    return {
        "a": number,
        "p": numbers.format_price(price),
        "q": numbers.format_amount(amount),
        "f": number,
        "l": number,
        "T": time_ms,
        "m": not buys,
        "M": True,
    }


def _collect_last_trades(
    market: SimulatedMarket, symbol: SpotSymbol, now_ms: int, limit: int
) -> list[Trades]:
    minute = now_ms // 60_000 * 60
    if symbol.delisted is not None:
        minute = min(minute, symbol.delisted - 60)
    parts: list[Trades] = []
    missing, end, length = limit, minute + 60, _LOOK_BACK
    while missing > 0 and end > symbol.listed:
        start = max(end - length, symbol.listed)
        bars = market.get_bars(symbol, _MINUTE, start, end)
        for opened in bars.timestamp[bars.volume > 0].tolist()[::-1]:
            trades = market.get_trades(symbol, opened).select_until(now_ms)
            parts.append(trades[max(len(trades) - missing, 0) :])
            missing -= len(parts[-1])
            if missing <= 0:
                break
        end, length = start, length * 8
    return parts[::-1]


def _iterate_from_time(
    market: SimulatedMarket, symbol: SpotSymbol, start_ms: int, until_ms: int
) -> Iterator[Trades]:
    """Yield the trades of `[start_ms, until_ms]` minute by minute, oldest first."""
    start = start_ms // 60_000 * 60
    while start * 1_000 <= until_ms:
        end = min(start + _DAY, until_ms // 60_000 * 60 + 60)
        bars = market.get_bars(symbol, _MINUTE, start, end)
        if not len(bars) and not market.is_open(symbol, start):
            return
        for opened in bars.timestamp[bars.volume > 0].tolist():
            yield market.get_trades(symbol, opened).select_within(start_ms, until_ms + 1)
        start = end


def _iterate_from_id(
    market: SimulatedMarket, symbol: SpotSymbol, from_id: int, now_ms: int
) -> Iterator[Trades]:
    """Yield the trades from an id on: its day is found by halving the time since the listing."""
    low, high = symbol.listed, max(now_ms // 1_000, symbol.listed + 1)
    while high - low > _DAY:
        middle = (low + high) // 2
        bars = market.get_bars(symbol, TIMEFRAMES["1h"], middle, middle + 3 * _DAY)
        if len(bars) and int(bars.first_id[0]) <= from_id:
            low = middle
        else:
            high = middle
    bars = market.get_bars(symbol, _MINUTE, low, low + 4 * _DAY)
    if not len(bars):
        return
    # The last minute whose first trade is not later than the requested one.
    row = max(int(np.searchsorted(bars.first_id, from_id, side="right")) - 1, 0)
    for part in _iterate_from_time(market, symbol, int(bars.timestamp[row]) * 1_000, now_ms):
        yield part[int(np.searchsorted(part.id, from_id)) :]


def _take_first(parts: Iterator[Trades], limit: int) -> list[Trades]:
    found: list[Trades] = []
    for part in parts:
        found.append(part[:limit])
        limit -= len(found[-1])
        if limit <= 0:
            break
    return found


def _iterate_rows(symbol: SpotSymbol, trades: Trades) -> Iterator[JsonObject]:
    numbers = NumberFormat(symbol)
    for number, time_ms, price, amount, buys in trades.iterate_rows():
        yield {
            "id": number,
            "price": numbers.format_price(price),
            "qty": numbers.format_amount(amount),
            "quoteQty": numbers.format_value(price * amount),
            "time": time_ms,
            "isBuyerMaker": not buys,
            "isBestMatch": True,
        }


def _iterate_aggregates(symbol: SpotSymbol, trades: Trades) -> Iterator[JsonObject]:
    numbers = NumberFormat(symbol)
    for number, time_ms, price, amount, buys in trades.iterate_rows():
        yield make_aggregate(numbers, number, time_ms, (price, amount, buys))
