"""Faults of requests over the WebSocket API: a reply is late, lost, wrong, or cut with its socket.

What has a meaning for one frame among others is done as over REST; `drip` has none. A reply has no
headers: `Retry-After` of a `status` fault comes as `error.data.retryAfter`, as from Binance.
"""

import asyncio
from collections.abc import Callable

from onetape.core.clock import Clock
from onetape.simulator.faults.bodies import TEXTS, wrong_body
from onetape.simulator.faults.injector import FaultInjector
from onetape.simulator.faults.model import Fault
from onetape.simulator.faults.registry import Call, Faults, Firing
from onetape.simulator.faults.rest import TERMINAL, error_of
from onetape.simulator.server.limits import WS_API_PATH
from onetape.simulator.server.wire import JsonObject, json_text

Work = Callable[[], JsonObject]
_UNKNOWN = -1000


class RequestFaults:
    """Applies the faults of one socket's requests; each response passes `answer`."""

    def __init__(self, faults: Faults, injector: FaultInjector, clock: Clock) -> None:
        """Apply these faults to each request, and send replies through this injector."""
        self._faults = faults
        self._injector = injector
        self._clock = clock

    async def answer(self, method: str, symbol: str, number: object, work: Work) -> None:
        """Handle a request, or apply a fault to it.

        Args:
            method: Such as `order.place`.
            symbol: The market that it names, or nothing.
            number: Id of the request.
            work: Carries out the request and returns the reply.
        """
        call = Call(
            "request", f"{method} over WebSocket", method=method, path=WS_API_PATH, symbol=symbol
        )
        firings = self._faults.fire(call, TERMINAL)
        late = [firing.delay_seconds() for firing in firings if firing.fault.kind == "latency"]
        ends = [firing for firing in firings if firing.fault.kind in TERMINAL]

        async def answered() -> None:
            await asyncio.sleep(sum(late))
            await self._ended(ends, number, work)

        if late:
            # In a separate task: pings and other requests are answered meanwhile.
            self._injector.later(answered)
        else:
            await self._ended(ends, number, work)

    async def _ended(self, ends: list[Firing], number: object, work: Work) -> None:
        """Bring a request to the end that a fault has in mind, if there is one."""
        if not ends:
            await self._injector.send(work())
            return
        fault = ends[0].fault
        reply = {} if fault.is_before else work()
        text = json_text(reply)
        if fault.kind == "status":
            await self._injector.send(self._refusal(fault, number))
        elif fault.kind == "wrong_body":
            body, content_type = wrong_body(fault.variant, text.encode())
            is_text = not content_type.endswith("octet-stream")
            await self._injector.put(body.decode("utf-8", "replace") if is_text else body)
        elif fault.kind == "timeout":
            self._never(fault, reply)
        elif fault.kind == "cut_body" or fault.moment == "body":
            part = 0.5 if fault.part is None else fault.part
            await self._injector.cut_in(text, part, politely=fault.kind == "cut_body")
        else:
            self._injector.reset()

    def _never(self, fault: Fault, reply: JsonObject) -> None:
        """Leave a request without a response, or with one when its time is over."""
        seconds = fault.seconds
        if seconds is None or not reply:
            return

        async def at_last() -> None:
            await asyncio.sleep(seconds)
            await self._injector.send(reply)

        self._injector.later(at_last)

    def _refusal(self, fault: Fault, number: object) -> JsonObject:
        error = error_of(fault)
        if fault.code is None and fault.text is None:
            # Over REST the body is a proxy's page; on a WebSocket no proxy sends one.
            error = {"code": _UNKNOWN, "msg": TEXTS[_UNKNOWN]}
        wait = (fault.headers or {}).get("Retry-After", "")
        if wait.isdecimal():
            now_ms = self._clock.now_ms()
            data = {"serverTime": now_ms, "retryAfter": now_ms + int(wait) * 1_000}
            error = {**error, "data": data}
        return {"id": number, "status": fault.status, "error": error}
