"""The invented market: bars, forming bars, trades and the last 24 hours, by seed, symbol and time.

All endpoints and streams read a `SimulatedMarket`. Its subclass
`recorded.replay_market.ReplayMarket` has recorded candles instead.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from onetape.core.candles import Candles
from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import (
    NO_BARS,
    TIMEFRAMES,
    Bars,
    compute_opens,
    concat_bars,
    group_bars,
    merge_two_bars,
)
from onetape.simulator.market.minutes import Minutes, make_minutes, make_minutes_of_markets
from onetape.simulator.market.outages import (
    compute_minute_index,
    find_last_traded_minute,
    find_outage_at,
)
from onetape.simulator.market.price_moves import PriceMove, move_prices
from onetape.simulator.market.price_path import END_SECONDS, ORIGIN_SECONDS
from onetape.simulator.market.prng import IntArray
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol, UnknownSymbol
from onetape.simulator.market.trades import NO_TRADES, Trades, make_minute_trades

_DAY: Final = 86_400
_HOUR: Final = 3_600
#: Days that are computed together: enough for fast NumPy calls, few enough for the cache.
BATCH_DAYS: Final = 16
#: Days of minute bars in memory (130 KB each).
MAX_CACHED_MINUTE_DAYS: Final = 96
#: Days of hour bars in memory (2 KB each): eight markets over nearly three years.
MAX_CACHED_HOUR_DAYS: Final = 8_000
#: Minutes of trades in memory (2 KB each): two of each market of a list as long as Binance's.
MAX_CACHED_TRADE_MINUTES: Final = 8_192
#: Blocks of minutes in memory for their trades (8 KB each).
MAX_CACHED_PARTS: Final = 256
_BLOCK_MINUTES: Final = 64

#: Blocks of bars by market and day since 1970; a block has a row for each column of `Bars`.
_Days = OrderedDict[tuple[str, int], IntArray]


@dataclass(frozen=True, slots=True)
class LastDay:
    """The last 1,440 minutes of a market, including the running one so far."""

    bar: Bars
    """The running bar, which opens with the first of these minutes that has a candle; or none."""
    previous: int | None
    """Close of the minute before these minutes, in ticks; None where it has no candle."""


class SimulatedMarket:
    """Candles and trades of the invented market of one seed.

    The results depend on the arguments alone, and are cached. Threads must not share an object.
    """

    def __init__(self, seed: int, symbols: tuple[SpotSymbol, ...] = SYMBOLS) -> None:
        """Make the market of this seed."""
        self.seed = seed
        self.symbols = symbols
        self._named = {name: symbol for symbol in symbols for name in (symbol.id, symbol.name)}
        self._minute_days: _Days = OrderedDict()
        self._hour_days: _Days = OrderedDict()
        self._trades: OrderedDict[tuple[str, int], Trades] = OrderedDict()
        # The day that was read last of each market: its running minute, and the others.
        self._last_days: dict[str, tuple[int, LastDay]] = {}
        # The running minute of each market at the time of the last read; several streams use it.
        self._minutes_so_far: dict[str, tuple[int, Bars]] = {}
        self._parts: OrderedDict[tuple[str, int], Minutes] = OrderedDict()
        self._moves: dict[str, list[PriceMove]] = {}

    def get_symbol(self, name: str) -> SpotSymbol:
        """Return the market named `BTCUSDT` or `BTC/USDT`.

        Raises:
            UnknownSymbol: no market has that name.
        """
        try:
            return self._named[name]
        except KeyError:
            raise UnknownSymbol(name) from None

    def add_move(self, symbol: SpotSymbol, move: PriceMove) -> None:
        """Script the price of a market; the move must begin after every moment read so far."""
        self._moves.setdefault(symbol.id, []).append(move)
        days = (self._minute_days, self._hour_days, self._last_days)
        for results in (*days, self._trades, self._parts, self._minutes_so_far):
            results.clear()

    def _apply_moves(self, symbol: SpotSymbol, found: Minutes) -> Minutes:
        moves = self._moves.get(symbol.id)
        return move_prices(found, moves) if moves else found

    def get_smallest_timeframe(self, symbol: SpotSymbol) -> Timeframe:
        """Return the timeframe that all others of a market are built from."""
        del symbol
        return TIMEFRAMES["1m"]

    def get_candles(self, name: str, timeframe: str, start: int, end: int) -> Candles:
        """Return whole candles that open in `[start, end)`, epoch seconds, whatever the time is.

        Args:
            name: `BTC/USDT` or `BTCUSDT`.
            timeframe: One of `bars.INTERVALS`.
            start: First open, epoch seconds UTC.
            end: End of the range, exclusive.

        Raises:
            UnknownSymbol: there is no such market.
            KeyError: there is no such timeframe.
        """
        symbol = self.get_symbol(name)
        bars = self.get_bars(symbol, TIMEFRAMES[timeframe], start, end)
        tick, step = 10.0**symbol.price_digits, 10.0**symbol.amount_digits
        return Candles(
            bars.timestamp,
            bars.open / tick,
            bars.high / tick,
            bars.low / tick,
            bars.close / tick,
            bars.volume / step,
        )

    def get_bars(self, symbol: SpotSymbol, timeframe: Timeframe, start: int, end: int) -> Bars:
        """Return whole bars that open in `[start, end)`, epoch seconds, whatever the time is."""
        first = timeframe.ceil(max(start, timeframe.floor(symbol.listed)))
        last = timeframe.ceil(min(end, symbol.delisted or END_SECONDS, END_SECONDS))
        if first >= last:
            return NO_BARS
        if timeframe.seconds < _HOUR:
            small = self._get_minute_bars(symbol, first, last)
        else:
            small = self._get_hour_bars(symbol, first, last)
        if timeframe.name in ("1m", "1h"):
            return small
        return group_bars(small, compute_opens(timeframe, first, last))

    def get_forming_bar(self, symbol: SpotSymbol, timeframe: Timeframe, now_ms: int) -> Bars:
        """Return the one bar that holds the moment `now_ms`, as far as it has formed.

        The bar is built from the finished minutes and the running minute's trades up to and
        including `now_ms`. Empty before the listing, after the delisting, and where an outage has
        left no part of it yet.
        """
        now = now_ms // 1_000
        minute = now - now % 60
        if not self.is_open(symbol, now):
            return NO_BARS
        opened = timeframe.floor(now)
        hour = max(opened, now - now % _HOUR)
        parts = [self._get_running_minute_bar(symbol, now_ms)]
        if hour < minute:
            parts.insert(0, self._get_minute_bars(symbol, hour, minute))
        if opened < hour:
            parts.insert(0, self._get_hour_bars(symbol, opened, hour))
        return group_bars(concat_bars(parts), np.array([opened], dtype=np.int64))

    def get_end(self, symbol: SpotSymbol) -> int:
        """Return the first moment after the last candle ever, epoch seconds."""
        return symbol.delisted or END_SECONDS

    def is_open(self, symbol: SpotSymbol, now: int) -> bool:
        """Return whether the market trades at `now`, epoch seconds."""
        return symbol.listed <= now < self.get_end(symbol)

    def is_without_events(self, now: int, symbol: SpotSymbol | None = None) -> bool:
        """Return whether there is no candle and no event at `now`, epoch seconds: an outage.

        Args:
            now: The moment.
            symbol: Symbol of the market; an outage concerns all markets.
        """
        del symbol
        outage = find_outage_at(self.seed, compute_minute_index(now))
        return outage is not None and compute_minute_index(now) >= outage.start

    def get_running_trades(self, symbol: SpotSymbol, now_ms: int) -> Trades:
        """Return the trades of the running minute up to and including `now_ms`."""
        minute = now_ms // 60_000 * 60
        return self.get_trades(symbol, minute).select_until(now_ms)

    def get_last_trades(self, symbol: SpotSymbol, now_ms: int) -> Trades:
        """Return the trades up to and including `now_ms` of the last minute that has any.

        Empty before the first trade ever.
        """
        running = self.get_running_trades(symbol, now_ms)
        if len(running):
            return running
        minute = find_last_traded_minute(self.seed, symbol, compute_minute_index(now_ms // 1_000))
        return self.get_trades(symbol, minute * 60 + ORIGIN_SECONDS).select_until(now_ms)

    def _get_running_minute_bar(self, symbol: SpotSymbol, now_ms: int) -> Bars:
        """Return the running minute's bar as far as it has formed, flat where it has no trade."""
        minute = now_ms // 60_000 * 60
        bar = self._get_traded_minute_bar(symbol, now_ms)
        return bar if len(bar) else self._get_minute_bars(symbol, minute, minute + 60)

    def _get_traded_minute_bar(self, symbol: SpotSymbol, now_ms: int) -> Bars:
        """Return the bar of the running minute's trades so far; none where there is no trade."""
        cached_ms, bar = self._minutes_so_far.get(symbol.id, (-1, NO_BARS))
        if cached_ms != now_ms:
            bar = self.get_running_trades(symbol, now_ms).make_bar(now_ms // 60_000 * 60)
            self._minutes_so_far[symbol.id] = now_ms, bar
        return bar

    def get_trades(self, symbol: SpotSymbol, minute: int) -> Trades:
        """Return all trades of the minute that opens at `minute`, epoch seconds."""
        key = (symbol.id, minute)
        found = self._trades.get(key)
        if found is None:
            found = make_minute_trades(self.seed, symbol, self._get_minute_parts(symbol, minute))
            self._cache_trades(key, found)
        return found

    def _cache_trades(self, key: tuple[str, int], trades: Trades) -> None:
        self._trades[key] = trades
        if len(self._trades) > MAX_CACHED_TRADE_MINUTES:
            self._trades.popitem(last=False)

    def _get_minute_parts(self, symbol: SpotSymbol, minute: int) -> Minutes:
        """Return the `Minutes` row that defines a minute's trades, or none.

        Rows are computed and cached for 64 minutes at a time.
        """
        index = compute_minute_index(minute)
        block = index // _BLOCK_MINUTES
        found = self._parts.get((symbol.id, block))
        if found is None:
            first, last = block * _BLOCK_MINUTES, (block + 1) * _BLOCK_MINUTES
            found = make_minutes(
                self.seed,
                symbol,
                max(first, min(compute_minute_index(symbol.listed), index)),
                min(last, max(compute_minute_index(self.get_end(symbol)), index + 1)),
            )
            found = self._apply_moves(symbol, found)
            self._parts[symbol.id, block] = found
            if len(self._parts) > MAX_CACHED_PARTS:
                self._parts.popitem(last=False)
        low, high = np.searchsorted(found.bars.timestamp, (minute, minute + 60))
        return found[int(low) : int(high)]

    def get_last_day(self, symbol: SpotSymbol, now_ms: int) -> LastDay:
        """Return the last 24 hours of a market."""
        minute = now_ms // 60_000 * 60
        cached_minute, day = self._last_days.get(symbol.id, (-1, None))
        if day is None or cached_minute != minute:
            closed = self.get_end(symbol) <= minute - _DAY
            bars = NO_BARS if closed else self._get_minute_bars(symbol, minute - _DAY, minute)
            day = self._cache_last_day(symbol, minute, bars)
        if not self.is_open(symbol, minute):
            return day
        running = self._get_traded_minute_bar(symbol, now_ms)
        if not len(running):
            return day
        if day.bar.volume.any():
            return LastDay(merge_two_bars(day.bar, running), day.previous)
        both = concat_bars((day.bar, running))
        return LastDay(group_bars(both, both.timestamp[:1]), day.previous)

    def prepare_last_day(self, symbols: Sequence[SpotSymbol], now_ms: int) -> None:
        """Compute and cache the last 24 hours of several markets together.

        This is several times as fast as `get_last_day` for each.
        """
        minute = now_ms // 60_000 * 60
        wanted = [
            symbol
            for symbol in symbols
            if symbol.listed <= minute - _DAY
            and self.is_open(symbol, minute)
            and self._last_days.get(symbol.id, (-1,))[0] != minute
        ]
        if not wanted:
            return
        first, last = compute_minute_index(minute - _DAY), compute_minute_index(minute) + 1
        every = make_minutes_of_markets(self.seed, wanted, first, last)
        for symbol, unmoved in zip(wanted, every, strict=True):
            found = self._apply_moves(symbol, unmoved)
            whole = int(np.searchsorted(found.bars.timestamp, minute))
            self._cache_last_day(symbol, minute, found.bars[:whole])
            # The last trades too: those of the running minute, or of an earlier one if it has none.
            self._cache_trades((symbol.id, minute), NO_TRADES)
            for row in np.flatnonzero(found.bars.volume)[-1:].tolist():
                part = found[row : row + 1]
                trades = make_minute_trades(self.seed, symbol, part)
                self._cache_trades((symbol.id, int(part.bars.timestamp[0])), trades)

    def _cache_last_day(self, symbol: SpotSymbol, minute: int, bars: Bars) -> LastDay:
        """Cache the last day of a running minute; `bars` are the 1,440 minutes before it."""
        cut = int(np.searchsorted(bars.timestamp, minute - _DAY + 60))
        within = bars[cut:]
        previous = None
        if cut and len(within) and int(within.timestamp[0]) == minute - _DAY + 60:
            previous = int(bars.close[cut - 1])
        day = LastDay(group_bars(within, within.timestamp[:1]), previous)
        self._last_days[symbol.id] = minute, day
        return day

    def _get_minute_bars(self, symbol: SpotSymbol, start: int, end: int) -> Bars:
        return self._get_bars_by_day(
            self._minute_days, MAX_CACHED_MINUTE_DAYS, symbol, start, end, _return_unchanged
        )

    def _get_hour_bars(self, symbol: SpotSymbol, start: int, end: int) -> Bars:
        return self._get_bars_by_day(
            self._hour_days, MAX_CACHED_HOUR_DAYS, symbol, start, end, _make_hour_bars
        )

    def _get_bars_by_day(
        self,
        cache: "_Days",
        limit: int,
        symbol: SpotSymbol,
        start: int,
        end: int,
        shape: Callable[[Bars], Bars],
    ) -> Bars:
        """Return the bars of `[start, end)`, from a cache of whole days.

        Args:
            cache: Blocks of bars by market and day.
            limit: Maximum number of days in the cache.
            symbol: Symbol of the market.
            start: Start of the range, epoch seconds.
            end: End of the range, exclusive.
            shape: Makes the cached bars of a day out of its minutes.
        """
        parts: list[IntArray] = []
        day, last = start // _DAY, (end - 1) // _DAY
        while day <= last:
            found = cache.get((symbol.id, day))
            if found is not None:
                cache.move_to_end((symbol.id, day))
                parts.append(found)
                day += 1
                continue
            run = day + 1
            while run <= last and run - day < BATCH_DAYS and (symbol.id, run) not in cache:
                run += 1
            computed = shape(self._compute_day_minutes(symbol, day, run))
            for new in range(day, run):
                # A separate block, so that one cached day does not hold the whole run in memory.
                block = np.stack(
                    computed.select_between(new * _DAY, (new + 1) * _DAY).get_columns()
                )
                cache[symbol.id, new] = block
                parts.append(block)
            while len(cache) > limit:
                cache.popitem(last=False)
            day = run
        return Bars(*np.concatenate(parts, axis=1)).select_between(start, end)

    def _compute_day_minutes(self, symbol: SpotSymbol, day: int, end: int) -> Bars:
        """Return the minutes of the days `day` to `end - 1` (since 1970) that were traded."""
        start = max(day * _DAY, symbol.listed)
        stop = min(end * _DAY, symbol.delisted or END_SECONDS, END_SECONDS)
        if start >= stop:
            return NO_BARS
        first, last = (start - ORIGIN_SECONDS) // 60, (stop - ORIGIN_SECONDS) // 60
        return self._apply_moves(symbol, make_minutes(self.seed, symbol, first, last)).bars


def _return_unchanged(bars: Bars) -> Bars:
    return bars


def _make_hour_bars(bars: Bars) -> Bars:
    if not len(bars):
        return NO_BARS
    first = int(bars.timestamp[0]) // _HOUR * _HOUR
    return group_bars(bars, compute_opens(TIMEFRAMES["1h"], first, int(bars.timestamp[-1]) + 1))
