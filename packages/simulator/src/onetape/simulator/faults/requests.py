"""Faults of requests over the WebSocket API: a reply is late, lost, wrong, or cut with its socket.

The kinds are those of REST that can act on a single frame (`kinds.WEBSOCKET_API_KINDS`). A reply
has no headers: `Retry-After` of a `status` fault is `error.data.retryAfter`, as at Binance.
"""

import asyncio
from collections.abc import Callable

from onetape.core.clock import Clock
from onetape.simulator.faults.bodies import ERROR_TEXTS, make_wrong_body
from onetape.simulator.faults.injector import FaultInjector
from onetape.simulator.faults.model import Fault
from onetape.simulator.faults.registry import Call, Faults, Firing
from onetape.simulator.faults.rest import REQUEST_ENDING_KINDS, make_error_body
from onetape.simulator.server.limits import WS_API_PATH
from onetape.simulator.server.wire import JsonObject, format_json

Work = Callable[[], JsonObject]
_UNKNOWN = -1000


class RequestFaults:
    """Applies the faults of one socket's requests; each response is sent by `respond`."""

    def __init__(self, faults: Faults, injector: FaultInjector, clock: Clock) -> None:
        """Apply these faults to each request, and send replies through this injector."""
        self._faults = faults
        self._injector = injector
        self._clock = clock

    async def respond(self, method: str, symbol: str, number: object, work: Work) -> None:
        """Handle a request, or apply a fault to it.

        Args:
            method: Such as `order.place`.
            symbol: The market that the request names; empty: none.
            number: Id of the request.
            work: Carries out the request and returns the reply.
        """
        call = Call(
            "request", f"{method} over WebSocket", method=method, path=WS_API_PATH, symbol=symbol
        )
        firings = self._faults.fire(call, REQUEST_ENDING_KINDS)
        late = [firing.draw_delay_seconds() for firing in firings if firing.fault.kind == "latency"]
        ends = [firing for firing in firings if firing.fault.kind in REQUEST_ENDING_KINDS]

        async def respond_late() -> None:
            await asyncio.sleep(sum(late))
            await self._end_request(ends, number, work)

        if late:
            # In a separate task, so that pings and other requests get their responses meanwhile.
            self._injector.run_later(respond_late)
        else:
            await self._end_request(ends, number, work)

    async def _end_request(self, ends: list[Firing], number: object, work: Work) -> None:
        """Carry out a request, and apply the fault that ends it, if there is one."""
        if not ends:
            await self._injector.send(work())
            return
        fault = ends[0].fault
        reply = {} if fault.is_before else work()
        text = format_json(reply)
        if fault.kind == "status":
            await self._injector.send(self._make_status_reply(fault, number))
        elif fault.kind == "wrong_body":
            body, content_type = make_wrong_body(fault.variant, text.encode())
            is_text = not content_type.endswith("octet-stream")
            await self._injector.put(body.decode("utf-8", "replace") if is_text else body)
        elif fault.kind == "timeout":
            self._withhold_reply(fault, reply)
        elif fault.kind == "cut_body" or fault.moment == "body":
            part = 0.5 if fault.part is None else fault.part
            await self._injector.send_part_and_end(text, part, is_reset=fault.kind != "cut_body")
        else:
            self._injector.reset()

    def _withhold_reply(self, fault: Fault, reply: JsonObject) -> None:
        """Send no reply, or send it once the fault's `seconds` are over."""
        seconds = fault.seconds
        if seconds is None or not reply:
            return

        async def send_late() -> None:
            await asyncio.sleep(seconds)
            await self._injector.send(reply)

        self._injector.run_later(send_late)

    def _make_status_reply(self, fault: Fault, number: object) -> JsonObject:
        error = make_error_body(fault)
        if fault.code is None and fault.text is None:
            # Over REST the body is a proxy's page; on a WebSocket no proxy sends one.
            error = {"code": _UNKNOWN, "msg": ERROR_TEXTS[_UNKNOWN]}
        wait = (fault.headers or {}).get("Retry-After", "")
        if wait.isdecimal():
            now_ms = self._clock.now_ms()
            data = {"serverTime": now_ms, "retryAfter": now_ms + int(wait) * 1_000}
            error = {**error, "data": data}
        return {"id": number, "status": fault.status, "error": error}
