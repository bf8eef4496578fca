"""The market: bars, forming bars, trades and day statistics as functions of seed, symbol, time."""

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
    continued,
    grouped,
    joined,
    opens_between,
)
from onetape.simulator.market.minutes import Minutes, minutes, minutes_of_many
from onetape.simulator.market.outages import last_traded, minute_of, outage_at
from onetape.simulator.market.price_moves import PriceMove, move_prices
from onetape.simulator.market.price_path import END_SECONDS, ORIGIN_SECONDS
from onetape.simulator.market.prng import IntArray
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol, UnknownSymbol
from onetape.simulator.market.trades import NO_TRADES, Trades, trades_of_minute

_DAY: Final = 86_400
_HOUR: Final = 3_600
#: Days computed in one go: long enough to use NumPy well, short enough to stay in the cache.
BATCH_DAYS: Final = 16
#: Days of minute bars in memory (130 KB each).
KEPT_MINUTE_DAYS: Final = 96
#: Days of hour bars in memory (2 KB each): eight markets over nearly three years.
KEPT_HOUR_DAYS: Final = 8_000
#: Minutes of trades in memory (2 KB each): two of every market of the long list.
KEPT_TRADE_MINUTES: Final = 8_192
#: Blocks of minutes in memory for their trades (8 KB each).
KEPT_PARTS: Final = 256
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
    """Everything that happens in the invented market of one seed.

    What it returns depends on the arguments alone; it keeps results only to be faster. Not to be
    shared between threads.
    """

    def __init__(self, seed: int, symbols: tuple[SpotSymbol, ...] = SYMBOLS) -> None:
        """Make the market of this seed."""
        self.seed = seed
        self.symbols = symbols
        self._named = {name: one for one in symbols for name in (one.id, one.name)}
        self._minute_days: _Days = OrderedDict()
        self._hour_days: _Days = OrderedDict()
        self._trades: OrderedDict[tuple[str, int], Trades] = OrderedDict()
        # The day that was read last of each market: its running minute, and the others.
        self._last_days: dict[str, tuple[int, LastDay]] = {}
        # The running minute of each market at the moment of the last look; several streams show it.
        self._minutes_so_far: dict[str, tuple[int, Bars]] = {}
        self._parts: OrderedDict[tuple[str, int], Minutes] = OrderedDict()
        self._moves: dict[str, list[PriceMove]] = {}

    def symbol(self, name: str) -> SpotSymbol:
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
        kept = (self._minute_days, self._hour_days, self._trades, self._last_days, self._parts)
        for results in (*kept, self._minutes_so_far):
            results.clear()

    def _moved(self, symbol: SpotSymbol, found: Minutes) -> Minutes:
        moves = self._moves.get(symbol.id)
        return move_prices(found, moves) if moves else found

    def smallest(self, symbol: SpotSymbol) -> Timeframe:
        """Return the timeframe that all others of a market are built from."""
        del symbol
        return TIMEFRAMES["1m"]

    def candles(self, name: str, timeframe: str, start: int, end: int) -> Candles:
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
        symbol = self.symbol(name)
        bars = self.bars(symbol, TIMEFRAMES[timeframe], start, end)
        tick, step = 10.0**symbol.price_digits, 10.0**symbol.amount_digits
        return Candles(
            bars.timestamp,
            bars.open / tick,
            bars.high / tick,
            bars.low / tick,
            bars.close / tick,
            bars.volume / step,
        )

    def bars(self, symbol: SpotSymbol, timeframe: Timeframe, start: int, end: int) -> Bars:
        """Return whole bars that open in `[start, end)`, epoch seconds, whatever the time is."""
        first = timeframe.ceil(max(start, timeframe.floor(symbol.listed)))
        last = timeframe.ceil(min(end, symbol.delisted or END_SECONDS, END_SECONDS))
        if first >= last:
            return NO_BARS
        if timeframe.seconds < _HOUR:
            small = self._minutes_between(symbol, first, last)
        else:
            small = self._hours_between(symbol, first, last)
        if timeframe.name in ("1m", "1h"):
            return small
        return grouped(small, opens_between(timeframe, first, last))

    def forming(self, symbol: SpotSymbol, timeframe: Timeframe, now_ms: int) -> Bars:
        """Return the one bar that holds the moment `now_ms`, as far as it has come.

        It is built from the finished minutes and the running minute's trades up to and including
        `now_ms`. Empty before the listing, after the delisting, and where nothing of it exists yet
        because of an outage.
        """
        now = now_ms // 1_000
        minute = now - now % 60
        if not self.is_open(symbol, now):
            return NO_BARS
        opened = timeframe.floor(now)
        hour = max(opened, now - now % _HOUR)
        parts = [self._running_minute(symbol, now_ms)]
        if hour < minute:
            parts.insert(0, self._minutes_between(symbol, hour, minute))
        if opened < hour:
            parts.insert(0, self._hours_between(symbol, opened, hour))
        return grouped(joined(parts), np.array([opened], dtype=np.int64))

    def end(self, symbol: SpotSymbol) -> int:
        """Return the first moment after the last candle ever, epoch seconds."""
        return symbol.delisted or END_SECONDS

    def is_open(self, symbol: SpotSymbol, now: int) -> bool:
        """Return whether the market trades at `now`, epoch seconds."""
        return symbol.listed <= now < self.end(symbol)

    def is_silent(self, now: int, symbol: SpotSymbol | None = None) -> bool:
        """Return whether there is no candle and no event at `now`, epoch seconds: an outage.

        Args:
            now: The moment.
            symbol: Symbol of the market; an outage concerns all markets.
        """
        del symbol
        outage = outage_at(self.seed, minute_of(now))
        return outage is not None and minute_of(now) >= outage.start

    def running_trades(self, symbol: SpotSymbol, now_ms: int) -> Trades:
        """Return the trades of the running minute up to and including `now_ms`."""
        minute = now_ms // 60_000 * 60
        return self.trades(symbol, minute).until(now_ms)

    def last_trades(self, symbol: SpotSymbol, now_ms: int) -> Trades:
        """Return the trades up to and including `now_ms` of the last minute that has any.

        Empty before the first trade ever.
        """
        running = self.running_trades(symbol, now_ms)
        if len(running):
            return running
        minute = last_traded(self.seed, symbol, minute_of(now_ms // 1_000))
        return self.trades(symbol, minute * 60 + ORIGIN_SECONDS).until(now_ms)

    def _running_minute(self, symbol: SpotSymbol, now_ms: int) -> Bars:
        """Return the running minute's bar as far as it has come, flat where it has no trade."""
        minute = now_ms // 60_000 * 60
        bar = self._minute_so_far(symbol, now_ms)
        return bar if len(bar) else self._minutes_between(symbol, minute, minute + 60)

    def _minute_so_far(self, symbol: SpotSymbol, now_ms: int) -> Bars:
        """Return the bar of the running minute's trades so far; none where there is no trade."""
        kept_ms, bar = self._minutes_so_far.get(symbol.id, (-1, NO_BARS))
        if kept_ms != now_ms:
            bar = self.running_trades(symbol, now_ms).bar(now_ms // 60_000 * 60)
            self._minutes_so_far[symbol.id] = now_ms, bar
        return bar

    def trades(self, symbol: SpotSymbol, minute: int) -> Trades:
        """Return all trades of the minute that opens at `minute`, epoch seconds."""
        key = (symbol.id, minute)
        found = self._trades.get(key)
        if found is None:
            found = trades_of_minute(self.seed, symbol, self._minute_parts(symbol, minute))
            self._keep_trades(key, found)
        return found

    def _keep_trades(self, key: tuple[str, int], trades: Trades) -> None:
        self._trades[key] = trades
        if len(self._trades) > KEPT_TRADE_MINUTES:
            self._trades.popitem(last=False)

    def _minute_parts(self, symbol: SpotSymbol, minute: int) -> Minutes:
        """Return what the trades of a minute need, one row or none; minutes come 64 at a time."""
        index = minute_of(minute)
        block = index // _BLOCK_MINUTES
        found = self._parts.get((symbol.id, block))
        if found is None:
            first, last = block * _BLOCK_MINUTES, (block + 1) * _BLOCK_MINUTES
            found = minutes(
                self.seed,
                symbol,
                max(first, min(minute_of(symbol.listed), index)),
                min(last, max(minute_of(self.end(symbol)), index + 1)),
            )
            found = self._moved(symbol, found)
            self._parts[symbol.id, block] = found
            if len(self._parts) > KEPT_PARTS:
                self._parts.popitem(last=False)
        low, high = np.searchsorted(found.bars.timestamp, (minute, minute + 60))
        return found[int(low) : int(high)]

    def last_day(self, symbol: SpotSymbol, now_ms: int) -> LastDay:
        """Return the last 24 hours of a market."""
        minute = now_ms // 60_000 * 60
        kept_minute, day = self._last_days.get(symbol.id, (-1, None))
        if day is None or kept_minute != minute:
            closed = self.end(symbol) <= minute - _DAY
            bars = NO_BARS if closed else self._minutes_between(symbol, minute - _DAY, minute)
            day = self._keep_day(symbol, minute, bars)
        if not self.is_open(symbol, minute):
            return day
        running = self._minute_so_far(symbol, now_ms)
        if not len(running):
            return day
        if day.bar.volume.any():
            return LastDay(continued(day.bar, running), day.previous)
        both = joined((day.bar, running))
        return LastDay(grouped(both, both.timestamp[:1]), day.previous)

    def prepare_last_day(self, symbols: Sequence[SpotSymbol], now_ms: int) -> None:
        """Work out the last 24 hours of some markets together: several times as fast as singly."""
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
        first, last = minute_of(minute - _DAY), minute_of(minute) + 1
        every = minutes_of_many(self.seed, wanted, first, last)
        for symbol, unmoved in zip(wanted, every, strict=True):
            found = self._moved(symbol, unmoved)
            whole = int(np.searchsorted(found.bars.timestamp, minute))
            self._keep_day(symbol, minute, found.bars[:whole])
            # The last trades too: of the running minute, or where it has none, of one before it.
            self._keep_trades((symbol.id, minute), NO_TRADES)
            for row in np.flatnonzero(found.bars.volume)[-1:].tolist():
                part = found[row : row + 1]
                trades = trades_of_minute(self.seed, symbol, part)
                self._keep_trades((symbol.id, int(part.bars.timestamp[0])), trades)

    def _keep_day(self, symbol: SpotSymbol, minute: int, bars: Bars) -> LastDay:
        """Keep the day that a minute runs in; `bars` are the 1,440 minutes before that one."""
        cut = int(np.searchsorted(bars.timestamp, minute - _DAY + 60))
        within = bars[cut:]
        previous = None
        if cut and len(within) and int(within.timestamp[0]) == minute - _DAY + 60:
            previous = int(bars.close[cut - 1])
        day = LastDay(grouped(within, within.timestamp[:1]), previous)
        self._last_days[symbol.id] = minute, day
        return day

    def _minutes_between(self, symbol: SpotSymbol, start: int, end: int) -> Bars:
        return self._days_between(self._minute_days, KEPT_MINUTE_DAYS, symbol, start, end, _same)

    def _hours_between(self, symbol: SpotSymbol, start: int, end: int) -> Bars:
        return self._days_between(self._hour_days, KEPT_HOUR_DAYS, symbol, start, end, _hourly)

    def _days_between(
        self,
        kept: "_Days",
        limit: int,
        symbol: SpotSymbol,
        start: int,
        end: int,
        shape: Callable[[Bars], Bars],
    ) -> Bars:
        """Return the bars of `[start, end)` day by day, computing missing days in long runs."""
        parts: list[IntArray] = []
        day, last = start // _DAY, (end - 1) // _DAY
        while day <= last:
            found = kept.get((symbol.id, day))
            if found is not None:
                kept.move_to_end((symbol.id, day))
                parts.append(found)
                day += 1
                continue
            run = day + 1
            while run <= last and run - day < BATCH_DAYS and (symbol.id, run) not in kept:
                run += 1
            computed = shape(self._computed_days(symbol, day, run))
            for new in range(day, run):
                # A separate block, so that one cached day does not hold the whole run in memory.
                block = np.stack(computed.between(new * _DAY, (new + 1) * _DAY).columns())
                kept[symbol.id, new] = block
                parts.append(block)
            while len(kept) > limit:
                kept.popitem(last=False)
            day = run
        return Bars(*np.concatenate(parts, axis=1)).between(start, end)

    def _computed_days(self, symbol: SpotSymbol, day: int, end: int) -> Bars:
        """Return the minutes of the days `day` to `end - 1` (since 1970) that were traded."""
        start = max(day * _DAY, symbol.listed)
        stop = min(end * _DAY, symbol.delisted or END_SECONDS, END_SECONDS)
        if start >= stop:
            return NO_BARS
        first, last = (start - ORIGIN_SECONDS) // 60, (stop - ORIGIN_SECONDS) // 60
        return self._moved(symbol, minutes(self.seed, symbol, first, last)).bars


def _same(bars: Bars) -> Bars:
    return bars


def _hourly(bars: Bars) -> Bars:
    if not len(bars):
        return NO_BARS
    first = int(bars.timestamp[0]) // _HOUR * _HOUR
    return grouped(bars, opens_between(TIMEFRAMES["1h"], first, int(bars.timestamp[-1]) + 1))
