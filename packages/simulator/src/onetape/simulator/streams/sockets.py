"""Behaviour of every WebSocket: reading, pings, sending of due events, and its end after 24 hours.

`Socket` is the base of one client's socket, `Sockets` that of all sockets of one kind.
"""

import asyncio
import time
from typing import Final, cast

from aiohttp import ClientError, WSMsgType, web

from onetape.core.clock import Clock
from onetape.simulator.faults.injector import FaultInjector
from onetape.simulator.faults.transport import reset, send_frame
from onetape.simulator.server.context import ServerContext
from onetape.simulator.server.limits import MessageLimit
from onetape.simulator.server.wire import JsonObject

#: Time after which a socket is cut if its client reads nothing, wall seconds.
SEND_SECONDS: Final = 10.0
#: Interval of pings, and time without a pong after which a socket is cut, seconds, as at Binance.
PING_SECONDS: Final = 20.0
PONG_TIMEOUT_SECONDS: Final = 60.0
#: Amount of data that may wait for a slow client, and the interval of the check of that amount.
MAX_UNSENT_BYTES: Final = 256 * 1_024
DRAIN_SECONDS: Final = 0.002
#: Age at which a socket is closed, in market time, and the time between the warning and the end.
MAX_AGE_MS: Final = 24 * 3_600_000
WARNING_MS: Final = 10 * 60_000
#: Errors of a socket whose client has disconnected; they are ignored.
CLIENT_GONE_ERRORS: Final = (ConnectionError, ClientError, RuntimeError)


class Socket:
    """The socket of one client, with separate tasks for reading, sending and pings.

    A subclass defines how a text is handled (`_process_message`), which events are due
    (`_send_due`), the seconds until the next ones are due (`_compute_idle_seconds`), and how an
    event is sent (`_send`).
    """

    #: Whether text messages count in the limit of messages that a client may send in a second.
    counts_texts = True

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        clock: Clock,
        context: ServerContext,
    ) -> None:
        """Take the socket of a client that has connected."""
        self._socket = socket
        self._transport = request.transport
        self._clock = clock
        self._has_age_limit = context.has_socket_age_limit
        self._messages = MessageLimit(enforced=context.limits.enforced)
        self._injector = FaultInjector(
            socket, self._transport, context.faults, context.lasting_faults, self._put
        )
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._reached_ms = -1
        self._last_received = time.monotonic()
        self._is_closed = False
        self._began_ms = clock.now_ms()
        self._has_warned = False

    def wake(self) -> None:
        """Send the events that are due now."""
        self._wake.set()

    def abort(self) -> None:
        """Reset the connection at once, without a close frame."""
        self._is_closed = True
        self._wake.set()
        reset(self._transport)

    async def wait_until_sent(self, market_ms: int) -> None:
        """Wait until everything up to this market time was sent, or the connection ended."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._is_closed or self._reached_ms >= market_ms)

    async def serve(self) -> None:
        """Handle messages and send due frames until the socket ends."""
        tasks = [asyncio.create_task(self._send_loop()), asyncio.create_task(self._ping_loop())]
        try:
            await self._read_loop()
        finally:
            self._is_closed = True
            self._injector.end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with self._progress:
                self._progress.notify_all()

    async def _process_message(self, text: str) -> None:
        """Carry out a client's message, and respond to it."""
        raise NotImplementedError

    async def _send_due(self, now_ms: int) -> None:
        """Send the frames that are due by a market time."""
        raise NotImplementedError

    def _compute_idle_seconds(self) -> float | None:
        """Return the wall seconds until an event may be due; None: wait for `wake`."""
        raise NotImplementedError

    async def _send(self, event: JsonObject, stream: str) -> None:
        """Send an event with its faults; all events of all streams are sent by this method."""
        await self._injector.send(event, stream)

    async def _read_loop(self) -> None:
        async for message in self._socket:
            self._last_received = time.monotonic()
            if self._injector.is_half_open:
                continue
            is_text = message.type is WSMsgType.TEXT
            if (self.counts_texts or not is_text) and self._messages.is_over_after_message():
                await self._socket.close(code=1008, message=b"Too many requests")
                return
            if is_text:
                await self._process_message(cast("str", message.data))
            elif message.type is WSMsgType.PING:
                await self._socket.pong(cast("bytes", message.data))

    async def _ping_loop(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            if self._injector.is_half_open:
                continue
            if time.monotonic() - self._last_received > PONG_TIMEOUT_SECONDS:
                self.abort()
                return
            try:
                await self._socket.ping(str(self._clock.now_ms()).encode())
            except CLIENT_GONE_ERRORS:
                return

    async def _send_loop(self) -> None:
        while not self._is_closed:
            self._wake.clear()
            now_ms = self._clock.now_ms()
            try:
                await self._apply_age_limit(now_ms)
                await self._send_due(now_ms)
            except CLIENT_GONE_ERRORS:
                self.abort()
                return
            async with self._progress:
                self._reached_ms = now_ms
                self._progress.notify_all()
            try:
                async with asyncio.timeout(self._compute_idle_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _apply_age_limit(self, now_ms: int) -> None:
        """Warn the client before the socket is 24 hours old, and close the socket at that age."""
        if not self._has_age_limit:
            return
        age_ms = now_ms - self._began_ms
        if age_ms >= MAX_AGE_MS - WARNING_MS and not self._has_warned:
            self._has_warned = True
            await self._send({"e": "serverShutdown", "E": now_ms}, "!serverShutdown")
        if age_ms >= MAX_AGE_MS:
            self._is_closed = True
            await self._socket.close(code=1001, message=b"24 hours are over")

    async def _put(self, frame: str | bytes) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send_frame(self._socket, frame)
        except TimeoutError:
            self.abort()

    async def _put_frames(self, frames: bytes) -> None:
        """Send encoded frames, no faster than the client reads.

        Raises:
            ConnectionResetError: the client does not read, or has disconnected.
        """
        if self._transport is None:
            return
        if self._transport.is_closing():
            raise ConnectionResetError("the client has disconnected")
        self._transport.write(frames)
        deadline = time.monotonic() + SEND_SECONDS
        while self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            if time.monotonic() > deadline or self._transport.is_closing():
                raise ConnectionResetError("the client does not read, or has disconnected")
            await asyncio.sleep(DRAIN_SECONDS)


class Sockets:
    """All open sockets of one kind; a subclass makes each socket (`_make_socket`)."""

    def __init__(self) -> None:
        """Begin without an open socket."""
        self._open: set[Socket] = set()
        self._refuse_until = 0.0

    def wake(self) -> None:
        """Make every socket send the events that are due."""
        for socket in self._open:
            socket.wake()

    async def wait_until_sent(self, market_ms: int) -> None:
        """Wait until every socket has sent everything up to this market time."""
        await asyncio.gather(*(socket.wait_until_sent(market_ms) for socket in list(self._open)))

    def disconnect(self, refuse_seconds: float = 0.0) -> int:
        """Cut all sockets at once and refuse new ones for some wall time; return the number cut.

        Args:
            refuse_seconds: While they last every new socket is reset before its handshake.
        """
        self._refuse_until = time.monotonic() + refuse_seconds
        return self.cut()

    def cut(self) -> int:
        """Cut all sockets at once; return the number that were open."""
        cut = list(self._open)
        self._open.clear()
        for socket in cut:
            socket.abort()
        return len(cut)

    def _make_socket(self, response: web.WebSocketResponse, request: web.Request) -> Socket:
        """Return the socket object that serves a new client.

        Raises:
            web.HTTPBadRequest: the address names a stream that does not exist.
        """
        raise NotImplementedError

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if time.monotonic() < self._refuse_until:
            reset(request.transport)
            return web.Response(status=503)
        response = web.WebSocketResponse(autoping=False, compress=False)
        if not response.can_prepare(request).ok:
            return web.Response(status=400, text="this address serves WebSocket only")
        socket = self._make_socket(response, request)
        await response.prepare(request)
        self._open.add(socket)
        try:
            await socket.serve()
        finally:
            self._open.discard(socket)
        return response
