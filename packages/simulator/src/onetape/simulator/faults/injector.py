"""Faults of the events that a socket sends: lost, doubled, spoiled or delayed.

Each socket has one `FaultInjector` and sends all of its frames through it.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import web

from onetape.simulator.faults.bodies import make_bad_frame
from onetape.simulator.faults.candles import spoil_event
from onetape.simulator.faults.lasting_faults import LastingFaults
from onetape.simulator.faults.registry import Call, Faults, Firing
from onetape.simulator.faults.transport import reset
from onetape.simulator.server.wire import JsonObject, format_json
from onetape.simulator.streams.frames import encode_text_frames

#: Size of a big frame, bytes; more than clients accept: CCXT and aiohttp refuse more than 10 MB.
BIG_BYTES: Final = 11_000_000
FLOOD_PER_SECOND: Final = 15_000
FLOOD_SECONDS: Final = 5.0
DELAY_SECONDS: Final = 5.0
YIELD_SECONDS: Final = 0.01
#: Kinds of which at most one fires at an event, because it ends the socket.
_SOCKET_ENDING_KINDS: Final = frozenset({"ws_close", "ws_abort", "ws_half_open"})
_numbers = itertools.count(1)
Frame = JsonObject | str | bytes


class FaultInjector:
    """Applies faults to the frames of one socket; the socket sends each event by `send`."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        faults: Faults,
        lasting_faults: LastingFaults,
        put: Callable[[str | bytes], Awaitable[None]],
    ) -> None:
        """Take an open socket.

        Args:
            socket: The WebSocket, which a fault may close.
            transport: Its TCP connection, which a fault may reset.
            faults: Faults that fire; read at each event.
            lasting_faults: Faults that last; read at each event.
            put: Sends one frame, and raises the errors of the socket.
        """
        self._socket = socket
        self._transport = transport
        self._faults = faults
        self._lasting_faults = lasting_faults
        self._put = put
        self._number = next(_numbers)
        self._held: dict[str, list[Frame]] = {}
        self._late_tasks: set[asyncio.Task[None]] = set()
        #: Whether the socket reads and sends nothing any more although its connection is open.
        self.is_half_open = False
        self._is_closing = False

    @property
    def is_plain(self) -> bool:
        """Whether events are sent unchanged: no fault is set, and the socket is not ending."""
        return not (self._faults.has_faults or self.is_half_open or self._is_closing)

    async def send(self, value: JsonObject, stream: str = "") -> None:
        """Send an event of a stream, or (without a stream) the reply to a command.

        The event may be wrapped, as `{"stream", "data"}` or `{"subscriptionId", "event"}`.
        """
        if self.is_half_open or self._is_closing:
            return
        if not stream or not self._faults.has_faults:
            await self._put_all([value])
            return
        await self._put_all(await self._apply_faults(value, stream))

    def fire_command_fault(self, names: list[str]) -> Firing | None:
        """Return the fault that fires at a SUBSCRIBE to these streams, or None."""
        for name in names:
            call = Call(
                "command", f"SUBSCRIBE {name}", stream=name, symbol=name.split("@")[0].upper()
            )
            for firing in self._faults.fire(call, frozenset({"ws_reject", "ws_no_ack"})):
                return firing
        return None

    async def put(self, frame: str | bytes) -> None:
        """Send one frame unchanged."""
        await self._put_all([frame])

    def reset(self) -> None:
        """End the connection with a reset."""
        self._is_closing = True
        reset(self._transport)

    async def send_part_and_end(self, text: str, part: float, *, is_reset: bool) -> None:
        """Send the first part of a text's frame, and end the connection.

        Args:
            text: Text of the frame.
            part: Fraction of the frame that is sent, 0 to 1.
            is_reset: Whether to reset the connection; otherwise it is closed.
        """
        if self._transport is None or self.is_half_open or self._is_closing:
            return
        frame = encode_text_frames([text])
        self._is_closing = True
        self._transport.write(frame[: max(int(len(frame) * part), 1)])
        # The transport writes at once; the pause lets the client read the part before the end.
        await asyncio.sleep(YIELD_SECONDS)
        if is_reset:
            reset(self._transport)
        else:
            self._transport.close()

    def end(self) -> None:
        """Drop the events that were held back, because the socket has ended."""
        for task in self._late_tasks:
            task.cancel()
        self._held.clear()

    async def _put_all(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self.is_half_open or self._is_closing:
                return
            await self._put(format_json(frame) if isinstance(frame, dict) else frame)

    async def _apply_faults(self, value: JsonObject, stream: str) -> list[Frame]:
        """Return the frames sent in place of an event; none where the socket has just ended."""
        key, event = _unwrap_event(value)
        symbol = str(event.get("s", ""))
        if self._lasting_faults.is_in_maintenance(stream):
            reset(self._transport)
            return []
        if symbol and stream != "user" and self._lasting_faults.is_halted_or_delisted(symbol):
            return []
        skew_ms = self._lasting_faults.compute_skew_ms()
        if skew_ms and isinstance(event.get("E"), int):
            event = {**event, "E": cast("int", event["E"]) + skew_ms}
            value = _wrap_event(value, key, event)
        kind = str(event.get("e", "bookTicker"))
        call = Call(
            "event", stream, stream=stream, event=kind, symbol=symbol, socket=self._number,
            is_fill=kind == "executionReport" and event.get("x") == "TRADE",
        )  # fmt: skip
        frames: list[Frame] = [value]
        for firing in self._fire_faults(call, event):
            if firing.fault.kind in _SOCKET_ENDING_KINDS:
                await self._end_socket(firing)
                return []
            frames = await self._apply_fault(firing, frames, call, (key, event))
        waiting = self._held.pop(_make_row_key(call), []) if frames else []
        return [*frames, *waiting]

    def _fire_faults(self, call: Call, event: JsonObject) -> tuple[Firing, ...]:
        firings = self._faults.fire(call, _SOCKET_ENDING_KINDS)
        if call.event == "kline":
            candle = cast("JsonObject", event["k"])
            opens_ms = cast("int", candle["t"]), cast("int", candle["T"]) + 1
            candles = Call(
                "candles", call.on, stream=call.stream, event="kline", symbol=call.symbol,
                opens_ms=opens_ms,
            )  # fmt: skip
            firings += self._faults.fire(candles)
        return firings

    async def _end_socket(self, firing: Firing) -> None:
        fault = firing.fault
        if fault.kind == "ws_close":
            code = 1001 if fault.code is None else fault.code
            # Closed in another task, so that a client that responds late does not delay this one.
            self._is_closing = True
            message = (fault.text or "").encode()
            self.run_later(lambda: self._socket.close(code=code, message=message))
            await asyncio.sleep(0)
        elif fault.kind == "ws_abort":
            reset(self._transport)
        else:
            self.is_half_open = True
            if self._transport is not None:
                self._transport.pause_reading()

    async def _apply_fault(
        self,
        firing: Firing,
        frames: list[Frame],
        call: Call,
        found: tuple[str, JsonObject],
    ) -> list[Frame]:
        """Return the frames after one fault was applied."""
        fault, (key, event) = firing.fault, found
        if fault.kind == "ws_silence":
            return []
        if fault.kind == "ws_garbage":
            return [make_bad_frame(fault.variant, event), *frames]
        if fault.kind == "ws_big_frame":
            return ['{"e":"big","x":"' + "x" * (fault.bytes or BIG_BYTES) + '"}', *frames]
        if fault.kind == "ws_flood":
            await self._send_flood(firing, frames)
            return frames
        shape = fault.variant
        if shape in ("lost", "missing"):
            return []
        if shape in ("duplicate", "duplicated"):
            return [*frames, *frames]
        if shape == "reordered":
            if _make_row_key(call) in self._held:
                return frames
            self._held[_make_row_key(call)] = frames
            return []
        if shape == "delayed":
            self.run_later(lambda: self._send_late(fault.seconds, frames))
            return []
        spoiled = spoil_event(firing, event)
        return [_wrap_event(cast("JsonObject", frame), key, spoiled) for frame in frames]

    async def _send_flood(self, firing: Firing, frames: list[Frame]) -> None:
        """Send an event many times a second, in batches of a twentieth of a second."""
        rate = firing.fault.per_second or FLOOD_PER_SECOND
        seconds = firing.fault.seconds or FLOOD_SECONDS
        texts = [format_json(frame) if isinstance(frame, dict) else frame for frame in frames]
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while sent < rate * seconds and not self.is_half_open and not self._socket.closed:
            due = min((loop.time() - began + 0.05) * rate, rate * seconds)
            while sent < due:
                for text in texts:
                    await self._put(text)
                sent += 1
            await asyncio.sleep(0.05)

    async def _send_late(self, seconds: float | None, frames: list[Frame]) -> None:
        await asyncio.sleep(DELAY_SECONDS if seconds is None else seconds)
        await self._put_all(frames)

    def run_later(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run work in a separate task, which ends with the socket."""

        async def finish() -> None:
            try:
                await work()
            except (ConnectionError, RuntimeError):
                return  # the client has disconnected

        task = asyncio.create_task(finish())
        self._late_tasks.add(task)
        task.add_done_callback(self._late_tasks.discard)


def _make_row_key(call: Call) -> str:
    """Return the key of the events that a reordering fault exchanges with each other."""
    return f"{call.stream} {call.event} {call.is_fill}"


def _unwrap_event(value: JsonObject) -> tuple[str, JsonObject]:
    """Return the key of the event in a message, and the event; empty: the message is the event."""
    for key in ("data", "event"):
        inner = value.get(key)
        if isinstance(inner, dict):
            return key, cast("JsonObject", inner)
    return "", value


def _wrap_event(value: JsonObject, key: str, event: JsonObject) -> JsonObject:
    return {**value, key: event} if key else event
