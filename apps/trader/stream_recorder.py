"""Handles the events of one series' stream: stores them, and notes when the market is watched.

Candles that come after a gap are held back until REST has filled the gap; then `stream_candles`
writes them. `ticker_recorder` writes the best prices. The watch (`stream_watch.StreamWatch`) begins
when the gap is filled, and ends with the connection, a stall of the thread, or frames that cannot
be used.
"""

import asyncio
import contextlib

from msgspec import structs

from onetape.cli.output import print_line
from onetape.cli.stop import cancel_and_wait
from onetape.core.candles import Candle
from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.core.message_text import format_count, format_duration
from onetape.exchange.rest import RestExchange
from onetape.store.sessions import close_data_outages, open_data_outage
from onetape.websocket.events import (
    CandleUpdate,
    StreamEvent,
    StreamLost,
    StreamOpened,
    StreamQuiet,
    TickerUpdate,
    TradeUpdate,
)
from trader.gap_backfiller import NEVER, GapBackfiller
from trader.market_guard import fetch_and_check_market
from trader.session_context import SessionContext
from trader.stalls import StallWatch, get_computer_seconds
from trader.stream_candles import StreamCandleWriter
from trader.stream_lines import QuietLines, format_source_line
from trader.stream_watch import StreamWatch, make_stream_watch
from trader.ticker_recorder import TickerRecorder

#: Time in which a position may be sold at the price of a frame that waits for REST, seconds.
FRESH_SECONDS = 5.0
#: Time after which the prices of frames that wait for REST are used despite the gap, seconds.
PROMPT_SECONDS = 1.0
#: Time with an unsound newest candle after which the watch of a stream ends, seconds.
UNSOUND_SECONDS = 5.0


class StreamRecorder:
    """Stores the candles and prices of one stream; its methods may be tasks of one event loop."""

    def __init__(
        self, context: SessionContext, exchange: RestExchange, gap_backfiller: GapBackfiller
    ) -> None:
        """Initialise; nothing is read or written yet.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange of the stream, with the market time.
            gap_backfiller: Fills the gap before the first candles of a connection.
        """
        self._context = context
        self._exchange = exchange
        self._gap_backfiller = gap_backfiller
        self._writer = StreamCandleWriter(context, exchange, gap_backfiller)
        self.tickers = TickerRecorder(context, exchange)
        """Stores the best prices and holds the newest."""
        self._connection: int | None = None
        """Connection whose rows may be stored; None: the gap before its rows is not filled yet."""
        self._pending: CandleUpdate | None = None
        """Candles held back until REST has filled the gap before them."""
        self._held_price_seconds: float | None = None
        """Arrival of the newest candle held back, seconds of the computer; None: not known."""
        self._is_rest_away = False
        """Whether REST has failed, or takes long, to fill the gap before the candles held back."""
        self._connecting: asyncio.Task[None] | None = None
        """Task that fills the gap before the candles held back; frames are read meanwhile."""
        self._unsound_since: float | None = None
        """Time since which newest candles are unsound, seconds of the computer; None: sound."""
        self._refused: int | None = None
        """Connection for whose gap the exchange has refused the request; the REST task retries."""
        self._last_frame_ms: int | None = None
        """Market time of the last frame, epoch milliseconds."""
        self._has_outage = False
        """Whether a data outage is stored that has not ended."""
        self._was_live = False
        """Whether the stream was up before in this session."""
        self._quiet_lines = QuietLines()
        self._source_line = ""
        """The line about the source of the candles that was printed last."""
        self._inserted_at_loss = NEVER
        """Candles that REST had added when the stream was lost; `NEVER`: it was not lost."""
        self._suspended: StreamWatch | None = None
        """The watch that ended on a connection that stays; None: it did not end so."""
        self._stalls = StallWatch(exchange.clock)
        self._went_live = asyncio.Event()
        self.watch: StreamWatch | None = None
        """The present watch of the market; None: the stream is down, or its prices are unknown."""
        self.lost_reason = ""
        """Reason of the last loss of the stream; empty before the first loss."""
        self.is_quiet = False
        """Whether no frame arrives and REST has no newer candle either."""

    @property
    def ended(self) -> asyncio.Event:
        """Return the event that is set when a candle ended that REST must close."""
        return self._writer.ended

    @property
    def live(self) -> bool:
        """Return whether the stream is up and the gap before its rows is filled."""
        return self._went_live.is_set()

    @property
    def held_rows(self) -> tuple[Candle, ...]:
        """Return the candles held back while REST does not respond, oldest first."""
        return () if self._pending is None or not self._is_rest_away else self._pending.rows

    @property
    def held_price_row(self) -> Candle | None:
        """Return the candle held back whose close is at most 5 s old, or None."""
        rows, seconds = self.held_rows, self._held_price_seconds
        if not rows or seconds is None or get_computer_seconds() - seconds > FRESH_SECONDS:
            return None
        ended_ms = self._context.timeframe.next(rows[-1].timestamp) * 1_000
        is_over = self._exchange.clock.wall_seconds(self._exchange.now_ms() - ended_ms)
        return rows[-1] if is_over <= FRESH_SECONDS else None

    async def handle(self, event: StreamEvent) -> None:
        """Store the candles or prices of an event, or note a change of the connection.

        A gap is filled over REST first; if that takes more than a second, it goes on in a task, and
        the call returns.

        Raises:
            Exception: an error of that task, at the next call after its end.
        """
        self._take_connection_error()
        self._end_watch_after_stall()
        match event:
            case CandleUpdate():
                await self._store_or_hold_candles(event)
            case TickerUpdate():
                self.tickers.store(event)
                self._note_frame()
            case StreamLost(reason):
                self._note_stream_loss(reason)
            case StreamQuiet(seconds, is_confirmed):
                self._note_quiet(seconds, is_confirmed=is_confirmed)
            case StreamOpened():
                self._print_source(event)
            case TradeUpdate():
                """The trader watches no trades."""

    async def close(self) -> None:
        """End the background tasks; `handle` may be called again."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            await cancel_and_wait(connecting)

    def _note_quiet(self, seconds: float, *, is_confirmed: bool) -> None:
        """Note that no frame arrives.

        Args:
            seconds: Time without a frame.
            is_confirmed: Whether REST has no newer candle; otherwise prices may pass unwatched.
        """
        self.is_quiet = is_confirmed
        if is_confirmed:
            if self._suspended is not None:
                self._watch_again(self._suspended)
            self._quiet_lines.print_quiet(seconds)
            return
        reason = f"no frame for {format_duration(seconds)}, and REST does not respond"
        self._suspend(
            reason,
            "whether anything is traded is not known; "
            "the connection stays, no entries until a frame comes",
        )

    def _suspend(self, reason: str, effect: str) -> None:
        """End the watch, while the connection stays and the present price is not known.

        Args:
            reason: Reason why the market is not known.
            effect: Effect on entries and exits.
        """
        if not self.live:
            return
        self._suspended, self.watch = self.watch, None
        self._went_live.clear()
        self.lost_reason = reason
        self._has_outage = True
        print_line(f"{reason}: {effect}")
        self._open_outage(reason)

    def _watch_again(self, watch: StreamWatch) -> None:
        """Begin a watch on the same connection, after a time without usable frames."""
        self._suspended, self.watch = None, watch
        self._went_live.set()
        self._has_outage = False
        close_data_outages(
            self._context.store, self._context.session.session, to_ms=self._exchange.now_ms()
        )

    def _print_source(self, event: StreamOpened) -> None:
        """Print the source of the candles, if it has changed."""
        line = format_source_line(event)
        if line != self._source_line:
            self._source_line = line
            print_line(line)

    def _note_frame(self) -> None:
        """Note that a frame with a price has arrived."""
        self.is_quiet = False
        self._last_frame_ms = self._exchange.now_ms()

    def note_running(self) -> None:
        """Note that the trading thread runs; call it each second, and before a check for exits.

        After 10 s without a call the watch ends, and begins again when the frames that arrived
        meanwhile are read.
        """
        self._end_watch_after_stall()
        self._stalls.note_running()

    def _end_watch_after_stall(self) -> None:
        """If the thread has stalled, store an outage: prices of that time were not watched."""
        seconds = self._stalls.take_stall()
        is_watched = self.live or self._suspended is not None
        if not seconds or not is_watched:
            return
        self._connection = self.watch = self._suspended = None
        self._went_live.clear()
        self.lost_reason = f"the trader did not run for {format_duration(seconds)}"
        self._has_outage = True
        self._inserted_at_loss = self._gap_backfiller.inserted
        print_line(
            f"{self.lost_reason}: its process was stopped, the computer slept or the disk did not "
            "respond; what passed meanwhile is sold at the next price, no entries until the stream "
            "is read to its end"
        )
        self._open_outage(self.lost_reason)

    async def catch_up(self) -> None:
        """Fill the gap before candles held back, if that has failed before.

        Raises:
            ExchangeRefused: the exchange refused the request.
        """
        self._take_connection_error(is_raised=True)
        if self._connecting is None and self._pending is not None:
            await self._connect(is_prompt=False)

    async def wait_until_live(self, seconds: float) -> None:
        """Wait until the stream is up, at most this long on the wall clock."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._went_live.wait()

    async def _store_or_hold_candles(self, update: CandleUpdate) -> None:
        """Store the candles of a frame, or hold them back and fill the gap before them."""
        rows, fault = self._writer.select_sound(update.rows)
        if fault is not None and not self.live:
            # The stream works, and carries rows that may not be stored.
            self.lost_reason = f"its candles are not sound ({fault})"
        is_newest_sound = bool(rows) and rows[-1] is update.rows[-1]
        self._note_soundness(is_sound=is_newest_sound)
        if not rows:
            return
        if is_newest_sound:
            self._note_frame()
        seconds = update.received_seconds if is_newest_sound else None
        sound = structs.replace(update, rows=rows, received_seconds=seconds)
        is_connected = sound.connection == self._connection and self._connecting is None
        if is_connected and not self._writer.is_gap_before(rows) and not self._stalls.has_backlog:
            self._store_rows(sound)
            return
        # Rows that are written after a gap would hide the gap.
        self._hold(sound)
        if self._connecting is None and self._refused != sound.connection:
            await self._connect(is_prompt=True)

    def _note_soundness(self, *, is_sound: bool) -> None:
        """End the watch if the newest candles of frames are not sound for `UNSOUND_SECONDS`."""
        if is_sound:
            self._unsound_since = None
            return
        now = get_computer_seconds()
        if self._unsound_since is None:
            self._unsound_since = now
        elif now - self._unsound_since >= UNSOUND_SECONDS and self.live:
            self._suspend(
                "the candles of the stream are not sound",
                "the price is not known, see `backfiller quarantine`; the connection stays, no "
                "entries until a sound one comes",
            )

    def _store_rows(self, update: CandleUpdate) -> None:
        """Store candles of the present connection, without a gap before them."""
        if self._suspended is not None and self._unsound_since is None:
            is_current = update.received_seconds is not None
            row = update.rows[-1]
            self._watch_again(make_stream_watch(self._context, row, is_current=is_current))
            print_line("the stream brings frames again")
        self._writer.write(update)

    def _hold(self, update: CandleUpdate) -> None:
        """Hold candles back until REST has filled the gap before them."""
        pending = self._pending
        is_newest = pending is None or update.rows[-1].timestamp >= pending.rows[-1].timestamp
        # After a stall the frames of the stall arrive first: their prices are old.
        if self._stalls.has_backlog or update.received_seconds is None:
            self._held_price_seconds = None
        elif is_newest:
            self._held_price_seconds = update.received_seconds
        self._pending = update if pending is None else pending.merge_with(update)

    async def _connect(self, *, is_prompt: bool) -> None:
        """Fill the gap before the candles held back, and store them.

        Args:
            is_prompt: Whether to wait for `PROMPT_SECONDS` at most, and to go on in a task; frames
                that come meanwhile are held back too.

        Raises:
            ExchangeRefused: the exchange refused the request, and `is_prompt` is False.
        """
        self._connecting = connecting = asyncio.create_task(self._fill_before_pending())
        done, _ = await asyncio.wait({connecting}, timeout=PROMPT_SECONDS)
        self._is_rest_away = self._pending is not None and self._connection is None
        if not done and not is_prompt:
            await asyncio.wait({connecting})
        self._take_connection_error(is_raised=not is_prompt)

    def _take_connection_error(self, *, is_raised: bool = False) -> None:
        """Raise the error of the task that fills the gap, if that task has ended.

        Args:
            is_raised: Whether a refusal is raised too; otherwise the REST task reports it.

        Raises:
            Exception: the error of the task.
        """
        connecting = self._connecting
        if connecting is None or not connecting.done():
            return
        self._connecting = None
        try:
            connecting.result()
        except ExchangeRefused:
            # The socket works, so it stays; the REST task tries again and reports the refusal.
            self._refused = None if self._pending is None else self._pending.connection
            self._gap_backfiller.is_refused = True
            if is_raised:
                raise

    async def _fill_before_pending(self) -> None:
        """Fill the gap before the candles held back; if that succeeds, store the candles."""
        pending = self._pending
        if pending is None or self._stalls.has_backlog:
            return
        is_new = pending.connection != self._connection
        if is_new or self._writer.is_gap_before(pending.rows):
            await self._fill_and_go_live(pending.connection, is_new=is_new)
        pending = self._pending
        if pending is None or self._connection != pending.connection:
            return
        self._pending, self._is_rest_away = None, False
        self._store_rows(pending)

    async def _fill_and_go_live(self, connection: int, *, is_new: bool) -> None:
        """Fill the gap over REST, and begin a watch of the market if that succeeds.

        Args:
            connection: Number of the connection whose candles are held back.
            is_new: Whether it is another connection than the last one.
        """
        # An exchange may send no candles of a quiet time: then no trade has passed unseen.
        kept = None if is_new else self.watch
        self._connection = self.watch = self._suspended = None
        self._went_live.clear()
        before = self._gap_backfiller.inserted
        try:
            await fetch_and_check_market(self._context, self._exchange)
        except ExchangeUnreachable as error:
            self.lost_reason = str(error)
            return  # to be tried again, as below
        if not await self._gap_backfiller.fill():
            # To be tried again; until then the stored candles end where they did.
            self.lost_reason = "REST does not respond for the candles before the stream's"
            return
        if self._pending is None or self._pending.connection != connection:
            # The stream was lost during the requests.
            return
        self._end_watch_after_stall()
        if self._stalls.has_backlog:
            # The thread stood still during the requests: the row is older than that.
            self._held_price_seconds = None
            return
        self._refused = None
        self._connection = connection
        rows, is_current = self._pending.rows, self._pending.received_seconds is not None
        if kept is None or self._writer.has_missed_trades(rows):
            kept = make_stream_watch(self._context, rows[-1], is_current=is_current)
        self.watch = kept
        self._writer.start_connection()
        self._gap_backfiller.expects_marks = self._writer.has_marks
        self._went_live.set()
        if is_new and self._was_live and not self._has_outage:
            # No error was raised: only the number of the connection shows the break.
            self._open_outage("the connection was made again unnoticed")
        self._has_outage = False
        close_data_outages(
            self._context.store, self._context.session.session, to_ms=self._exchange.now_ms()
        )
        if self._was_live:
            cause = "stream is back" if is_new else "the stream left candles out"
            filled = self._gap_backfiller.inserted - min(before, self._inserted_at_loss)
            print_line(f"{cause}, {format_count(filled, 'missed candle')} filled over REST")
        self._was_live = True
        self._inserted_at_loss = NEVER

    def _note_stream_loss(self, reason: str) -> None:
        """End the watch, and store and print an outage, once until the stream is back."""
        # Also if the socket stays open: rows may have been missed.
        self._connection = self._pending = self.watch = self._suspended = None
        self._is_rest_away, self._unsound_since = False, None
        self._gap_backfiller.expects_marks = self.is_quiet = False
        self._went_live.clear()
        # The newest reason of an outage counts: a stream that was cut first may be refused now.
        self.lost_reason = reason
        if self._has_outage:
            return
        self._has_outage = True
        self._inserted_at_loss = self._gap_backfiller.inserted
        print_line(f"stream lost: {reason}; connecting again, no entries meanwhile")
        self._open_outage(reason)

    def _open_outage(self, reason: str) -> None:
        """Store the beginning of a data outage, at the last frame."""
        now_ms = self._exchange.now_ms()
        open_data_outage(
            self._context.store,
            self._context.session.session,
            from_ms=now_ms if self._last_frame_ms is None else self._last_frame_ms,
            reason=reason,
        )
