"""A market of recorded candles; the trades inside each candle are invented to fit it.

The trades of a candle begin at its open, reach high and low and end at its close, and sum up to its
volume. They are a function of seed, symbol and candle. Candles of the recorded timeframe are those
of the file; higher timeframes are built from them, lower ones from the invented trades. During a
gap of the file there are no trades and no events. A candle with volume 0 whose price moved has no
trades: it is flat at its open until its last minute, whose bar has the recorded prices.
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
    compute_opens,
    compute_values,
    concat_bars,
    flatten_untraded_bars,
    group_bars,
)
from onetape.simulator.market.minutes import Minutes
from onetape.simulator.market.price_moves import PriceMove
from onetape.simulator.market.prng import IntArray, extract_16_bits, hash_indices, make_key
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.market.trades import NO_TRADES, Trades, make_bar_trades
from onetape.simulator.recorded.replay import RecordedSeries, Replay

#: Number of candles whose trades, and whose minutes, are cached.
MAX_CACHED_CANDLES: Final = 1_024
#: Pairs of trades in a candle: two a minute, and no more than this.
MAX_PAIRS: Final = 1_440
T = TypeVar("T")


class ReplayMarket(SimulatedMarket):
    """The market of a file. Before its first and after its last candle there are no trades."""

    def __init__(self, seed: int, replay: Replay) -> None:
        """Take the recorded candles; the seed decides the trades inside them."""
        super().__init__(seed, tuple(one.symbol for one in replay.series))
        self._series = {one.symbol.id: one for one in replay.series}
        self._recorded = {one.symbol.id: _make_candle_parts(seed, one) for one in replay.series}
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

    def get_smallest_timeframe(self, symbol: SpotSymbol) -> Timeframe:
        """Return the timeframe that was recorded."""
        return self._series[symbol.id].timeframe

    def get_bars(self, symbol: SpotSymbol, timeframe: Timeframe, start: int, end: int) -> Bars:
        """Return whole bars that open in `[start, end)`, epoch seconds, whatever the time is."""
        recorded = self._recorded[symbol.id].bars
        base = self._series[symbol.id].timeframe
        first = timeframe.ceil(max(start, timeframe.floor(symbol.listed)))
        last = timeframe.ceil(min(end, self.get_end(symbol)))
        if first >= last:
            return NO_BARS
        if timeframe.name == base.name:
            return recorded.select_between(first, last)
        if timeframe.is_month or timeframe.seconds % base.seconds == 0:
            small = recorded.select_between(first, last)
        else:
            small = self._get_minute_bars(symbol, first, last)
        opens = compute_opens(timeframe, first, last)
        return group_bars(small, opens, has_volume=self._has_volume[symbol.id])

    def get_forming_bar(self, symbol: SpotSymbol, timeframe: Timeframe, now_ms: int) -> Bars:
        """Return the one bar that holds the moment `now_ms`, as far as it has formed.

        Empty where no part of the bar was recorded.
        """
        now = now_ms // 1_000
        base = self._series[symbol.id].timeframe
        opened, candle = timeframe.floor(now), base.floor(now)
        parts: list[Bars] = []
        if opened < candle:
            parts.append(self._recorded[symbol.id].bars.select_between(opened, candle))
        recorded = self._get_candle(symbol, candle)
        if len(recorded):
            start = max(opened, candle)
            parts.append(self._make_running_bar(symbol, recorded, start, now_ms))
        opens = np.array([opened], dtype=np.int64)
        return group_bars(concat_bars(parts), opens, has_volume=self._has_volume[symbol.id])

    def get_end(self, symbol: SpotSymbol) -> int:
        """Return the first moment after the last candle, epoch seconds."""
        series = self._series[symbol.id]
        return series.timeframe.next(int(series.candles.timestamp[-1]))

    def is_without_events(self, now: int, symbol: SpotSymbol | None = None) -> bool:
        """Return whether `now`, epoch seconds, falls into a gap between recorded candles.

        Args:
            now: The moment.
            symbol: Market of the candles; None: whether every market has a gap.
        """
        symbols = self.symbols if symbol is None else (symbol,)
        return all(
            self.is_open(each, now)
            and not len(self._get_candle(each, self._series[each.id].timeframe.floor(now)))
            for each in symbols
        )

    def get_trades(self, symbol: SpotSymbol, minute: int) -> Trades:
        """Return all trades of the minute that opens at `minute`, epoch seconds."""
        candle = self._series[symbol.id].timeframe.floor(minute)
        return self._get_candle_trades(symbol, candle).select_within(
            minute * 1_000, (minute + 60) * 1_000
        )

    def get_last_trades(self, symbol: SpotSymbol, now_ms: int) -> Trades:
        """Return the trades up to and including `now_ms` of the last minute that has any."""
        bars = self._recorded[symbol.id].bars
        row = int(np.searchsorted(bars.timestamp, now_ms // 1_000, side="right")) - 1
        traded = np.flatnonzero(bars.volume[: row + 1])
        if not len(traded):
            return NO_TRADES
        # The first trade of a candle comes at its open.
        trades = self._get_candle_trades(symbol, int(bars.timestamp[traded[-1]])).select_until(
            now_ms
        )
        minute_ms = int(trades.time_ms[-1]) // 60_000 * 60_000
        return trades.select_within(minute_ms, minute_ms + 60_000)

    def prepare_last_day(self, symbols: Sequence[SpotSymbol], now_ms: int) -> None:
        """Do nothing: recorded candles need no computation."""

    def _get_candle(self, symbol: SpotSymbol, opened: int) -> Bars:
        return self._recorded[symbol.id].bars.select_between(opened, opened + 1)

    def _get_candle_trades(self, symbol: SpotSymbol, opened: int) -> Trades:
        """Return all trades of a recorded candle; empty for a minute without a candle."""
        key = (symbol.id, opened)
        found = self._candle_trades.get(key)
        if found is None:
            parts = self._recorded[symbol.id]
            row = int(np.searchsorted(parts.bars.timestamp, opened))
            candle = parts[row : row + 1]
            found = NO_TRADES
            if len(candle.bars) and int(candle.bars.timestamp[0]) == opened:
                length = self._series[symbol.id].timeframe.seconds
                found = make_bar_trades(
                    candle, make_key(self.seed, symbol.id, "replay", opened), length
                )
            _add_to_cache(self._candle_trades, key, found)
        return found

    def _make_running_bar(
        self, symbol: SpotSymbol, recorded: Bars, start: int, now_ms: int
    ) -> Bars:
        """Return the bar from `start` to `now_ms` inside a recorded candle."""
        opened = int(recorded.timestamp[0])
        if not recorded.volume[0]:
            end_ms = (opened + self.get_smallest_timeframe(symbol).seconds) * 1_000
            return _make_part_without_trades(recorded, start, is_over=now_ms >= end_ms - 1_000)
        trades = self._get_candle_trades(symbol, opened).select_until(now_ms)
        inside = trades.select_within(start * 1_000, now_ms + 1)
        if len(inside):
            return inside.make_bar(start)
        return _make_flat_bar(start, int(trades.price[-1]), int(trades.id[-1]) + 1)

    def _get_minute_bars(self, symbol: SpotSymbol, start: int, end: int) -> Bars:
        base = self._series[symbol.id].timeframe
        recorded = self._recorded[symbol.id].bars.select_between(base.floor(start), end)
        if base.name == "1m":
            return recorded.select_between(start, end)
        rows = [
            self._get_candle_minutes(symbol, recorded[row : row + 1])
            for row in range(len(recorded))
        ]
        return concat_bars(rows).select_between(start, end)

    def _get_candle_minutes(self, symbol: SpotSymbol, recorded: Bars) -> Bars:
        """Return the minutes of one recorded candle: those of its trades, flat where none are."""
        opened = int(recorded.timestamp[0])
        key = (symbol.id, opened)
        found = self._candle_minutes.get(key)
        if found is None:
            minutes = np.arange(
                opened, opened + self.get_smallest_timeframe(symbol).seconds, 60, dtype=np.int64
            )
            if recorded.volume[0]:
                found = _make_minutes_from_trades(self._get_candle_trades(symbol, opened), minutes)
            else:
                *before, last = minutes.tolist()
                flat = [
                    _make_part_without_trades(recorded, minute, is_over=False) for minute in before
                ]
                found = concat_bars(
                    [*flat, _make_part_without_trades(recorded, last, is_over=True)]
                )
            _add_to_cache(self._candle_minutes, key, found)
        return found


def _add_to_cache(cache: "OrderedDict[tuple[str, int], T]", key: tuple[str, int], value: T) -> None:
    cache[key] = value
    if len(cache) > MAX_CACHED_CANDLES:
        cache.popitem(last=False)


def _make_part_without_trades(recorded: Bars, timestamp: int, *, is_over: bool) -> Bars:
    """Return a part of a recorded bar with volume 0: flat at its open until it is over."""
    if is_over:
        return replace(recorded, timestamp=np.array([timestamp], dtype=np.int64))
    return _make_flat_bar(timestamp, int(recorded.open[0]), int(recorded.first_id[0]))


def _make_flat_bar(timestamp: int, price: int, first_id: int) -> Bars:
    cells = (timestamp, price, price, price, price, 0, 0, 0, first_id, 0, 0)
    return Bars(*(np.array([cell], dtype=np.int64) for cell in cells))


def _make_minutes_from_trades(trades: Trades, minutes: IntArray) -> Bars:
    """Return a bar for each minute, flat where it has no trade; the first minute has one."""
    value = compute_values(trades.price, trades.amount)
    each = Bars(
        trades.time_ms // 1_000,
        trades.price, trades.price, trades.price, trades.price,
        trades.amount, value, np.ones(len(trades), dtype=np.int64), trades.id,
        trades.amount * trades.buys, value * trades.buys,
    )  # fmt: skip
    traded = group_bars(each, minutes)
    # For each minute the last traded one at or before it.
    source = np.searchsorted(traded.timestamp, minutes, side="right") - 1
    picked = Bars(*(column[source] for column in traded.get_columns()))
    return flatten_untraded_bars(picked, minutes, picked.timestamp != minutes)


def _make_candle_parts(seed: int, series: RecordedSeries) -> Minutes:
    """Return recorded candles in ticks and steps, with amounts for the trades inside them."""
    symbol, candles = series.symbol, series.candles
    opened, high, low, close = (
        _scale_to_integers(column, symbol.price_digits)
        for column in (candles.open, candles.high, candles.low, candles.close)
    )
    volume = _scale_to_integers(candles.volume, symbol.amount_digits)
    most_pairs = min(2 * (series.timeframe.seconds // 60), MAX_PAIRS)
    noise = hash_indices(make_key(seed, symbol.id, "amounts"), candles.timestamp)
    # Four trades are at open, high, low and close, if the volume is enough; all others are pairs.
    pairs = np.clip((volume - 4) // 2, 0, most_pairs)
    single = np.where(volume >= 4, np.maximum(volume // (2 * pairs + 4), 1), 0)
    lots = np.where(volume >= 4, (volume - 4 * single) // 2, 0)
    first = np.where(volume >= 4, volume - 3 * single - 2 * lots, np.minimum(volume, 1))
    is_high_beyond = high > np.maximum(opened, close)
    high_amount = np.where(volume >= 4, single, (volume == 3) & is_high_beyond)
    low_amount = np.where(volume >= 4, single, (volume == 3) & ~is_high_beyond)
    last = np.where(volume >= 4, single, np.where(volume >= 2, 1, 0))
    buy_pairs = pairs // 2
    buy_lots = np.where(buy_pairs > 0, np.clip(lots // 2, buy_pairs, lots - (pairs - buy_pairs)), 0)
    first_buys, last_buys = (extract_16_bits(noise, 0) & 1) == 1, close >= opened
    trades = 2 * pairs
    for amount in (first, high_amount, low_amount, last):
        trades = trades + (amount > 0)
    bars = Bars(
        timestamp=candles.timestamp,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        quote=compute_values(opened, first)
        + compute_values(high, high_amount)
        + compute_values(low, low_amount)
        + compute_values(close, last) + compute_values(high + low, lots),
        trades=trades,
        first_id=np.cumsum(trades) - trades + 1,
        buy_volume=first * first_buys + high_amount + last * last_buys + 2 * buy_lots,
        buy_quote=compute_values(opened, first * first_buys) + compute_values(high, high_amount)
        + compute_values(close, last * last_buys) + compute_values(high + low, buy_lots),
    )  # fmt: skip
    return Minutes(
        bars, first, high_amount.astype(np.int64), low_amount.astype(np.int64), last,
        first_buys, last_buys, buy_lots, lots - buy_lots,
    )  # fmt: skip


def _scale_to_integers(values: FloatArray, digits: int) -> IntArray:
    return np.rint(values * 10.0**digits).astype(np.int64)
