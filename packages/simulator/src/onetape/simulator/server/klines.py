"""`GET /api/v3/klines`: the candles of a response, and their text, cached in blocks."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.prng import IntArray
from onetape.simulator.market.simulated_market import BATCH_DAYS, SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server import error_replies
from onetape.simulator.server.wire import iterate_kline_texts

DEFAULT_KLINES: Final = 500
MAX_KLINES: Final = 1_000
#: Number of candles in a block (about 75 KB of text), and the most days that a block covers. Blocks
#: are counted from 1970, so a page needs at most one block more than its candles fill.
BLOCK_CANDLES: Final = 500
BLOCK_DAYS: Final = 64
#: Number of cached blocks: 40 MB.
MAX_CACHED_BLOCKS: Final = 512
_NUMBER: Final = "^[0-9]{1,20}$"
_DAY: Final = 86_400
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KlineBlock:
    """Closed candles of one market and timeframe as JSON text, ready for a reply."""

    timestamp: IntArray
    """Opens of the candles, epoch seconds, shape (n,)."""
    edge: IntArray
    """Position in `text` where each candle begins, and where the last ends with its comma, shape (n
    + 1,)."""
    text: bytes
    """JSON of the candles, each followed by a comma."""
    end: int
    """End of the range of opens that the block covers, epoch seconds."""

    def select_between(self, start: int, end: int) -> list[bytes]:
        """Return the candles that open in `[start, end)` as one text with a comma at its end."""
        low, high = np.searchsorted(self.timestamp, (start, end))
        text = self.text[int(self.edge[low]) : int(self.edge[high])]
        return [text] if text else []


class Klines:
    """Makes the replies to `GET /api/v3/klines` from cached blocks of text."""

    def __init__(self, market: SimulatedMarket) -> None:
        """Serve the candles of this market."""
        self._market = market
        self._blocks: OrderedDict[tuple[str, str, int], KlineBlock] = OrderedDict()

    async def make_reply_body(self, symbol: SpotSymbol, query: Query, now_ms: int) -> bytes:
        """Return the body of a reply: closed candles and the forming one, as Binance chooses.

        `startTime` and `endTime` (milliseconds, both inclusive) bound the opens. With `startTime`
        the first `limit` candles from there on, else the last `limit` up to `endTime` or now.

        Raises:
            Refusal: the query is not what Binance accepts.
        """
        timeframe = _parse_interval(query)
        limit = parse_limit(query, DEFAULT_KLINES, MAX_KLINES)
        start_ms, end_ms = parse_number(query, "startTime"), parse_number(query, "endTime")
        if query.get("timeZone", "0") not in ("0", "0:00", "00:00", "+00:00"):
            raise error_replies.make_invalid_value_refusal("timeZone")
        if start_ms is None:
            rows = await self._collect_last(symbol, timeframe, limit, end_ms, now_ms)
        else:
            rows = await self._collect_first(symbol, timeframe, limit, (start_ms, end_ms), now_ms)
        return b"[%b]" % b"".join(rows)[:-1]

    async def _collect_first(
        self,
        symbol: SpotSymbol,
        timeframe: Timeframe,
        limit: int,
        bounds_ms: tuple[int, int | None],
        now_ms: int,
    ) -> list[bytes]:
        """Return the first `limit` candles; across an outage the search range grows."""
        end = self._compute_end(symbol, timeframe, bounds_ms[1], now_ms)
        # A start inside a second counts from the next: opens are whole seconds.
        start = timeframe.ceil(min(-(-bounds_ms[0] // 1_000), end))
        start = max(start, timeframe.floor(symbol.listed))
        found: list[bytes] = []
        missing = limit
        while missing > 0 and start < end:
            stop = min(timeframe.shift(start, missing), end)
            opens, rows = await self._collect_between(symbol, timeframe, start, stop, now_ms)
            found += rows
            missing -= opens
            start = stop
        return found

    async def _collect_last(
        self, symbol: SpotSymbol, timeframe: Timeframe, limit: int, end_ms: int | None, now_ms: int
    ) -> list[bytes]:
        """Return the last `limit` candles; across an outage the search range grows."""
        end = self._compute_end(symbol, timeframe, end_ms, now_ms)
        first = timeframe.floor(symbol.listed)
        found: list[list[bytes]] = []
        missing = limit
        while missing > 0 and end > first:
            start = max(timeframe.shift(end, -missing), first)
            opens, rows = await self._collect_between(symbol, timeframe, start, end, now_ms)
            found.append(rows)
            missing -= opens
            end = start
        return [row for rows in found[::-1] for row in rows]

    def _compute_end(
        self, symbol: SpotSymbol, timeframe: Timeframe, end_ms: int | None, now_ms: int
    ) -> int:
        """Return the end of the opens that a request may get, epoch seconds, exclusive."""
        last = min(now_ms // 1_000, self._market.get_end(symbol) - 1)
        if end_ms is not None:
            last = min(last, end_ms // 1_000)
        return timeframe.next(max(last, 0))

    async def _collect_between(
        self, symbol: SpotSymbol, timeframe: Timeframe, start: int, end: int, now_ms: int
    ) -> tuple[int, list[bytes]]:
        """Return the number and the texts of the candles that open in `[start, end)`."""
        forming = timeframe.floor(now_ms // 1_000)
        closed = min(end, forming)
        count, rows = 0, list[bytes]()
        length = _compute_block_seconds(timeframe)
        number = start // length
        while start < closed:
            stop = timeframe.ceil((number + 1) * length)
            block = await self._get_block(symbol, timeframe, number, forming)
            low, high = np.searchsorted(block.timestamp, (start, min(stop, closed)))
            count += int(high - low)
            rows += block.select_between(start, min(stop, closed))
            start, number = stop, number + 1
        if end > forming:
            bar = self._market.get_forming_bar(symbol, timeframe, now_ms)
            count += len(bar)
            rows += [text + b"," for text in iterate_kline_texts(symbol, timeframe, bar)]
        return count, rows

    async def _get_block(
        self, symbol: SpotSymbol, timeframe: Timeframe, number: int, forming: int
    ) -> KlineBlock:
        """Return a block; one that was not full is built again once another candle has closed."""
        key = (symbol.id, timeframe.name, number)
        length = _compute_block_seconds(timeframe)
        start, end = timeframe.ceil(number * length), timeframe.ceil((number + 1) * length)
        found = self._blocks.get(key)
        if found is not None and found.end == min(end, forming):
            self._blocks.move_to_end(key)
            return found
        end = min(end, forming)
        for day in range(start - start % _DAY, end, BATCH_DAYS * _DAY):
            # Computed piece by piece, so that streams go on while a long page is made.
            self._market.get_bars(symbol, timeframe, day, min(day + BATCH_DAYS * _DAY, end))
            await asyncio.sleep(0)
        bars = self._market.get_bars(symbol, timeframe, start, end)
        texts = [text + b"," for text in iterate_kline_texts(symbol, timeframe, bars)]
        edge = np.cumsum([0, *map(len, texts)])
        found = KlineBlock(bars.timestamp, edge, b"".join(texts), end)
        self._blocks[key] = found
        if len(self._blocks) > MAX_CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        return found


def parse_number(query: Query, name: str) -> int | None:
    """Return a whole number of a query, or None.

    Raises:
        Refusal: the parameter is no whole number.
    """
    text = query.get(name, "")
    if not text:
        return None
    if not re.fullmatch(_NUMBER, text):
        raise error_replies.make_illegal_characters_refusal(name, _NUMBER)
    return int(text)


def parse_limit(query: Query, default: int, most: int) -> int:
    """Return the number of rows requested, at most Binance's maximum.

    Raises:
        Refusal: the parameter is 0 or no number.
    """
    limit = parse_number(query, "limit")
    if limit is None:
        return default
    if limit == 0:
        raise error_replies.make_invalid_value_refusal("limit")
    return min(limit, most)


def _compute_block_seconds(timeframe: Timeframe) -> int:
    return timeframe.seconds * max(min(BLOCK_CANDLES, BLOCK_DAYS * _DAY // timeframe.seconds), 1)


def _parse_interval(query: Query) -> Timeframe:
    name = query.get("interval", "")
    if not name:
        raise error_replies.make_missing_parameter_refusal("interval")
    if name not in TIMEFRAMES:
        raise error_replies.make_invalid_interval_refusal()
    return TIMEFRAMES[name]
