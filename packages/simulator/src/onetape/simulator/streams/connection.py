"""One socket of market streams: its subscriptions, its commands and the events due on them."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock, SteppedClock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.server.context import ServerContext
from onetape.simulator.server.wire import JsonObject, format_event, parse_json
from onetape.simulator.streams.feeds import EventFeed, InvalidStream, make_feed
from onetape.simulator.streams.frames import encode_text_frames
from onetape.simulator.streams.sockets import Socket

#: Number of events of one stream after which other tasks of the loop run.
TURN_EVENTS: Final = 50
#: Streams that become due within so many wall seconds are checked together.
TOGETHER_SECONDS: Final = 0.005
MAX_STREAMS: Final = 1_024
_METHODS: Final = (
    "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY",
)  # fmt: skip


class CommandError(Exception):
    """A command to which Binance responds with an error: a code and a text."""

    def __init__(self, code: int, message: str) -> None:
        """Take Binance's code and text."""
        super().__init__(message)
        self.code = code
        self.message = message


class StreamConnection(Socket):
    """One client of market streams.

    A client that reads slowly gets fewer forming candles, but all closed ones, and delays no other
    client. No events are queued: due events are computed when the socket can send them.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        market: SimulatedMarket,
        clock: Clock,
        context: ServerContext,
        *,
        combined: bool,
    ) -> None:
        """Serve the streams of a socket.

        Args:
            socket: Open WebSocket.
            request: Its handshake, whose path or query may name streams.
            market: Market of the events.
            clock: Market time.
            context: Faults, limits and rules.
            combined: Whether to wrap each event with the name of its stream.
        """
        super().__init__(socket, request, clock, context)
        self._market = market
        self._is_combined = combined
        self._feeds: dict[str, EventFeed] = {}
        self._due: dict[str, float] = {}
        self._collected: list[str] = []
        """Events as JSON texts, which the next `_flush` sends together."""

    def subscribe(self, names: list[str]) -> None:
        """Add streams; streams that are subscribed already go on unchanged.

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
        if len(self._feeds) + len(feeds) > MAX_STREAMS:
            raise CommandError(2, "Invalid request: too many streams")
        self._feeds.update(feeds)
        self._due.update(dict.fromkeys(feeds, 0.0))
        self._wake.set()

    def wake(self) -> None:
        """Send the events that are due now, because a driver moved the clock."""
        self._due = dict.fromkeys(self._due, 0.0)
        super().wake()

    async def _process_message(self, text: str) -> None:
        """Respond to a command, unless a fault drops the response."""
        firing = self._injector.fire_command_fault(_find_subscribed_streams(text))
        if firing is not None and firing.fault.kind == "ws_reject":
            error = CommandError(
                2 if firing.fault.code is None else firing.fault.code,
                firing.fault.text or "Invalid request: invalid stream",
            )
            await self._injector.send(_make_error_reply(error, _parse_command(text).get("id")))
            return
        reply = self._make_reply(text)
        if firing is None:
            await self._injector.send(reply)

    async def _send_due(self, now_ms: int) -> None:
        soon = time.monotonic() + TOGETHER_SECONDS
        for name, feed in list(self._feeds.items()):
            if self._due.get(name, 0.0) > soon:
                continue
            events = feed.iterate_events(now_ms)
            while batch := list(itertools.islice(events, TURN_EVENTS)):
                if self._is_closed:
                    return
                if name not in self._feeds:
                    break
                await self._send_all(batch, name)
                if len(batch) == TURN_EVENTS:
                    await self._flush()
                    await asyncio.sleep(0)
            if name in self._feeds:
                self._due[name] = time.monotonic() + feed.compute_wait_seconds(self._clock)
        await self._flush()

    def _compute_idle_seconds(self) -> float | None:
        if not self._due or isinstance(self._clock, SteppedClock):
            return None
        return max(min(self._due.values()) - time.monotonic(), 0.0)

    async def _send(self, event: JsonObject, stream: str) -> None:
        await super()._send(self._wrap_event(event, stream), stream)

    def _wrap_event(self, event: JsonObject, stream: str) -> JsonObject:
        """Return the content of the frame of an event."""
        return {"stream": stream, "data": event} if self._is_combined else event

    async def _send_all(self, events: list[JsonObject], stream: str) -> None:
        """Send some events of one stream; collect them for `_flush` where no fault changes them."""
        if self._injector.is_plain:
            self._collected += [format_event(self._wrap_event(event, stream)) for event in events]
            return
        await self._flush()
        for event in events:
            if self._is_closed or stream not in self._feeds:
                return
            await self._send(event, stream)

    async def _flush(self) -> None:
        """Send the collected events by one call of the socket, which is faster than one for each.

        Nothing is awaited since they were collected, so their streams are still subscribed.
        """
        texts, self._collected = self._collected, []
        if texts:
            await self._put_frames(encode_text_frames(texts))

    def _make_reply(self, text: str) -> JsonObject:
        """Return the reply to a command, in Binance's form."""
        number: object = None
        try:
            command = _parse_command(text)
            number = command.get("id")
            return {"result": self._run_command(command), "id": number}
        except CommandError as error:
            return _make_error_reply(error, number)

    def _run_command(self, command: JsonObject) -> object:
        """Carry out a stream command of the client; return its result."""
        methods: dict[str, Callable[[list[object]], object]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": lambda _: list(self._feeds),
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": lambda _: self._is_combined,
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

    def _subscribe(self, params: list[object]) -> None:
        self.subscribe(cast("list[str]", params))

    def _unsubscribe(self, params: list[object]) -> None:
        for name in params:
            self._feeds.pop(str(name), None)
            self._due.pop(str(name), None)

    def _set_property(self, params: list[object]) -> None:
        if len(params) != 2 or params[0] != "combined" or not isinstance(params[1], bool):
            raise CommandError(0, "Unknown property")
        self._is_combined = params[1]


def _make_error_reply(error: CommandError, number: object) -> JsonObject:
    reply: JsonObject = {"error": {"code": error.code, "msg": error.message}}
    return reply if number is None else reply | {"id": number}


def _find_subscribed_streams(text: str) -> list[str]:
    """Return the streams that a command subscribes to; none where it is another command."""
    try:
        command = _parse_command(text)
    except CommandError:
        return []
    params = command.get("params")
    if command.get("method") != "SUBSCRIBE" or not isinstance(params, list):
        return []
    return [str(name) for name in cast("list[object]", params)]


def _parse_command(text: str) -> JsonObject:
    try:
        command = parse_json(text)
    except ValueError as error:
        raise CommandError(3, f"Invalid JSON: {error}") from None
    if not isinstance(command, dict):
        raise CommandError(2, "Invalid request: not an object")
    found = cast("JsonObject", command)
    number = found.get("id")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | str)):
        raise CommandError(2, "Invalid request: request ID must be an unsigned integer")
    return found
