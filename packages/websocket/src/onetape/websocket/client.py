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
from typing import Any, Final
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
#: Number of dials in an outage with this pause, if programs cannot share a queue of dials.
FIRST_DIALS = 12
#: The pause after a handshake that was refused for too many requests, where it has no Retry-After.
BAN_PAUSE_SECONDS = 30.0
BAN_STATUSES: Final = (418, 429)
#: A Retry-After counts up to this, seconds.
LONGEST_REFUSAL_SECONDS: Final = 86_400.0
#: Final candles that are stored of each stream: twice as many as in CCXT's cache.
FINAL_CANDLES_KEPT = 40


def make_guarded_client(
    endpoint: Endpoint, *, on_connected: Callable[[], None], dial_file: Path | None = None
) -> Any:
    """Return CCXT Pro's client of the exchange, guarded against frames that end its loop.

    It has more attributes than CCXT's: `connections` counts them, `has_marks` is whether the
    exchange marks final candles, `candle_frames` has events that candle frames set, each with the
    symbol and timeframe that it is for, `frames` are events that every frame sets, `dial_waits` are
    events that end the pauses before dials, `refused_until` are addresses with the monotonic time
    before which the exchange refuses dials, `pace` is the queue of dials, `candle_sockets` are the
    sockets that brought candles, `senders` send on the sockets, and `final_candles` has CCXT's rows
    that the exchange marked as final, by symbol and timeframe, then by open in epoch milliseconds.

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
            """Return the client of an address, guarded once."""
            parent: Any = super()
            client: Any = parent.client(url)
            if "handle_message" not in vars(client):
                client.handle_message = _guard(client, client.handle_message, self.frames)
                client.open = _track_dials(self.dials, _make_paced_dial(self, client, client.open))
                client.future = _mute_unretrieved_errors(client.future)
                sender = PacedSender(client.send)
                client.send = sender.send
                self.senders.add(sender)
            return client

    client: Any = Guarded(make_client_settings(endpoint))
    client.dials = set[asyncio.Task[Any]]()
    client.dial_waits = set[asyncio.Event]()
    client.refused_until = dict[str, float]()
    client.pace = _make_dial_pace(endpoint, dial_file)
    client.has_marks = reader is not None
    client.candle_frames = dict[asyncio.Event, tuple[str, str]]()
    client.frames = set[asyncio.Event]()
    client.candle_sockets = WeakSet[Any]()
    client.senders = WeakSet[PacedSender]()
    client.final_candles = dict[tuple[str, str], dict[int, list[Any]]]()
    point_client(client, endpoint)
    return client


def drop(client: Any, error: NetworkError) -> None:
    """End a connection at once: waiting tasks get the error, and the other side is not waited for.

    Args:
        client: One of the values of a CCXT exchange's `clients`, connected.
        error: Error that waiting tasks get.
    """
    raw = client.connection.get_extra_info("socket")
    client.on_error(error)
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The connection is gone already, as intended.
        return


def dial_now(client: Any) -> None:
    """End the pauses before the next dials, but those of a Retry-After.

    Args:
        client: A guarded client of an exchange.
    """
    backoff: dict[str, Any] = getattr(client, "ws_dial_backoff", None) or {}
    now = time.monotonic()
    for url in list(backoff):
        if client.refused_until.get(url, 0.0) <= now:
            del backoff[url]
    for wait in client.dial_waits:
        wait.set()


async def close_client(client: Any) -> None:
    """Close a guarded client: its sockets, and the dials that CCXT would let go on."""
    while client.dials:
        # Python 3.11's `wait_for`, in which a dial waits, may swallow a cancellation.
        for task in client.dials:
            task.cancel()
        await asyncio.wait(client.dials, timeout=CLOSE_SECONDS)
    await asyncio.gather(*(sender.close() for sender in list(client.senders)))
    closing = [asyncio.create_task(one.close()) for one in client.clients.values()]
    if closing:
        # A peer that is gone sends no response; aiohttp alone would wait 10 s for it.
        _, late = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
    await asyncio.gather(*closing, return_exceptions=True)
    client.clients.clear()
    await client.close()


def _make_dial_pace(endpoint: Endpoint, dial_file: Path | None) -> DialPace:
    if dial_file is None and endpoint.simulator_url is None:
        dial_file = get_default_dial_file(endpoint.exchange)
    return DialPace(dial_file)


def _note_refusal(refused_until: dict[str, float], client: Any, error: Any) -> None:
    """Record the end of the time in which the exchange refuses dials of an address."""
    seconds: float | None = client.last_retry_after
    if seconds is not None and not 0 <= seconds <= LONGEST_REFUSAL_SECONDS:
        # CCXT takes any number, such as inf, and fails on it.
        seconds = client.last_retry_after = (
            min(seconds, LONGEST_REFUSAL_SECONDS) if seconds > 0 else None
        )
    if seconds is None and find_handshake_status(error) in BAN_STATUSES:
        seconds = BAN_PAUSE_SECONDS
    refused_until[client.url] = time.monotonic() + (seconds or 0.0)


def find_handshake_status(error: Exception) -> int | None:
    """Return the HTTP status that a WebSocket handshake was refused with; None: it was not.

    Args:
        error: CCXT's, which has aiohttp's as its argument.
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


def _note_frame(client: Any, reader: MarkReader | None, message: Any) -> None:
    """Keep the rows that a candle frame marks as final, and set the events of its series.

    A frame of a series without an event, or of an unknown shape, sets the events of all series.
    """
    changed = set[tuple[str, str]]()
    for mark in read_marks(reader, message) if reader is not None else ():
        symbol = client.safe_symbol(mark.market_id, None, None, "spot")
        series = (symbol, client.find_timeframe(mark.interval))
        changed.add(series)
        if mark.is_final:
            _keep_final(client, series, mark)
    frames = [frame for frame, series in client.candle_frames.items() if series in changed]
    for frame in frames or client.candle_frames:
        frame.set()


def _keep_final(client: Any, series: tuple[str, str], mark: CandleMark) -> None:
    """Copy a row of CCXT's cache that was marked as final; the first mark of a candle counts."""
    symbol, timeframe = series
    finals = client.final_candles.setdefault(series, {})
    rows = [row for row in client.ohlcvs[symbol][timeframe] if row[0] == mark.timestamp_ms]
    if rows and mark.timestamp_ms not in finals:
        finals[mark.timestamp_ms] = list(rows[-1])
        while len(finals) > FINAL_CANDLES_KEPT:
            del finals[next(iter(finals))]


def _guard(
    client: Any, handle: Callable[[Any], None], frames: set[asyncio.Event]
) -> Callable[[Any], None]:
    def guarded(message: Any) -> None:
        try:
            handle(message)
        except Exception as error:
            # After an error inside CCXT its loop would end without a report: report the loss.
            client.on_error(NetworkError(f"bad frame ({type(error).__name__}: {error})"))
        for frame in frames:
            frame.set()

    return guarded


def _mute_unretrieved_errors(make: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return CCXT's maker of futures, whose errors asyncio never reports as unnoticed.

    CCXT rejects futures that no task waits for; a task that waits gets the error anyway.
    """

    def made(message_hash: str) -> Any:
        future = make(message_hash)
        future.remove_done_callback(_take_error)
        future.add_done_callback(_take_error)
        return future

    return made


def _take_error(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def _make_paced_dial(
    exchange: Any, client: Any, dial: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Return the coroutine function that opens a connection when its turn has come."""

    async def paced(session: Any, pause_seconds: float = 0.0) -> None:
        began, pace, wait = time.monotonic(), exchange.pace, asyncio.Event()
        # Before anything is awaited: `dial_now` ends this pause too.
        exchange.dial_waits.add(wait)
        try:
            queue_seconds = await pace.reserve()
            backoff: dict[str, Any] = exchange.ws_dial_backoff
            failed: dict[str, Any] | None = backoff.get(client.url)
            is_shared, pause = pace.fault is None, 0.0
            if failed is not None:
                pause = _compute_dial_pause(pause_seconds, failed["attempts"], is_shared=is_shared)
            await _wait_for_turn(pace, began, began + max(pause, queue_seconds), wait)
        finally:
            exchange.dial_waits.discard(wait)
        # A Retry-After is never cut short.
        await asyncio.sleep(exchange.refused_until.get(client.url, 0.0) - time.monotonic())
        await dial(session, 0.0)
        if client.connection is not None and client.error is None:
            await pace.note_connection()

    return paced


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
    """Return the same coroutine function, whose running tasks are in `dials`."""

    async def remembered(*arguments: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            dials.add(task)
            task.add_done_callback(dials.discard)
        await dial(*arguments)

    return remembered
