"""Candles of higher timeframes and other markets for a strategy, the same as in the backtester.

Past candles of a higher timeframe come over REST with the warm-up. Candles that end while the
trader runs are built from the candles of the traded timeframe, because no exchange has them at the
moment of their end. Built candles are stored, so that a later backtest of the database gets the
candles that were decided on. Candles of other markets are fetched by `informative_fetchers`.
"""

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.exchange.rest import RestExchange
from onetape.history.gaps import DECIDING_RESPONSES, fetch_and_record_gaps, find_due_gaps
from onetape.store.higher_candles import (
    HigherTimeframeCandles,
    read_higher_candles,
    store_built_candles,
)
from onetape.strategies import Higher, HigherCandles, InputSeries, align_higher_candles
from onetape.strategies.lookback_window import compute_window_size
from trader.session_context import SessionContext
from trader.window import describe_warmup_wait


class MissingHigherCandles(Struct, frozen=True):
    """Texts about missing candles of higher timeframes and other markets; empty: none missing."""

    gate: str = ""
    """Verdict of the gate `higher timeframes`, which forbids an entry."""
    wait: str = ""
    """Text with the time from which orders are possible again."""
    market_gate: str = ""
    """Verdict of the gate `other markets`, which forbids an entry."""

    def add(self, found: "MissingHigherCandles") -> "MissingHigherCandles":
        """Return both texts of a kind as one: the first that is not empty."""
        return MissingHigherCandles(
            self.gate or found.gate, self.wait or found.wait, self.market_gate or found.market_gate
        )


def select_higher_candles(
    context: SessionContext, candles: Candles, *, seen_ms: int
) -> tuple[Higher, MissingHigherCandles]:
    """Return the candles that a strategy reads in addition to a window, and texts on missing ones.

    Candles before an unexplained gap are left out. Candles that were built are stored.

    Args:
        context: Context of the traded symbol.
        candles: Candles of the traded timeframe that the strategy is given.
        seen_ms: Market time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read, or built candles cannot be written.
    """
    found: dict[str, HigherCandles] = {}
    absent = MissingHigherCandles()
    for series in context.strategy.inputs:
        key = series.make_base_key(context.key)
        start = _compute_first_needed(context, series, int(candles.timestamp[0]))
        end = context.timeframe.next(int(candles.timestamp[-1]))
        known = read_higher_candles(context.store, key, series.timeframe, start, end)
        store_built_candles(context.store, known, seen_ms=seen_ms)
        if known.missing:
            # For a decision, as with traded candles; not stored, because the missing ones may still
            # arrive.
            known = read_higher_candles(
                context.store, key, series.timeframe, start, end, responses=DECIDING_RESPONSES
            )
        present = known.candles
        if known.gaps:
            present = present[int(np.searchsorted(present.timestamp, known.gaps[-1][1])) :]
        symbol = key.symbol if series.is_other_market else ""
        found[series.name] = align_higher_candles(
            candles, context.timeframe, present, series.timeframe, symbol
        )
        absent = absent.add(_find_missing_candles(context, known, series))
    return found, absent


def find_late_markets(context: SessionContext, timestamp: int) -> list[str]:
    """Return candles of other markets that a decision needs and that are not stored.

    A candle that enough responses of the exchange have left out is not missing. Of several missing
    candles of a market the newest is named.

    Args:
        context: Context of the traded symbol.
        timestamp: Open of the traded candle to decide on, epoch seconds.

    Returns:
        Names of the missing candles for output, such as `BTC/USDT 1h candle of 2024-03-01 10:00`.

    Raises:
        StoreError: the file cannot be read.
    """
    end, late = context.timeframe.next(timestamp), list[str]()
    first_open = context.timeframe.shift(timestamp, 1 - context.window)
    for series in context.other_markets:
        start = _compute_first_needed(context, series, first_open)
        key = series.make_base_key(context.key)
        known = read_higher_candles(
            context.store, key, series.timeframe, start, end, responses=DECIDING_RESPONSES
        )
        # The time before a market's first candle is no gap; without any candle all are missing.
        missing = known.gaps if len(known.candles) else known.missing
        if missing:
            newest = series.timeframe.shift(missing[-1][1], -1)
            late.append(f"{series.make_label(context.key)} candle of {format_utc(newest)}")
    return late


async def fetch_higher_warm_up(context: SessionContext, exchange: RestExchange, end: int) -> None:
    """Fetch and store the closed candles of higher timeframes that the strategy needs.

    Args:
        context: Context of the traded symbol.
        exchange: Exchange of the candles.
        end: Open of the newest traded candle, epoch seconds.

    Raises:
        ExchangeUnreachable: no usable response.
        ExchangeRefused: the exchange has no candles of that length.
    """
    for series in context.higher_timeframes:
        exchange.check_timeframe(series.timeframe.name)
        first_open = context.timeframe.shift(end, 1 - context.window)
        start = _compute_first_needed(context, series, first_open)
        # Forming candles, and those that REST does not have yet, are built from traded candles.
        stop = series.timeframe.floor(end)
        key = series.make_key(context.key)
        await fetch_and_record_gaps(exchange, context.store, key, start=start, end=stop)


def is_higher_fetch_due(context: SessionContext, end: int, now_ms: int) -> bool:
    """Return whether a higher-timeframe candle that the exchange left out is fetched again.

    Args:
        context: Context of the traded symbol.
        end: Open of the newest traded candle, epoch seconds.
        now_ms: Market time, epoch milliseconds.
    """
    for series in context.higher_timeframes:
        key = series.make_key(context.key)
        start = _compute_first_needed(
            context, series, context.timeframe.shift(end, 1 - context.window)
        )
        if find_due_gaps(context.store, key, start, series.timeframe.floor(end), now_ms=now_ms):
            return True
    return False


def compute_higher_starts(context: SessionContext, first_open: int) -> list[tuple[SeriesKey, int]]:
    """Return each series that the strategy reads in addition, with its first needed candle.

    Args:
        context: Context of the traded symbol.
        first_open: Open of the first traded candle of the window, epoch seconds.
    """
    return [
        (series.make_key(context.key), _compute_first_needed(context, series, first_open))
        for series in context.strategy.inputs
    ]


def compute_first_traded(context: SessionContext, newest: int) -> int:
    """Return where the candles begin that the forming higher-timeframe candles are built from.

    Args:
        context: Context of the traded symbol.
        newest: Open of the newest traded candle, epoch seconds.

    Returns:
        Open of a candle of the traded timeframe, epoch seconds; `newest` without higher timeframes.
    """
    return min([newest, *(one.timeframe.floor(newest) for one in context.higher_timeframes)])


def _compute_first_needed(context: SessionContext, series: InputSeries, first_open: int) -> int:
    count = compute_window_size(context.strategy.higher_lookback)
    return max(0, series.timeframe.shift(first_open, -count))


def _find_missing_candles(
    context: SessionContext, known: HigherTimeframeCandles, series: InputSeries
) -> MissingHigherCandles:
    """Return the texts about missing candles; candles before the first of a market do not count."""
    label = series.make_label(context.key)
    if not len(known.candles):
        return _make_missing(series, f"no {label} candle is known yet")
    if not known.gaps:
        return MissingHigherCandles()
    count = compute_window_size(context.strategy.higher_lookback)
    full = context.timeframe.shift(series.timeframe.shift(known.gaps[-1][1], count), context.window)
    traded = format_count(context.window, "traded candle")
    warm_up = f"{count} {label} candles and {traded}"
    return _make_missing(
        series,
        f"{label} candles missing from {format_utc(known.gaps[0][0])}",
        describe_warmup_wait(label, known.gaps[-1], full, warm_up),
    )


def _make_missing(series: InputSeries, gate: str, wait: str = "") -> MissingHigherCandles:
    if series.is_other_market:
        return MissingHigherCandles("", wait, gate)
    return MissingHigherCandles(gate, wait)
