"""CCXT Pro's client of an exchange, with hooks against its weaknesses.

The hooks count connections, report a malformed frame as a lost stream, store each candle as it was
in the frame that marked it as final, shorten the pauses between dials and keep dials under the
exchange's limit (dial_queue.py), and limit the messages in a second (sending.py).
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakSet

import ccxt.pro as ccxt_pro
from ccxt import NetworkError

from onetape.core.errors import UsageError
from onetape.exchange.clients import Endpoint, make_client_settings, point_client
from onetape.websocket.dial_queue import CHECK_SECONDS, DialQueue, get_default_dial_file
from onetape.websocket.marks import CandleMark, MarkReader, find_mark_reader, read_marks
from onetape.websocket.sending import PacedSender

#: Time in which the other side must confirm the close of a connection, seconds.
CLOSE_SECONDS = 1.0
#: The longest pause before a dial, seconds; CCXT's own pauses grow to 30 s.
LONGEST_PAUSE_SECONDS = 3.5
#: If programs cannot share a queue of dials, only this number of failed dials in a row have pauses
#: of at most `LONGEST_PAUSE_SECONDS`; then CCXT's pauses are used.
FIRST_DIALS = 12
#: Pause after a handshake that was refused for too many requests without a Retry-After, seconds.
BAN_PAUSE_SECONDS = 30.0
#: HTTP statuses of a handshake that was refused for too many requests.
BAN_STATUSES: Final = (418, 429)
#: Longest pause by a Retry-After, seconds.
LONGEST_REFUSAL_SECONDS: Final = 86_400.0
#: Number of final candles that are stored of each stream: twice as many as in CCXT's cache.
MAX_FINAL_CANDLES = 40


class GuardedClient(Protocol):
    """CCXT Pro's exchange client, and the attributes that Onetape adds to it."""

    connections: int
    """Number of connections that were made."""
    has_marks: bool
    """Whether the exchange marks final candles."""
    frame_events: set[asyncio.Event]
    """asyncio events that are set at every frame."""
    candle_frame_events: dict[asyncio.Event, tuple[str, str]]
    """asyncio events that are set at a candle frame, with the symbol and timeframe of the candles.
    """
    candle_sockets: WeakSet[Any]
    """CCXT's clients of the sockets from which candles arrived."""
    final_candles: dict[tuple[str, str], dict[int, list[Any]]]
    """CCXT's rows that the exchange marked as final, by symbol and timeframe, then by open in epoch
    milliseconds."""
    dials: set[asyncio.Task[Any]]
    """Running tasks that open a connection."""
    dial_waits: set[asyncio.Event]
    """asyncio events that end the pauses before dials."""
    refused_until: dict[str, float]
    """Monotonic time, seconds, until which the exchange refuses dials, by address."""
    dial_queue: DialQueue
    """Queue of dials, which programs may share."""
    senders: WeakSet[PacedSender]
    """Senders of messages, one for each socket."""

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of CCXT's client."""
        ...

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of CCXT's client."""
        ...


def make_guarded_client(
    endpoint: Endpoint, *, on_connected: Callable[[], None], dial_file: Path | None = None
) -> GuardedClient:
    """Return CCXT Pro's client of an exchange with the hooks of this module.

    Args:
        endpoint: Endpoint of the exchange.
        on_connected: Called after each connection was made.
        dial_file: File with the queue of dials that programs on this computer share; None: for a
            real exchange a file in the folder for temporary files, for a simulator no file.

    Raises:
        UsageError: CCXT has no streams of the exchange.
    """
    base: Any = getattr(ccxt_pro, endpoint.ccxt_class, None)
    if base is None:
        raise UsageError(
            f"CCXT has no live streams of {endpoint.exchange}; choose another exchange to trade on"
        )

    reader = find_mark_reader(base)

    class Guarded(base):
        """CCXT Pro's class with hooks."""

        connections = 0

        def on_connected(self, client: Any, message: Any = None) -> None:
            """Count the connections."""
            self.connections += 1
            on_connected()
            parent: Any = super()
            parent.on_connected(client, message)

        def on_error(self, client: Any, error: Any) -> None:
            """Record how long the exchange refuses dials, then count a failed dial as CCXT does."""
            if client.dial_failed:
                _note_refusal(self.refused_until, client, error)
            parent: Any = super()
            parent.on_error(client, error)

        def handle_ohlcv(self, client: Any, message: Any) -> None:
            """Parse a candle frame as CCXT does, then store the rows that it marks as final."""
            parent: Any = super()
            parent.handle_ohlcv(client, message)
            self.candle_sockets.add(client)
            _note_frame(self, reader, message)

        def client(self, url: str) -> Any:
            """Return CCXT's client of the socket at an address, with hooks."""
            parent: Any = super()
            ws_client: Any = parent.client(url)
            if "handle_message" not in vars(ws_client):
                ws_client.handle_message = _report_handler_errors(
                    ws_client, ws_client.handle_message, self.frame_events
                )
                dial = _make_paced_dial(self, ws_client, ws_client.open)
                ws_client.open = _track_dials(self.dials, dial)
                ws_client.future = _mute_unretrieved_errors(ws_client.future)
                sender = PacedSender(ws_client.send)
                ws_client.send = sender.send
                self.senders.add(sender)
            return ws_client

    exchange_client: Any = Guarded(make_client_settings(endpoint))
    exchange_client.dials = set[asyncio.Task[Any]]()
    exchange_client.dial_waits = set[asyncio.Event]()
    exchange_client.refused_until = dict[str, float]()
    exchange_client.dial_queue = _make_dial_queue(endpoint, dial_file)
    exchange_client.has_marks = reader is not None
    exchange_client.candle_frame_events = dict[asyncio.Event, tuple[str, str]]()
    exchange_client.frame_events = set[asyncio.Event]()
    exchange_client.candle_sockets = WeakSet[Any]()
    exchange_client.senders = WeakSet[PacedSender]()
    exchange_client.final_candles = dict[tuple[str, str], dict[int, list[Any]]]()
    point_client(exchange_client, endpoint)
    return exchange_client


def drop_connection(ws_client: Any, error: NetworkError) -> None:
    """End a connection at once, without waiting for the other side.

    Args:
        ws_client: A connected client: one of the values of a CCXT exchange's `clients`.
        error: Error that is raised in tasks that wait for the connection.
    """
    raw = ws_client.connection.get_extra_info("socket")
    ws_client.on_error(error)
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The connection is gone already, as intended.
        return


def end_dial_pauses(exchange_client: GuardedClient) -> None:
    """Dial at once where a pause before a dial runs, except for a pause by a Retry-After."""
    backoff: dict[str, Any] = getattr(exchange_client, "ws_dial_backoff", None) or {}
    now = time.monotonic()
    for url in list(backoff):
        if exchange_client.refused_until.get(url, 0.0) <= now:
            del backoff[url]
    for wait in exchange_client.dial_waits:
        wait.set()


async def close_exchange_client(exchange_client: GuardedClient) -> None:
    """Cancel the dials of a client, which CCXT would not do, and close its sockets."""
    while exchange_client.dials:
        # Python 3.11's `wait_for`, in which a dial waits, may swallow a cancellation.
        for task in exchange_client.dials:
            task.cancel()
        await asyncio.wait(exchange_client.dials, timeout=CLOSE_SECONDS)
    await asyncio.gather(*(sender.close() for sender in list(exchange_client.senders)))
    closing = [asyncio.create_task(client.close()) for client in exchange_client.clients.values()]
    if closing:
        # A peer that is gone does not respond; aiohttp would wait 10 s for it.
        _, late = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
    await asyncio.gather(*closing, return_exceptions=True)
    exchange_client.clients.clear()
    await exchange_client.close()


def _make_dial_queue(endpoint: Endpoint, dial_file: Path | None) -> DialQueue:
    if dial_file is None and endpoint.simulator_url is None:
        dial_file = get_default_dial_file(endpoint.exchange)
    return DialQueue(dial_file)


def _note_refusal(refused_until: dict[str, float], ws_client: Any, error: Any) -> None:
    """Store until when the exchange refuses dials of an address, after a refused handshake."""
    seconds: float | None = ws_client.last_retry_after
    if seconds is not None and not 0 <= seconds <= LONGEST_REFUSAL_SECONDS:
        # CCXT accepts any number, such as inf, and fails later.
        seconds = ws_client.last_retry_after = (
            min(seconds, LONGEST_REFUSAL_SECONDS) if seconds > 0 else None
        )
    if seconds is None and find_handshake_status(error) in BAN_STATUSES:
        seconds = BAN_PAUSE_SECONDS
    refused_until[ws_client.url] = time.monotonic() + (seconds or 0.0)


def find_handshake_status(error: Exception) -> int | None:
    """Return the HTTP status of a refused WebSocket handshake; None: no refused handshake.

    Args:
        error: Error of CCXT; after a refused handshake its argument is aiohttp's error.
    """
    status = getattr(error.args[0] if error.args else None, "status", None)
    return status if isinstance(status, int) else None


def _compute_dial_pause(seconds: float, attempts: int, *, is_shared: bool) -> float:
    """Return the pause before a dial.

    Args:
        seconds: CCXT's own pause.
        attempts: Number of failed dials in a row.
        is_shared: Whether programs share a queue that keeps them under the exchange's limit.
    """
    if attempts > FIRST_DIALS and not is_shared:
        return seconds
    # Programs whose connections were cut at the same time dial at different times.
    jitter = random.uniform(0.75, 1.0)  # noqa: S311 - no secret
    return min(seconds, LONGEST_PAUSE_SECONDS) * jitter


def _note_frame(exchange_client: GuardedClient, reader: MarkReader | None, message: Any) -> None:
    """Store the rows that a candle frame marks as final, and set the asyncio events of its series.

    A frame of an unknown form, or of a series without an asyncio event, sets those of all series.
    """
    changed = set[tuple[str, str]]()
    for mark in read_marks(reader, message) if reader is not None else ():
        symbol = exchange_client.safe_symbol(mark.market_id, None, None, "spot")
        series = (symbol, exchange_client.find_timeframe(mark.interval))
        changed.add(series)
        if mark.is_final:
            _store_final_row(exchange_client, series, mark)
    watched = exchange_client.candle_frame_events
    events = [event for event, series in watched.items() if series in changed]
    for event in events or watched:
        event.set()


def _store_final_row(
    exchange_client: GuardedClient, series: tuple[str, str], mark: CandleMark
) -> None:
    """Copy a row of CCXT's cache at the first frame that marks its candle as final."""
    symbol, timeframe = series
    finals = exchange_client.final_candles.setdefault(series, {})
    rows = [row for row in exchange_client.ohlcvs[symbol][timeframe] if row[0] == mark.timestamp_ms]
    if rows and mark.timestamp_ms not in finals:
        finals[mark.timestamp_ms] = list(rows[-1])
        while len(finals) > MAX_FINAL_CANDLES:
            del finals[next(iter(finals))]


def _report_handler_errors(
    ws_client: Any, handle: Callable[[Any], None], frame_events: set[asyncio.Event]
) -> Callable[[Any], None]:
    """Return a message handler that reports an error as a lost connection, and sets the events."""

    def handle_reporting(message: Any) -> None:
        try:
            handle(message)
        except Exception as error:
            # An error inside CCXT would end its loop without a report.
            ws_client.on_error(NetworkError(f"bad frame ({type(error).__name__}: {error})"))
        for event in frame_events:
            event.set()

    return handle_reporting


def _mute_unretrieved_errors(make: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return CCXT's maker of futures; asyncio does not report errors of these futures as unread.

    CCXT sets errors on futures that no task waits for; a task that waits gets the error anyway.
    """

    def make_muted(message_hash: str) -> Any:
        future = make(message_hash)
        future.remove_done_callback(_read_error)
        future.add_done_callback(_read_error)
        return future

    return make_muted


def _read_error(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def _make_paced_dial(
    exchange_client: Any, ws_client: Any, dial: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Return a coroutine function that waits for its turn in the queue, then opens a connection."""

    async def dial_in_turn(session: Any, pause_seconds: float = 0.0) -> None:
        """Wait until this dial is due, then open the connection."""
        began, dial_queue, wait = time.monotonic(), exchange_client.dial_queue, asyncio.Event()
        # Added before anything is awaited, so that `end_dial_pauses` ends this pause too.
        exchange_client.dial_waits.add(wait)
        try:
            queue_seconds = await dial_queue.reserve()
            backoff: dict[str, Any] = exchange_client.ws_dial_backoff
            failed: dict[str, Any] | None = backoff.get(ws_client.url)
            is_shared, pause = dial_queue.fault is None, 0.0
            if failed is not None:
                pause = _compute_dial_pause(pause_seconds, failed["attempts"], is_shared=is_shared)
            await _wait_for_turn(dial_queue, began, began + max(pause, queue_seconds), wait)
        finally:
            exchange_client.dial_waits.discard(wait)
        # A Retry-After is always waited for.
        refused_until = exchange_client.refused_until.get(ws_client.url, 0.0)
        await asyncio.sleep(refused_until - time.monotonic())
        await dial(session, 0.0)
        if ws_client.connection is not None and ws_client.error is None:
            await dial_queue.note_connection()

    return dial_in_turn


async def _wait_for_turn(
    dial_queue: DialQueue, began: float, until: float, wait: asyncio.Event
) -> None:
    """Wait for a dial's turn, or until the exchange is known to accept connections again.

    Args:
        dial_queue: The queue of dials.
        began: Time at which the pause before the dial began, monotonic seconds.
        until: Time at which the dial may be sent, monotonic seconds.
        wait: asyncio event that is set when the exchange can be reached again.
    """
    while (seconds := until - time.monotonic()) > 0 and not wait.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, CHECK_SECONDS)):
                await wait.wait()
        if await dial_queue.read_last_connection() > began:
            # Another program is connected, so this one may dial, but not all at the same moment.
            jitter = random.uniform(0.0, CHECK_SECONDS)  # noqa: S311 - no secret
            until = min(until, time.monotonic() + jitter)
            began = until


def _track_dials(
    dials: set[asyncio.Task[Any]], dial: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Return a coroutine function whose running tasks are in `dials`."""

    async def dial_tracked(*arguments: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            dials.add(task)
            task.add_done_callback(dials.discard)
        await dial(*arguments)

    return dial_tracked
