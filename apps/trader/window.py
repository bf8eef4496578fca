"""The window of a decision: the closed candles after the last unexplained gap.

After such a gap no order is made until the warm-up is full again.
"""

from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import Candles
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.history.gaps import DECIDING_RESPONSES
from onetape.store.candles import find_series_gaps, read_closed_timestamps, read_last_closed
from onetape.store.gaps import find_unexplained
from trader.session_context import SessionContext

#: Maximum number of closed candles that are evaluated and decided on in one go.
MOST_ROWS: Final = 1_000


class WarmupGaps(Struct, frozen=True):
    """Unexplained gaps in the candles that one decision needs."""

    missing: list[tuple[int, int]]
    """Half-open ranges of missing opens, epoch seconds, oldest first; they forbid an order."""
    wait: str
    """Text with the time from which orders are possible again; empty: no candle is missing."""


class DecisionWindow(Struct, frozen=True):
    """The strategy's input for one or more decisions."""

    candles: Candles
    """The last closed candles, those after the last unexplained gap only, oldest first."""
    warmups: list[WarmupGaps]
    """Gaps of the warm-up for each candle that is decided on, oldest first."""


def read_decision_window(context: SessionContext, timestamp: int, rows: int = 1) -> DecisionWindow:
    """Read the strategy's input for decisions on one or more candles.

    Args:
        context: Context of the traded symbol.
        timestamp: Open of the newest candle to decide on, epoch seconds; it is closed.
        rows: Number of candles to decide on, without an unexplained gap between them.
    """
    known = read_last_closed(
        context.store, context.key, context.history + rows - 1, up_to=timestamp
    )
    gaps = find_gaps(known.timestamp, context.timeframe, int(known.timestamp[0]), timestamp)
    missing = find_unexplained(context.store, context.key, gaps, responses=DECIDING_RESPONSES)
    after = known[int(np.searchsorted(known.timestamp, missing[-1][0])) :] if missing else known
    first = len(known) - rows + 1 - context.history
    starts = (int(known.timestamp[max(0, first + row)]) for row in range(rows))
    warmups = [
        _make_warmup(context, [gap for gap in missing if gap[0] > start], after) for start in starts
    ]
    return DecisionWindow(after[-(context.window + rows - 1) :], warmups)


def find_next_candles(context: SessionContext, decided: int | None) -> list[int]:
    """Return the closed candles to decide on next, oldest first, epoch seconds.

    The candles end before the first gap: later ones wait until the gap is filled or explained.

    Args:
        context: Context of the traded symbol.
        decided: Open of the candle that was decided on last, epoch seconds, or None.
    """
    fresh = read_closed_timestamps(context.store, context.key, after=decided or 0)
    if decided is not None and fresh:
        start = context.timeframe.next(decided)
        if fresh[-1] == start:
            return fresh
        gaps = find_series_gaps(context.store, context.key, start, fresh[-1])
        missing = find_unexplained(context.store, context.key, gaps, responses=DECIDING_RESPONSES)
        fresh = [timestamp for timestamp in fresh if not missing or timestamp < missing[0][0]]
    return fresh[:MOST_ROWS]


def _make_warmup(
    context: SessionContext, missing: list[tuple[int, int]], after: Candles
) -> WarmupGaps:
    if not missing:
        return WarmupGaps([], "")
    full = context.timeframe.shift(int(after.timestamp[0]), context.history)
    warm_up = format_count(context.history, "candle")
    label = context.timeframe.name
    return WarmupGaps(missing, describe_warmup_wait(label, missing[-1], full, warm_up))


def describe_warmup_wait(label: str, gap: tuple[int, int], full: int, warm_up: str) -> str:
    """Return a text with the time from which orders are possible after a gap.

    Args:
        label: Name of the series of the missing candles, such as `1h` or `BTC/USDT 1h`.
        gap: Half-open range of their opens, epoch seconds.
        full: Earliest time at which the warm-up is full, epoch seconds.
        warm_up: Description of the warm-up, such as `200 candles`.
    """
    start, end = (format_utc(moment) for moment in gap)
    return (
        f"{label} candles missing, cause unknown, {start} to {end}: no orders before "
        f"{format_utc(full)}, when a warm-up of {warm_up} is full again"
    )
