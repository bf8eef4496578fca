"""A market whose candles were recorded; what happens inside each is invented to fit it.

The trades of a candle begin at its open, reach high and low and end at its close, and sum up to its
volume: a path that might have been. It is a function of seed, symbol and candle. Candles of the
recorded timeframe are those of the file; higher timeframes are built from them, lower ones from the
invented trades. Where the file has no candle nothing happens. A candle with volume 0 whose price
moved has no trade to show it: it is flat at its open, and moves in its last minute.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np

from onetape.core.candles import FloatArray
from onetape.core.errors import UsageError
from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import (
    NO_BARS,
    Bars,
    grouped,
    joined,
    opens_between,
    values_of,
    with_quiet,
)
from onetape.simulator.market.minutes import Minutes
from onetape.simulator.market.price_moves import PriceMove
from onetape.simulator.market.prng import IntArray, hashed, key_of, part16
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.market.trades import NO_TRADES, Trades, trades_of_bar
from onetape.simulator.recorded.replay import Replay, Series

#: Number of candles whose trades, and whose minutes, are cached.
KEPT_CANDLES: Final = 1_024
#: Pairs of trades in a candle: two a minute, and no more than this.
MOST_PAIRS: Final = 1_440
T = TypeVar("T")


class ReplayMarket(SimulatedMarket):
    """The market of a file. Before its first and after its last candle there are no trades."""

    def __init__(self, seed: int, replay: Replay) -> None:
        """Take the recorded candles; the seed decides what happens inside them."""
        super().__init__(seed, tuple(one.symbol for one in replay.series))
        self._series = {one.symbol.id: one for one in replay.series}
        self._recorded = {one.symbol.id: _parts(seed, one) for one in replay.series}
        self._has_volume = {one.symbol.id: bool(one.candles.volume.any()) for one in replay.series}
        self._candle_trades: OrderedDict[tuple[str, int], Trades] = OrderedDict()
        self._candle_minutes: OrderedDict[tuple[str, int], Bars] = OrderedDict()

    def add_move(self, symbol: SpotSymbol, move: PriceMove) -> None:
        """Refuse to script a price: the candles are recorded.

        Raises:
            UsageError: always.
        """
        del symbol, move
        raise UsageError("only an invented market has scripted prices; this one is a replay")

    def smallest(self, symbol: SpotSymbol) -> Timeframe:
        """Return the timeframe that was recorded."""
        return self._series[symbol.id].timeframe

    def bars(self, symbol: SpotSymbol, timeframe: Timeframe, start: int, end: int) -> Bars:
        """Return whole bars that open in `[start, end)`, epoch seconds, whatever the time is."""
        recorded = self._recorded[symbol.id].bars
        base = self._series[symbol.id].timeframe
        first = timeframe.ceil(max(start, timeframe.floor(symbol.listed)))
        last = timeframe.ceil(min(end, self.end(symbol)))
        if first >= last:
            return NO_BARS
        if timeframe.name == base.name:
            return recorded.between(first, last)
        if timeframe.is_month or timeframe.seconds % base.seconds == 0:
            small = recorded.between(first, last)
        else:
            small = self._minutes_between(symbol, first, last)
        opens = opens_between(timeframe, first, last)
        return grouped(small, opens, has_volume=self._has_volume[symbol.id])

    def forming(self, symbol: SpotSymbol, timeframe: Timeframe, now_ms: int) -> Bars:
        """Return the one bar that holds the moment `now_ms`, as far as it has come.

        Empty where nothing of it was recorded.
        """
        now = now_ms // 1_000
        base = self._series[symbol.id].timeframe
        opened, candle = timeframe.floor(now), base.floor(now)
        parts: list[Bars] = []
        if opened < candle:
            parts.append(self._recorded[symbol.id].bars.between(opened, candle))
        recorded = self._candle(symbol, candle)
        if len(recorded):
            start = max(opened, candle)
            parts.append(self._running_bar(symbol, recorded, start, now_ms))
        opens = np.array([opened], dtype=np.int64)
        return grouped(joined(parts), opens, has_volume=self._has_volume[symbol.id])

    def end(self, symbol: SpotSymbol) -> int:
        """Return the first moment after the last candle, epoch seconds."""
        series = self._series[symbol.id]
        return series.timeframe.next(int(series.candles.timestamp[-1]))

    def is_silent(self, now: int, symbol: SpotSymbol | None = None) -> bool:
        """Return whether `now`, epoch seconds, falls into a gap between recorded candles.

        Args:
            now: The moment.
            symbol: Market of the candles; None: whether it is so in every market.
        """
        symbols = self.symbols if symbol is None else (symbol,)
        return all(
            self.is_open(one, now)
            and not len(self._candle(one, self._series[one.id].timeframe.floor(now)))
            for one in symbols
        )

    def trades(self, symbol: SpotSymbol, minute: int) -> Trades:
        """Return all trades of the minute that opens at `minute`, epoch seconds."""
        candle = self._series[symbol.id].timeframe.floor(minute)
        return self._trades_in(symbol, candle).within(minute * 1_000, (minute + 60) * 1_000)

    def last_trades(self, symbol: SpotSymbol, now_ms: int) -> Trades:
        """Return the trades up to and including `now_ms` of the last minute that has any."""
        bars = self._recorded[symbol.id].bars
        row = int(np.searchsorted(bars.timestamp, now_ms // 1_000, side="right")) - 1
        traded = np.flatnonzero(bars.volume[: row + 1])
        if not len(traded):
            return NO_TRADES
        # The first trade of a candle comes at its open.
        trades = self._trades_in(symbol, int(bars.timestamp[traded[-1]])).until(now_ms)
        minute_ms = int(trades.time_ms[-1]) // 60_000 * 60_000
        return trades.within(minute_ms, minute_ms + 60_000)

    def prepare_last_day(self, symbols: Sequence[SpotSymbol], now_ms: int) -> None:
        """Do nothing: what was recorded needs no working out."""

    def _candle(self, symbol: SpotSymbol, opened: int) -> Bars:
        return self._recorded[symbol.id].bars.between(opened, opened + 1)

    def _trades_in(self, symbol: SpotSymbol, opened: int) -> Trades:
        """Return all trades of a recorded candle; empty for a minute without a candle."""
        key = (symbol.id, opened)
        found = self._candle_trades.get(key)
        if found is None:
            parts = self._recorded[symbol.id]
            row = int(np.searchsorted(parts.bars.timestamp, opened))
            one = parts[row : row + 1]
            found = NO_TRADES
            if len(one.bars) and int(one.bars.timestamp[0]) == opened:
                length = self._series[symbol.id].timeframe.seconds
                found = trades_of_bar(one, key_of(self.seed, symbol.id, "replay", opened), length)
            _keep(self._candle_trades, key, found)
        return found

    def _running_bar(self, symbol: SpotSymbol, recorded: Bars, start: int, now_ms: int) -> Bars:
        """Return the bar from `start` to `now_ms` inside a recorded candle."""
        opened = int(recorded.timestamp[0])
        if not recorded.volume[0]:
            end_ms = (opened + self.smallest(symbol).seconds) * 1_000
            return _without_trades(recorded, start, is_over=now_ms >= end_ms - 1_000)
        trades = self._trades_in(symbol, opened).until(now_ms)
        inside = trades.within(start * 1_000, now_ms + 1)
        if len(inside):
            return inside.bar(start)
        return _flat(start, int(trades.price[-1]), int(trades.id[-1]) + 1)

    def _minutes_between(self, symbol: SpotSymbol, start: int, end: int) -> Bars:
        base = self._series[symbol.id].timeframe
        recorded = self._recorded[symbol.id].bars.between(base.floor(start), end)
        if base.name == "1m":
            return recorded.between(start, end)
        rows = [self._minutes_of(symbol, recorded[row : row + 1]) for row in range(len(recorded))]
        return joined(rows).between(start, end)

    def _minutes_of(self, symbol: SpotSymbol, recorded: Bars) -> Bars:
        """Return the minutes of one recorded candle: those of its trades, flat where none are."""
        opened = int(recorded.timestamp[0])
        key = (symbol.id, opened)
        found = self._candle_minutes.get(key)
        if found is None:
            minutes = np.arange(opened, opened + self.smallest(symbol).seconds, 60, dtype=np.int64)
            if recorded.volume[0]:
                found = _minutes_from(self._trades_in(symbol, opened), minutes)
            else:
                *before, last = minutes.tolist()
                flat = [_without_trades(recorded, minute, is_over=False) for minute in before]
                found = joined([*flat, _without_trades(recorded, last, is_over=True)])
            _keep(self._candle_minutes, key, found)
        return found


def _keep(kept: "OrderedDict[tuple[str, int], T]", key: tuple[str, int], value: T) -> None:
    kept[key] = value
    if len(kept) > KEPT_CANDLES:
        kept.popitem(last=False)


def _without_trades(recorded: Bars, timestamp: int, *, is_over: bool) -> Bars:
    """Return a part of a recorded bar with volume 0: flat at its open until it is over."""
    if is_over:
        return replace(recorded, timestamp=np.array([timestamp], dtype=np.int64))
    return _flat(timestamp, int(recorded.open[0]), int(recorded.first_id[0]))


def _flat(timestamp: int, price: int, first_id: int) -> Bars:
    cells = (timestamp, price, price, price, price, 0, 0, 0, first_id, 0, 0)
    return Bars(*(np.array([cell], dtype=np.int64) for cell in cells))


def _minutes_from(trades: Trades, minutes: IntArray) -> Bars:
    """Return a bar for each minute, flat where it has no trade; the first minute has one."""
    value = values_of(trades.price, trades.amount)
    each = Bars(
        trades.time_ms // 1_000,
        trades.price, trades.price, trades.price, trades.price,
        trades.amount, value, np.ones(len(trades), dtype=np.int64), trades.id,
        trades.amount * trades.buys, value * trades.buys,
    )  # fmt: skip
    traded = grouped(each, minutes)
    # For each minute the last traded one at or before it.
    source = np.searchsorted(traded.timestamp, minutes, side="right") - 1
    picked = Bars(*(column[source] for column in traded.columns()))
    return with_quiet(picked, minutes, picked.timestamp != minutes)


def _parts(seed: int, series: Series) -> Minutes:
    """Return recorded candles in ticks and steps, with amounts for the trades inside them."""
    symbol, candles = series.symbol, series.candles
    opened, high, low, close = (
        _whole(column, symbol.price_digits)
        for column in (candles.open, candles.high, candles.low, candles.close)
    )
    volume = _whole(candles.volume, symbol.amount_digits)
    wish = min(2 * (series.timeframe.seconds // 60), MOST_PAIRS)
    noise = hashed(key_of(seed, symbol.id, "amounts"), candles.timestamp)
    # Four trades show open, high, low and close, as far as the volume goes; the rest is pairs.
    real = np.clip((volume - 4) // 2, 0, wish)
    each = np.where(volume >= 4, np.maximum(volume // (2 * real + 4), 1), 0)
    lots = np.where(volume >= 4, (volume - 4 * each) // 2, 0)
    first = np.where(volume >= 4, volume - 3 * each - 2 * lots, np.minimum(volume, 1))
    top = high > np.maximum(opened, close)
    high_amount = np.where(volume >= 4, each, (volume == 3) & top)
    low_amount = np.where(volume >= 4, each, (volume == 3) & ~top)
    last = np.where(volume >= 4, each, np.where(volume >= 2, 1, 0))
    buyers = real // 2
    buy_lots = np.where(buyers > 0, np.clip(lots // 2, buyers, lots - (real - buyers)), 0)
    first_buys, last_buys = (part16(noise, 0) & 1) == 1, close >= opened
    trades = 2 * real
    for amount in (first, high_amount, low_amount, last):
        trades = trades + (amount > 0)
    bars = Bars(
        timestamp=candles.timestamp,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        quote=values_of(opened, first) + values_of(high, high_amount) + values_of(low, low_amount)
        + values_of(close, last) + values_of(high + low, lots),
        trades=trades,
        first_id=np.cumsum(trades) - trades + 1,
        buy_volume=first * first_buys + high_amount + last * last_buys + 2 * buy_lots,
        buy_quote=values_of(opened, first * first_buys) + values_of(high, high_amount)
        + values_of(close, last * last_buys) + values_of(high + low, buy_lots),
    )  # fmt: skip
    return Minutes(
        bars, first, high_amount.astype(np.int64), low_amount.astype(np.int64), last,
        first_buys, last_buys, buy_lots, lots - buy_lots,
    )  # fmt: skip


def _whole(values: FloatArray, digits: int) -> IntArray:
    return np.rint(values * 10.0**digits).astype(np.int64)
