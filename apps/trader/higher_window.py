"""Higher-timeframe candles for a strategy that needs them, the same as in the backtester.

Past candles come over REST with the warm-up. Candles that end while the trader runs are built from
the candles of the traded timeframe, because no exchange has them at the moment of their end. Built
candles are stored, so that a later backtest of the database gets the candles that were decided on.
"""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange
from onetape.history.gaps import DECIDING_RESPONSES, fetch_and_record_gaps, find_due_gaps
from onetape.store.higher_candles import (
    HigherTimeframeCandles,
    read_higher_candles,
    store_built_candles,
)
from onetape.strategies import Higher, HigherCandles, align_higher_candles
from onetape.strategies.lookback_window import compute_window_size
from trader.session_context import SessionContext
from trader.window import describe_warmup_wait


class MissingHigherCandles(Struct, frozen=True):
    """Texts about missing higher-timeframe candles; empty: none is missing."""

    gate: str = ""
    """Verdict of the gate `higher timeframes`, which forbids an entry."""
    wait: str = ""
    """Text with the time from which orders are possible again."""


def select_higher_candles(
    context: SessionContext, candles: Candles, *, seen_ms: int
) -> tuple[Higher, MissingHigherCandles]:
    """Return the higher-timeframe candles for a window of candles, and texts on missing ones.

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
    for higher_timeframe in context.higher_timeframes:
        start = _compute_first_needed(context, higher_timeframe, int(candles.timestamp[0]))
        end = context.timeframe.next(int(candles.timestamp[-1]))
        known = read_higher_candles(context.store, context.key, higher_timeframe, start, end)
        store_built_candles(context.store, known, seen_ms=seen_ms)
        if known.missing:
            # For a decision, as with traded candles; not stored, because the missing ones may still
            # arrive.
            known = read_higher_candles(
                context.store,
                context.key,
                higher_timeframe,
                start,
                end,
                responses=DECIDING_RESPONSES,
            )
        present = known.candles
        if known.gaps:
            present = present[int(np.searchsorted(present.timestamp, known.gaps[-1][1])) :]
        found[higher_timeframe.name] = align_higher_candles(
            candles, context.timeframe, present, higher_timeframe
        )
        if not absent.gate:
            absent = _find_missing_candles(context, known, higher_timeframe)
    return found, absent


async def fetch_higher_warm_up(context: SessionContext, exchange: RestExchange, end: int) -> None:
    """Fetch and store the closed higher-timeframe candles that the strategy needs.

    Args:
        context: Context of the traded symbol.
        exchange: Exchange of the candles.
        end: Open of the newest traded candle, epoch seconds.

    Raises:
        ExchangeUnreachable: no usable response.
        ExchangeRefused: the exchange has no candles of that length.
    """
    for higher_timeframe in context.higher_timeframes:
        exchange.check_timeframe(higher_timeframe.name)
        key = replace(context.key, timeframe=higher_timeframe.name)
        first_open = context.timeframe.shift(end, 1 - context.window)
        start = _compute_first_needed(context, higher_timeframe, first_open)
        # Forming candles, and those that REST does not have yet, are built from traded candles.
        stop = higher_timeframe.floor(end)
        await fetch_and_record_gaps(exchange, context.store, key, start=start, end=stop)


def is_higher_fetch_due(context: SessionContext, end: int, now_ms: int) -> bool:
    """Return whether a higher-timeframe candle that the exchange left out is fetched again.

    Args:
        context: Context of the traded symbol.
        end: Open of the newest traded candle, epoch seconds.
        now_ms: Market time, epoch milliseconds.
    """
    for higher_timeframe in context.higher_timeframes:
        key = replace(context.key, timeframe=higher_timeframe.name)
        start = _compute_first_needed(
            context, higher_timeframe, context.timeframe.shift(end, 1 - context.window)
        )
        if find_due_gaps(context.store, key, start, higher_timeframe.floor(end), now_ms=now_ms):
            return True
    return False


def compute_higher_starts(context: SessionContext, first_open: int) -> list[tuple[SeriesKey, int]]:
    """Return each higher-timeframe series with its first needed candle.

    Args:
        context: Context of the traded symbol.
        first_open: Open of the first traded candle of the window, epoch seconds.
    """
    return [
        (
            replace(context.key, timeframe=higher_timeframe.name),
            _compute_first_needed(context, higher_timeframe, first_open),
        )
        for higher_timeframe in context.higher_timeframes
    ]


def compute_first_traded(context: SessionContext, newest: int) -> int:
    """Return where the candles begin that the forming higher-timeframe candles are built from.

    Args:
        context: Context of the traded symbol.
        newest: Open of the newest traded candle, epoch seconds.

    Returns:
        Open of a candle of the traded timeframe, epoch seconds; `newest` without higher timeframes.
    """
    return min([newest, *(one.floor(newest) for one in context.higher_timeframes)])


def _compute_first_needed(
    context: SessionContext, higher_timeframe: Timeframe, first_open: int
) -> int:
    count = compute_window_size(context.strategy.higher_lookback)
    return max(0, higher_timeframe.shift(first_open, -count))


def _find_missing_candles(
    context: SessionContext, known: HigherTimeframeCandles, higher_timeframe: Timeframe
) -> MissingHigherCandles:
    """Return the texts about missing candles; candles before the first of a market do not count."""
    if not len(known.candles):
        return MissingHigherCandles(f"no {higher_timeframe.name} candle is known yet")
    if not known.gaps:
        return MissingHigherCandles()
    count = compute_window_size(context.strategy.higher_lookback)
    full = context.timeframe.shift(higher_timeframe.shift(known.gaps[-1][1], count), context.window)
    traded = format_count(context.window, "traded candle")
    warm_up = f"{count} {higher_timeframe.name} candles and {traded}"
    return MissingHigherCandles(
        f"{higher_timeframe.name} candles missing from {format_utc(known.gaps[0][0])}",
        describe_warmup_wait(higher_timeframe, known.gaps[-1], full, warm_up),
    )
