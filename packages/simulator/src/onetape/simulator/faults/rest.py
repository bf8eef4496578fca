"""Faults of REST requests and WebSocket handshakes: a middleware around all other handlers.

The faults act before the exchange gets a request (`before`), or on its response.
"""

import asyncio
import http
import json
from collections.abc import Awaitable, Callable
from typing import Final, cast
from urllib.parse import parse_qsl

from aiohttp import web

from onetape.simulator.faults.bodies import ERROR_TEXTS, make_proxy_page, make_wrong_body
from onetape.simulator.faults.candles import Row, spoil_rows
from onetape.simulator.faults.lasting_faults import LastingFaults
from onetape.simulator.faults.model import Fault
from onetape.simulator.faults.registry import Call, Faults, Firing
from onetape.simulator.faults.transport import hang, reset
from onetape.simulator.server.wire import JsonObject, format_json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Time after which a request without a response ends, if the fault has no `seconds`.
HANG_SECONDS: Final = 3_600.0
#: Beginning of the simulator's control paths, which no fault affects.
CONTROL_PREFIX: Final = "/simulator"
#: Kinds of which at most one fires at a request; the others wait for the next request.
REQUEST_ENDING_KINDS: Final = frozenset(
    {"timeout", "reset", "cut_body", "drip", "wrong_body", "status"}
)


class RestFaults:
    """Applies faults to requests and handshakes."""

    def __init__(self, faults: Faults, lasting_faults: LastingFaults) -> None:
        """Take the faults of the simulator, and the present effect of those that last."""
        self._faults = faults
        self._lasting_faults = lasting_faults

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request, or apply a fault to it."""
        if not self._faults.has_faults or request.path.startswith(CONTROL_PREFIX):
            return await handler(request)
        symbol = await find_symbol(request)
        if is_handshake(request):
            return await self._respond_to_handshake(request, handler)
        refused = self._lasting_faults.find_refusal(request.method, request.path, symbol)
        if refused is not None:
            return refused
        call = Call(
            "rest", f"{request.method} {request.path}", method=request.method, path=request.path,
            symbol=symbol,
        )  # fmt: skip
        firings = self._faults.fire(call, REQUEST_ENDING_KINDS)
        return await self._respond(request, handler, firings)

    async def _respond(
        self, request: web.Request, handler: Handler, firings: tuple[Firing, ...]
    ) -> web.StreamResponse:
        terminal = None
        for firing in firings:
            if firing.fault.kind == "latency":
                await hang(request, firing.draw_delay_seconds())
            elif firing.fault.kind in REQUEST_ENDING_KINDS:
                terminal = firing
        if terminal is not None and terminal.fault.is_before:
            return await _end_request(request, terminal, web.Response(text="{}"))
        response = self._lasting_faults.edit_response(request, await handler(request))
        if request.path.endswith("/klines") and response.status == 200:
            response = self._spoil_response(request, response)
        return response if terminal is None else await _end_request(request, terminal, response)

    def _spoil_response(
        self, request: web.Request, response: web.StreamResponse
    ) -> web.StreamResponse:
        rows = cast("list[Row]", json.loads(_get_body(response)))
        if not rows:
            return response
        opens_ms = int(str(rows[0][0])), int(str(rows[-1][0])) + 1
        call = Call(
            "candles", f"GET {request.path}", method="GET", path=request.path,
            symbol=request.query.get("symbol", ""), opens_ms=opens_ms,
        )  # fmt: skip
        firings = self._faults.fire(call)
        for firing in firings:
            rows = spoil_rows(firing, rows)
        if not firings:
            return response
        return web.Response(text=format_json(rows), content_type="application/json")

    async def _respond_to_handshake(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if self._lasting_faults.is_in_maintenance("a handshake"):
            return self._lasting_faults.make_unavailable_response()
        call = Call("handshake", f"handshake {request.path}", path=request.path)
        for firing in self._faults.fire(call, frozenset({"ws_refuse"})):
            return await _refuse_handshake(request, firing)
        return await handler(request)


def is_handshake(request: web.Request) -> bool:
    """Return whether a request opens a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def find_symbol(request: web.Request) -> str:
    """Return the market that a request names in its query or form, as `BTCUSDT`; empty: none."""
    if "symbol" in request.query:
        return request.query["symbol"]
    if request.method == "GET" or not request.can_read_body:
        return ""
    return dict(parse_qsl((await request.read()).decode("utf-8", "replace"))).get("symbol", "")


async def _end_request(
    request: web.Request, firing: Firing, response: web.StreamResponse
) -> web.StreamResponse:
    """Return the response that a fault of `REQUEST_ENDING_KINDS` makes of the true response."""
    fault = firing.fault
    if fault.kind == "timeout":
        await hang(request, fault.seconds or HANG_SECONDS)
        return response
    if fault.kind == "status":
        return _make_status_response(firing)
    body = _get_body(response)
    if fault.kind == "wrong_body":
        made, content_type = make_wrong_body(fault.variant, body)
        return web.Response(body=made, content_type=content_type)
    if fault.kind == "drip":
        return await _drip_response(request, response, body, fault.seconds)
    part = 0.5 if fault.part is None else fault.part
    if fault.kind == "cut_body" or fault.when == "body":
        sent = await _begin_response(request, response, body, part)
        if request.transport is not None and fault.kind == "cut_body":
            request.transport.close()
        else:
            reset(request.transport)
        return sent
    reset(request.transport)
    return web.Response(status=503)


def _make_status_response(firing: Firing) -> web.Response:
    fault = firing.fault
    status = fault.status or 500
    headers = {**(fault.headers or {})}
    if fault.code is None and fault.text is None:
        text = make_proxy_page(status, _get_reason_phrase(status))
        headers.setdefault("Content-Type", "text/html")
    else:
        text = format_json(make_error_body(fault))
        headers.setdefault("Content-Type", "application/json;charset=UTF-8")
    return web.Response(body=text.encode(), status=status, headers=headers)


def make_error_body(fault: Fault) -> JsonObject:
    """Return the error response of a fault, in Binance's form."""
    code = 0 if fault.code is None else fault.code
    return {"code": code, "msg": ERROR_TEXTS.get(code, "") if fault.text is None else fault.text}


def _get_reason_phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


async def _begin_response(
    request: web.Request, response: web.StreamResponse, body: bytes, part: float
) -> web.StreamResponse:
    """Send the head of a response, with the length of the whole body, and a part of the body."""
    sent = web.StreamResponse(status=response.status)
    sent.content_type = response.content_type
    sent.content_length = max(len(body), 2)
    await sent.prepare(request)
    await sent.write(body[: max(int(len(body) * part), 1)] or b"{")
    # The transport writes at once; the pause lets the client read the part before the end.
    await asyncio.sleep(0.01)
    return sent


async def _drip_response(
    request: web.Request, response: web.StreamResponse, body: bytes, seconds: float | None
) -> web.StreamResponse:
    sent = web.StreamResponse(status=response.status)
    sent.content_type = response.content_type
    sent.content_length = len(body)
    await sent.prepare(request)
    for place in range(len(body)):
        await sent.write(body[place : place + 1])
        await hang(request, 1.0 if seconds is None else seconds)
        if request.transport is None or request.transport.is_closing():
            break
    return sent


async def _refuse_handshake(request: web.Request, firing: Firing) -> web.StreamResponse:
    fault = firing.fault
    shape = fault.variant
    if shape == "hang":
        await hang(request, fault.seconds or HANG_SECONDS)
        reset(request.transport)
        return web.Response(status=503)
    if shape == "reset":
        reset(request.transport)
        return web.Response(status=503)
    status = 200 if shape == "page" else fault.status or 503
    text = make_proxy_page(status, _get_reason_phrase(status))
    return web.Response(text=text, status=status, headers=fault.headers, content_type="text/html")


def _get_body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else b""
    return bytes(body) if isinstance(body, bytes | bytearray) else b""
