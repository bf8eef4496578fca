"""Writes the candles of the stream into the database, and refuses rows that are not sound.

The forming candle is replaced with every frame, and committed at once. It is closed by the
exchange's mark that it is final, or by REST: a later candle on the stream does not prove that the
last frame of the candle before has arrived.
"""

import asyncio
from typing import Final

from onetape.core.candles import Candle, find_candle_fault
from onetape.core.clock import Clock
from onetape.core.untraded import find_untraded_rows
from onetape.exchange.rest import RestExchange
from onetape.store.candles import is_proven_closed, replace_forming
from onetape.store.quarantine import quarantine_row
from onetape.store.reading import has_volume, read_closed_between
from onetape.store.stream_closes import store_marked
from onetape.websocket.events import CandleUpdate
from trader.gap_backfiller import GapBackfiller
from trader.session_context import SessionContext

#: A candle may open this long after now, wall seconds, because the computer's clock may be slow.
CLOCK_TOLERANCE_SECONDS: Final = 60.0


class StreamCandleWriter:
    """Writes the candles of one series; `StreamRecorder` handles connections and gaps."""

    def __init__(
        self, context: SessionContext, exchange: RestExchange, gap_backfiller: GapBackfiller
    ) -> None:
        """Initialise; nothing is read or written yet.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock has the market time.
            gap_backfiller: Its event `closed` is set when a candle was closed or a new one began.
        """
        self._context = context
        self._exchange = exchange
        self._gap_backfiller = gap_backfiller
        self._newest = 0
        """Open of the newest candle of the connection, epoch seconds; 0 before the first."""
        self._newest_is_closed = False
        """Whether the exchange has marked that candle as final."""
        self.has_marks = False
        """Whether the exchange has marked a candle as final in this session."""
        self.ended = asyncio.Event()
        """Set when a candle has ended without a mark, so that REST must close it.

        The task that waits for it clears it.
        """

    def start_connection(self) -> None:
        """Note that the next rows are the first ones of a new connection."""
        self._newest = 0

    def select_sound(self, rows: tuple[Candle, ...]) -> tuple[tuple[Candle, ...], str | None]:
        """Return the rows that may be stored and traded on; the others are stored as quarantine.

        Args:
            rows: Candles of a frame, oldest first.

        Returns:
            The sound rows in their order, and the fault of the last row that is not sound, or None.
        """
        context, newest_fault = self._context, None
        sound: list[Candle] = []
        for row in rows:
            fault = find_candle_fault(row, context.timeframe) or self._find_wrong_time(row)
            if fault is None:
                sound.append(row)
                continue
            newest_fault, now_ms = fault, self._exchange.now_ms()
            quarantine_row(
                context.store, context.key, row, source="ws", fault=fault, seen_ms=now_ms
            )
        return tuple(sound), newest_fault

    def is_gap_before(self, rows: tuple[Candle, ...]) -> bool:
        """Return whether a candle is missing between the newest row and `rows`, or among `rows`."""
        last = self._newest
        for row in rows:
            if last and row.timestamp > self._context.timeframe.next(last):
                return True
            last = max(last, row.timestamp)
        return False

    def has_missed_trades(self, rows: tuple[Candle, ...]) -> bool:
        """Return whether trades passed in candles that the stream left out before `rows`.

        Call it once REST has filled the gap before them.

        Args:
            rows: Candles of the stream, oldest first.
        """
        context, start = self._context, self._context.timeframe.next(self._newest)
        found = read_closed_between(context.store, context.key, start, rows[-1].timestamp)
        untraded = find_untraded_rows(found, has_volume=has_volume(context.store, context.key))
        seen = {row.timestamp for row in rows}
        return not seen.issuperset(found.timestamp[~untraded].tolist())

    def write(self, update: CandleUpdate) -> None:
        """Store the candles of a frame; they must be sound and without a gap before them."""
        for row in update.rows:
            self._write_row(row, is_marked=row.timestamp in update.closed)

    def _write_row(self, row: Candle, *, is_marked: bool) -> None:
        """Store one candle: closed if it is marked as final and has ended, otherwise as forming."""
        context, opened = self._context, row.timestamp
        if opened > self._newest > 0 and not self._newest_is_closed:
            self.ended.set()
        now_ms = self._exchange.now_ms()
        if is_marked and self._has_ended(opened, now_ms):
            self.has_marks = self._gap_backfiller.expects_marks = True
            store_marked(context.store, context.key, row, closed_ms=now_ms)
            self._gap_backfiller.closed.set()
        elif opened < self._newest and is_proven_closed(context.store, context.key, opened):
            # A late frame of a candle that is proven already.
            return
        else:
            replace_forming(context.store, context.key, row, seen_ms=now_ms)
        if opened > self._newest:
            # The open of a new candle fills orders that were decided on the candle before.
            self._gap_backfiller.closed.set()
        if opened >= self._newest:
            self._newest, self._newest_is_closed = opened, is_marked

    def _find_wrong_time(self, row: Candle) -> str | None:
        """Return the fault of a row's time, which could close candles or fill an order; or None."""
        context = self._context
        now_ms = self._exchange.now_ms()
        ahead_ms = row.timestamp * 1_000 - now_ms
        if self._exchange.clock.wall_seconds(ahead_ms) > CLOCK_TOLERANCE_SECONDS:
            return "time is in the future"
        if row.timestamp < context.timeframe.shift(now_ms // 1_000, -context.window):
            return "time is long past"
        return None

    def _has_ended(self, opened: int, now_ms: int) -> bool:
        """Return whether a candle that is marked as final has ended by the market time."""
        length_ms = (self._context.timeframe.next(opened) - opened) * 1_000
        return has_ended(length_ms, now_ms - opened * 1_000, self._exchange.clock)


def has_ended(length_ms: int, age_ms: int, clock: Clock) -> bool:
    """Return whether a candle may have ended, if the computer's clock is up to 60 s slow.

    For short candles the tolerance is a tenth of their length.

    Args:
        length_ms: Market time from the open to the end of the candle, milliseconds.
        age_ms: Market time from the open until now, milliseconds.
        clock: Converts market time to wall time.
    """
    # A candle of a minute cannot be over in its middle.
    tolerance = min(CLOCK_TOLERANCE_SECONDS, clock.wall_seconds(length_ms) / 10)
    return clock.wall_seconds(length_ms - age_ms) <= tolerance
