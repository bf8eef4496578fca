"""One WebSocket: its subscriptions, its commands, and the task that sends what becomes due."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp import ClientError, WSMsgType, web

from onetape.core.clock import Clock, SteppedClock
from onetape.simulator.faults.gate import Gate
from onetape.simulator.faults.transport import reset, send_frame
from onetape.simulator.feeds import Feed, InvalidStream, make_feed
from onetape.simulator.frames import text_frames
from onetape.simulator.house import House
from onetape.simulator.limits import MessageLimit
from onetape.simulator.market import Market
from onetape.simulator.wire import JsonObject, json_text

#: A socket whose reader lets nothing through for so long (wall time) is cut.
SEND_SECONDS: Final = 10.0
#: The server pings so often, and cuts a socket that has been silent for so long, as Binance does.
PING_SECONDS: Final = 20.0
SILENT_SECONDS: Final = 60.0
#: After so many events of one stream everybody else in the loop has a turn.
TURN_EVENTS: Final = 50
#: What may wait for a slow reader, and how often somebody looks how far it is.
MOST_UNSENT_BYTES: Final = 256 * 1_024
DRAIN_SECONDS: Final = 0.002
MOST_STREAMS: Final = 1_024
_METHODS: Final = (
    "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY",
)  # fmt: skip
#: A socket lives so long (market time), and is told so long before.
LIFE_MS: Final = 24 * 3_600_000
WARNING_MS: Final = 10 * 60_000
#: What goes wrong on a socket whose other side is gone; there is nobody left to tell.
GONE: Final = (ConnectionError, ClientError, RuntimeError)


class CommandError(Exception):
    """A command that Binance answers with an error: a code and a text."""

    def __init__(self, code: int, message: str) -> None:
        """Take Binance's code and text."""
        super().__init__(message)
        self.code = code
        self.message = message


class Connection:
    """One client, served by a task of its own at the pace of its reader.

    A slow reader gets fewer forming candles, never fewer closed ones, and holds up nobody else.
    Nothing is queued: what is due is worked out when the socket can take it.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        market: Market,
        clock: Clock,
        house: House,
        *,
        combined: bool,
    ) -> None:
        """Take a socket; `combined` wraps each event with the name of its stream."""
        self._socket = socket
        self._transport = request.transport
        self._market = market
        self._clock = clock
        self._combined = combined
        self._feeds: dict[str, Feed] = {}
        self._due: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._reached_ms = -1
        self._last_heard = time.monotonic()
        self._closed = False
        self._began_ms = clock.now_ms()
        self._warned = False
        self._is_mortal = house.sockets_end
        self._messages = MessageLimit(enforced=house.limits.enforced)
        self._gate = Gate(socket, self._transport, house.faults, house.states, self._put)

    def subscribe(self, names: list[str]) -> None:
        """Add streams; those that are there already go on as they are.

        Raises:
            CommandError: a name is no stream, or they would be more than 1,024. None is added.
        """
        if any(not isinstance(name, str) for name in cast("list[object]", names)):
            raise CommandError(2, "Invalid request: params must be an array of strings")
        try:
            feeds = {
                name: make_feed(name, self._market) for name in names if name not in self._feeds
            }
        except InvalidStream:
            raise CommandError(2, "Invalid request: invalid stream") from None
        if len(self._feeds) + len(feeds) > MOST_STREAMS:
            raise CommandError(2, "Invalid request: too many streams")
        self._feeds.update(feeds)
        self._due.update(dict.fromkeys(feeds, 0.0))
        self._wake.set()

    def wake(self) -> None:
        """Look at the market now: a driver moved the clock."""
        self._due = dict.fromkeys(self._due, 0.0)
        self._wake.set()

    def abort(self) -> None:
        """Cut the connection at once, without a word: the client sees a broken socket."""
        self._closed = True
        self._wake.set()
        reset(self._transport)

    async def reached(self, market_ms: int) -> None:
        """Wait until everything up to this market time was sent, or the connection ended."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._closed or self._reached_ms >= market_ms)

    async def serve(self) -> None:
        """Answer commands and send events until the socket ends."""
        tasks = [asyncio.create_task(self._send_loop()), asyncio.create_task(self._ping_loop())]
        try:
            await self._read_loop()
        finally:
            self._closed = True
            self._gate.end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with self._progress:
                self._progress.notify_all()

    async def _read_loop(self) -> None:
        async for message in self._socket:
            self._last_heard = time.monotonic()
            if self._gate.half_open:
                continue
            if self._messages.is_over():
                await self._socket.close(code=1008, message=b"Too many requests")
                return
            if message.type is WSMsgType.TEXT:
                await self._reply(cast("str", message.data))
            elif message.type is WSMsgType.PING:
                await self._socket.pong(cast("bytes", message.data))

    async def _reply(self, text: str) -> None:
        """Answer a command, or leave the client without an answer where a fault says so."""
        firing = self._gate.command(_streams_in(text))
        if firing is not None and firing.fault.kind == "ws_reject":
            error = CommandError(
                2 if firing.fault.code is None else firing.fault.code,
                firing.fault.text or "Invalid request: invalid stream",
            )
            await self._gate.send(_refusal(error, _parsed(text).get("id")))
            return
        answer = self._answer(text)
        if firing is None:
            await self._gate.send(answer)

    async def _ping_loop(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            if self._gate.half_open:
                continue
            if time.monotonic() - self._last_heard > SILENT_SECONDS:
                self.abort()
                return
            try:
                await self._socket.ping(str(self._clock.now_ms()).encode())
            except GONE:
                return

    async def _send_loop(self) -> None:
        while not self._closed:
            self._wake.clear()
            now_ms = self._clock.now_ms()
            try:
                await self._grow_old(now_ms)
                await self._send_due(now_ms)
            except GONE:
                self.abort()
                return
            async with self._progress:
                self._reached_ms = now_ms
                self._progress.notify_all()
            await self._until_due()

    async def _grow_old(self, now_ms: int) -> None:
        """Warn the client before the end of the socket's life, and end it then."""
        if not self._is_mortal:
            return
        age_ms = now_ms - self._began_ms
        if age_ms >= LIFE_MS - WARNING_MS and not self._warned:
            self._warned = True
            await self._send({"e": "serverShutdown", "E": now_ms}, "serverShutdown")
        if age_ms >= LIFE_MS:
            self._closed = True
            await self._socket.close(code=1001, message=b"24 hours are over")

    async def _send_due(self, now_ms: int) -> None:
        wall = time.monotonic()
        for name, feed in list(self._feeds.items()):
            if self._due.get(name, 0.0) > wall:
                continue
            events = feed.events(now_ms)
            while batch := list(itertools.islice(events, TURN_EVENTS)):
                if self._closed or name not in self._feeds:
                    return
                await self._send_all(batch, name)
                if len(batch) == TURN_EVENTS:
                    await asyncio.sleep(0)
            if name in self._feeds:
                self._due[name] = time.monotonic() + feed.wait_seconds(self._clock)

    async def _until_due(self) -> None:
        """Sleep until a stream is due, or until something wakes the connection."""
        timeout = None
        if self._due and not isinstance(self._clock, SteppedClock):
            timeout = max(min(self._due.values()) - time.monotonic(), 0.0)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _send(self, event: JsonObject, stream: str) -> None:
        """Send an event; every event of every stream passes here, and its faults with it."""
        value: JsonObject = {"stream": stream, "data": event} if self._combined else event
        await self._gate.send(value, stream)

    async def _send_all(self, events: list[JsonObject], stream: str) -> None:
        """Send some events of one stream, in one piece where no fault may change them."""
        if not self._gate.is_plain or self._transport is None or len(events) == 1:
            for event in events:
                if self._closed or stream not in self._feeds:
                    return
                await self._send(event, stream)
            return
        # A call of the socket for each frame would cost more than the frame.
        values = [{"stream": stream, "data": event} for event in events]
        self._transport.write(text_frames(map(json_text, values if self._combined else events)))
        patience = time.monotonic() + SEND_SECONDS
        while self._transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            if time.monotonic() > patience or self._transport.is_closing():
                raise ConnectionResetError("the reader stands still, or is gone")
            await asyncio.sleep(DRAIN_SECONDS)

    async def _put(self, frame: str | bytes) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send_frame(self._socket, frame)
        except TimeoutError:
            self.abort()

    def _answer(self, text: str) -> JsonObject:
        """Return the reply to a command, in Binance's form."""
        number: object = None
        try:
            command = _parsed(text)
            number = command.get("id")
            return {"result": self._done(command), "id": number}
        except CommandError as error:
            return _refusal(error, number)

    def _done(self, command: JsonObject) -> object:
        """Carry out a command and return its result."""
        methods: dict[str, Callable[[list[object]], object]] = {
            "SUBSCRIBE": self._subscribed,
            "UNSUBSCRIBE": self._unsubscribed,
            "LIST_SUBSCRIPTIONS": lambda _: list(self._feeds),
            "SET_PROPERTY": self._property_set,
            "GET_PROPERTY": lambda _: self._combined,
        }
        method = methods.get(str(command.get("method")))
        if method is None:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            text = f"unknown variant `{command.get('method')}`, expected one of {known}"
            raise CommandError(2, f"Invalid request: {text}")
        params = command.get("params", [])
        if not isinstance(params, list):
            raise CommandError(2, "Invalid request: params must be an array")
        return method(cast("list[object]", params))

    def _subscribed(self, params: list[object]) -> None:
        self.subscribe(cast("list[str]", params))

    def _unsubscribed(self, params: list[object]) -> None:
        for name in params:
            self._feeds.pop(str(name), None)
            self._due.pop(str(name), None)

    def _property_set(self, params: list[object]) -> None:
        if len(params) != 2 or params[0] != "combined" or not isinstance(params[1], bool):
            raise CommandError(0, "Unknown property")
        self._combined = params[1]


def _refusal(error: CommandError, number: object) -> JsonObject:
    reply: JsonObject = {"error": {"code": error.code, "msg": error.message}}
    return reply if number is None else reply | {"id": number}


def _streams_in(text: str) -> list[str]:
    """Return the streams that a command subscribes to; none where it is another command."""
    try:
        command = _parsed(text)
    except CommandError:
        return []
    params = command.get("params")
    if command.get("method") != "SUBSCRIBE" or not isinstance(params, list):
        return []
    return [str(name) for name in cast("list[object]", params)]


def _parsed(text: str) -> JsonObject:
    try:
        command = cast("object", json.loads(text))
    except ValueError as error:
        raise CommandError(3, f"Invalid JSON: {error}") from None
    if not isinstance(command, dict):
        raise CommandError(2, "Invalid request: not an object")
    found = cast("JsonObject", command)
    number = found.get("id")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | str)):
        raise CommandError(2, "Invalid request: request ID must be an unsigned integer")
    return found
