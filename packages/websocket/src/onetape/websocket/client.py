"""CCXT Pro's client of an exchange, with the hooks that make it safe to wait on.

The hooks count connections, turn a malformed frame into a lost stream, keep each candle that the
exchange marked as final as it was at that mark, shorten the pauses between dials and keep dials
under the exchange's limit (dial_pace.py), and send few messages a second (sending.py).
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
from onetape.websocket.dial_pace import LOOK_SECONDS, DialPace, get_default_dial_file
from onetape.websocket.marks import CandleMark, MarkReader, find_mark_reader, read_marks
from onetape.websocket.sending import PacedSender

#: Time in which the other side must confirm the close of a connection.
CLOSE_SECONDS = 1.0
#: The longest pause before a dial, seconds; CCXT's own grow to 30 s.
LONGEST_PAUSE_SECONDS = 3.5
#: Number of dials of an outage that wait `LONGEST_PAUSE_SECONDS` at most, if programs cannot share
#: a queue of dials.
FIRST_DIALS = 12
#: The pause after a handshake that was refused for too many requests, where it has no Retry-After.
BAN_PAUSE_SECONDS = 30.0
BAN_STATUSES: Final = (418, 429)
#: A Retry-After counts up to this, seconds.
LONGEST_REFUSAL_SECONDS: Final = 86_400.0
#: Final candles that are stored of each stream: twice as many as in CCXT's cache.
FINAL_CANDLES_KEPT = 40


class GuardedClient(Protocol):
    """CCXT Pro's exchange client, and the attributes that Onetape adds to it."""

    connections: int
    """Number of connections that were made."""
    has_marks: bool
    """Whether the exchange marks final candles."""
    frame_events: set[asyncio.Event]
    """Events that every frame sets."""
    candle_frame_events: dict[asyncio.Event, tuple[str, str]]
    """Events that candle frames set, each with the symbol and timeframe of those candles."""
    candle_sockets: WeakSet[Any]
    """CCXT's clients of the sockets that candles came from."""
    final_candles: dict[tuple[str, str], dict[int, list[Any]]]
    """CCXT's rows that the exchange marked as final.

    By symbol and timeframe, then by open in epoch milliseconds.
    """
    dials: set[asyncio.Task[Any]]
    """Running tasks that open a connection."""
    dial_waits: set[asyncio.Event]
    """Events that end the pauses before dials."""
    refused_until: dict[str, float]
    """Monotonic time in seconds, by address, before which the exchange refuses dials."""
    pace: DialPace
    """Queue of dials."""
    senders: WeakSet[PacedSender]
    """Senders of messages, one for each socket."""

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of CCXT's own."""
        ...

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of CCXT's own."""
        ...


def make_guarded_client(
    endpoint: Endpoint, *, on_connected: Callable[[], None], dial_file: Path | None = None
) -> GuardedClient:
    """Return CCXT Pro's client of the exchange, guarded against frames that end its loop.

    Args:
        endpoint: Endpoint of the exchange.
        on_connected: Called after each connection was made.
        dial_file: Shared by programs that dial the exchange from this computer; None: for a real
            exchange one in the folder for temporary files.

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
            """Parse a candle frame as CCXT does, then keep the rows that it marks as final."""
            parent: Any = super()
            parent.handle_ohlcv(client, message)
            self.candle_sockets.add(client)
            _note_frame(self, reader, message)

        def client(self, url: str) -> Any:
            """Return CCXT's client of the socket at an address, guarded once."""
            parent: Any = super()
            ws_client: Any = parent.client(url)
            if "handle_message" not in vars(ws_client):
                ws_client.handle_message = _guard(
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
    exchange_client.pace = _make_dial_pace(endpoint, dial_file)
    exchange_client.has_marks = reader is not None
    exchange_client.candle_frame_events = dict[asyncio.Event, tuple[str, str]]()
    exchange_client.frame_events = set[asyncio.Event]()
    exchange_client.candle_sockets = WeakSet[Any]()
    exchange_client.senders = WeakSet[PacedSender]()
    exchange_client.final_candles = dict[tuple[str, str], dict[int, list[Any]]]()
    point_client(exchange_client, endpoint)
    return exchange_client


def drop_connection(ws_client: Any, error: NetworkError) -> None:
    """End a connection at once: waiting tasks get the error, and the other side is not waited for.

    Args:
        ws_client: One of the values of a CCXT exchange's `clients`, connected.
        error: Error that waiting tasks get.
    """
    raw = ws_client.connection.get_extra_info("socket")
    ws_client.on_error(error)
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The connection is gone already, as intended.
        return


def end_dial_pauses(exchange_client: GuardedClient) -> None:
    """End the pauses before the next dials, except the pauses of a Retry-After."""
    backoff: dict[str, Any] = getattr(exchange_client, "ws_dial_backoff", None) or {}
    now = time.monotonic()
    for url in list(backoff):
        if exchange_client.refused_until.get(url, 0.0) <= now:
            del backoff[url]
    for wait in exchange_client.dial_waits:
        wait.set()


async def close_exchange_client(exchange_client: GuardedClient) -> None:
    """Cancel the dials of a guarded client, which CCXT would let go on, and close its sockets."""
    while exchange_client.dials:
        # Python 3.11's `wait_for`, in which a dial waits, may swallow a cancellation.
        for task in exchange_client.dials:
            task.cancel()
        await asyncio.wait(exchange_client.dials, timeout=CLOSE_SECONDS)
    await asyncio.gather(*(sender.close() for sender in list(exchange_client.senders)))
    closing = [asyncio.create_task(one.close()) for one in exchange_client.clients.values()]
    if closing:
        # A peer that is gone sends no response; aiohttp alone would wait 10 s for it.
        _, late = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
    await asyncio.gather(*closing, return_exceptions=True)
    exchange_client.clients.clear()
    await exchange_client.close()


def _make_dial_pace(endpoint: Endpoint, dial_file: Path | None) -> DialPace:
    if dial_file is None and endpoint.simulator_url is None:
        dial_file = get_default_dial_file(endpoint.exchange)
    return DialPace(dial_file)


def _note_refusal(refused_until: dict[str, float], ws_client: Any, error: Any) -> None:
    """Record the end of the time in which the exchange refuses dials of an address."""
    seconds: float | None = ws_client.last_retry_after
    if seconds is not None and not 0 <= seconds <= LONGEST_REFUSAL_SECONDS:
        # CCXT takes any number, such as inf, and fails on it.
        seconds = ws_client.last_retry_after = (
            min(seconds, LONGEST_REFUSAL_SECONDS) if seconds > 0 else None
        )
    if seconds is None and find_handshake_status(error) in BAN_STATUSES:
        seconds = BAN_PAUSE_SECONDS
    refused_until[ws_client.url] = time.monotonic() + (seconds or 0.0)


def find_handshake_status(error: Exception) -> int | None:
    """Return the HTTP status of a refused WebSocket handshake, or None.

    Args:
        error: Error of CCXT; of a refused handshake its argument is aiohttp's error.
    """
    status = getattr(error.args[0] if error.args else None, "status", None)
    return status if isinstance(status, int) else None


def _compute_dial_pause(seconds: float, attempts: int, *, is_shared: bool) -> float:
    """Return the pause before a dial.

    Args:
        seconds: CCXT's own pause.
        attempts: Dials of the outage that have failed.
        is_shared: Whether a queue of dials keeps all programs under the exchange's limit.
    """
    if attempts > FIRST_DIALS and not is_shared:
        return seconds
    # Programs that were cut together dial apart.
    jitter = random.uniform(0.75, 1.0)  # noqa: S311 - no secret
    return min(seconds, LONGEST_PAUSE_SECONDS) * jitter


def _note_frame(exchange_client: GuardedClient, reader: MarkReader | None, message: Any) -> None:
    """Keep the rows that a candle frame marks as final, and set the events of its series.

    A frame of a series without an event, or of an unknown shape, sets the events of all series.
    """
    changed = set[tuple[str, str]]()
    for mark in read_marks(reader, message) if reader is not None else ():
        symbol = exchange_client.safe_symbol(mark.market_id, None, None, "spot")
        series = (symbol, exchange_client.find_timeframe(mark.interval))
        changed.add(series)
        if mark.is_final:
            _keep_final(exchange_client, series, mark)
    watched = exchange_client.candle_frame_events
    events = [event for event, series in watched.items() if series in changed]
    for event in events or watched:
        event.set()


def _keep_final(exchange_client: GuardedClient, series: tuple[str, str], mark: CandleMark) -> None:
    """Copy a row of CCXT's cache that was marked as final; the first mark of a candle counts."""
    symbol, timeframe = series
    finals = exchange_client.final_candles.setdefault(series, {})
    rows = [row for row in exchange_client.ohlcvs[symbol][timeframe] if row[0] == mark.timestamp_ms]
    if rows and mark.timestamp_ms not in finals:
        finals[mark.timestamp_ms] = list(rows[-1])
        while len(finals) > FINAL_CANDLES_KEPT:
            del finals[next(iter(finals))]


def _guard(
    ws_client: Any, handle: Callable[[Any], None], frame_events: set[asyncio.Event]
) -> Callable[[Any], None]:
    """Return a message handler that reports each error as a lost connection, and sets events."""

    def handle_guarded(message: Any) -> None:
        try:
            handle(message)
        except Exception as error:
            # After an error inside CCXT its loop would end without a report: report the loss.
            ws_client.on_error(NetworkError(f"bad frame ({type(error).__name__}: {error})"))
        for event in frame_events:
            event.set()

    return handle_guarded


def _mute_unretrieved_errors(make: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return CCXT's maker of futures, whose errors asyncio never reports as unnoticed.

    CCXT rejects futures that no task waits for; a task that waits gets the error anyway.
    """

    def make_muted(message_hash: str) -> Any:
        future = make(message_hash)
        future.remove_done_callback(_take_error)
        future.add_done_callback(_take_error)
        return future

    return make_muted


def _take_error(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def _make_paced_dial(
    exchange_client: Any, ws_client: Any, dial: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Return the coroutine function that opens a connection when its turn has come."""

    async def dial_in_turn(session: Any, pause_seconds: float = 0.0) -> None:
        began, pace, wait = time.monotonic(), exchange_client.pace, asyncio.Event()
        # Before anything is awaited: `end_dial_pauses` ends this pause too.
        exchange_client.dial_waits.add(wait)
        try:
            queue_seconds = await pace.reserve()
            backoff: dict[str, Any] = exchange_client.ws_dial_backoff
            failed: dict[str, Any] | None = backoff.get(ws_client.url)
            is_shared, pause = pace.fault is None, 0.0
            if failed is not None:
                pause = _compute_dial_pause(pause_seconds, failed["attempts"], is_shared=is_shared)
            await _wait_for_turn(pace, began, began + max(pause, queue_seconds), wait)
        finally:
            exchange_client.dial_waits.discard(wait)
        # A Retry-After is never cut short.
        refused_until = exchange_client.refused_until.get(ws_client.url, 0.0)
        await asyncio.sleep(refused_until - time.monotonic())
        await dial(session, 0.0)
        if ws_client.connection is not None and ws_client.error is None:
            await pace.note_connection()

    return dial_in_turn


async def _wait_for_turn(pace: DialPace, began: float, until: float, wait: asyncio.Event) -> None:
    """Wait for a dial's turn, or until the exchange is known to accept connections again.

    Args:
        pace: The queue of dials.
        began: Time at which the pause before the dial began, monotonic seconds.
        until: Time at which the dial may be sent, monotonic seconds.
        wait: Set where the exchange can be reached again.
    """
    while (seconds := until - time.monotonic()) > 0 and not wait.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, LOOK_SECONDS)):
                await wait.wait()
        if await pace.read_last_connection() > began:
            # Another program is connected: all of them may be, but not in the same moment.
            jitter = random.uniform(0.0, LOOK_SECONDS)  # noqa: S311 - no secret
            until = min(until, time.monotonic() + jitter)
            began = until


def _track_dials(
    dials: set[asyncio.Task[Any]], dial: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Return the coroutine function with each running task of it in `dials`."""

    async def dial_tracked(*arguments: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            dials.add(task)
            task.add_done_callback(dials.discard)
        await dial(*arguments)

    return dial_tracked
