"""Faults that last: maintenance, a market that is halted or delisted, a clock that is wrong.

While such a fault is active it changes every request and event that it concerns.
"""

import json
from typing import Any, Final

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.faults.bodies import make_proxy_page
from onetape.simulator.faults.registry import Faults
from onetape.simulator.server.error_replies import Refusal, make_invalid_symbol_refusal
from onetape.simulator.server.wire import JsonObject, format_json
from onetape.simulator.trading.order_refusals import make_market_closed_refusal

_ORDER_PATHS: Final = (
    "/api/v3/order", "/api/v3/order/test", "/api/v3/order/cancelReplace", "/api/v3/order/oco",
    "/api/v3/orderList/oco",
)  # fmt: skip
_PATHS_WITH_TIME: Final = ("/api/v3/time", "/api/v3/exchangeInfo")


class LastingFaults:
    """Effects of the lasting faults that are active now, on requests, responses and events."""

    def __init__(self, faults: Faults, clock: Clock) -> None:
        """Take all faults of the simulator, and the clock of market time."""
        self._faults = faults
        self._clock = clock

    def is_in_maintenance(self, on: str) -> bool:
        """Return whether the exchange is in maintenance; `on` names the request in the log."""
        return bool(self._faults.fire_lasting("maintenance", on))

    def compute_skew_ms(self) -> int:
        """Return the milliseconds by which the exchange's clock is ahead of market time."""
        firings = self._faults.fire_lasting("clock_skew", "the exchange's clock")
        return round(sum(firing.fault.seconds or 0.0 for firing in firings) * 1_000)

    def is_halted_or_delisted(self, symbol: str) -> bool:
        """Return whether a market has no trades now: it is halted or delisted."""
        return bool(
            self._faults.fire_lasting("halted", "a stream", symbol)
            or self._faults.fire_lasting("delisted", "a stream", symbol)
        )

    def make_unavailable_response(self) -> web.Response:
        """Return the response to every request during maintenance."""
        text = make_proxy_page(503, "Service Temporarily Unavailable")
        return web.Response(text=text, status=503, content_type="text/html")

    def find_refusal(self, method: str, path: str, symbol: str) -> web.Response | None:
        """Return the response to a request that a lasting fault refuses, or None."""
        on = f"{method} {path}"
        if self.is_in_maintenance(on):
            return self.make_unavailable_response()
        closed = self.find_market_refusal(
            on, symbol, orders=path in _ORDER_PATHS and method == "POST"
        )
        return None if closed is None else _make_refusal_response(closed)

    def find_market_refusal(self, on: str, symbol: str, *, orders: bool) -> Refusal | None:
        """Return the reason why a market refuses a request, or None.

        Args:
            on: Name of the request, for the log.
            symbol: The market of the request, as `BTCUSDT`; empty: none.
            orders: Whether the request is a new order.
        """
        if not symbol:
            return None
        if self._faults.fire_lasting("delisted", on, symbol):
            return make_invalid_symbol_refusal()
        if orders and self._faults.fire_lasting("halted", on, symbol):
            return make_market_closed_refusal()
        return None

    def edit_response(
        self, request: web.Request, response: web.StreamResponse
    ) -> web.StreamResponse:
        """Return a response as changed by the lasting faults.

        Times get the clock's error, halted markets their status, and delisted markets are left out.
        """
        if response.status != 200 or not isinstance(response, web.Response):
            return response
        if request.path in _PATHS_WITH_TIME:
            document: Any = json.loads(response.text or "{}")
            document["serverTime"] += self.compute_skew_ms()
            document = self._edit_market_list(document)
            return web.Response(text=format_json(document), content_type="application/json")
        if request.path == "/api/v3/klines":
            return self._cut_at_halt(request.query.get("symbol", ""), response)
        if request.path.startswith("/api/v3/ticker/") and (response.text or "").startswith("["):
            entries: Any = json.loads(response.text or "[]")
            listed = [entry for entry in entries if not self._is_delisted(str(entry["symbol"]))]
            return web.Response(text=format_json(listed), content_type="application/json")
        return response

    def _edit_market_list(self, document: JsonObject) -> JsonObject:
        entries: Any = document.get("symbols")
        if entries is None:
            return document
        listed: list[object] = []
        for entry in entries:
            name = str(entry["symbol"])
            if self._is_delisted(name):
                continue
            halted = self._faults.fire_lasting("halted", "GET /api/v3/exchangeInfo", name)
            listed.append({**entry, "status": "BREAK"} if halted else entry)
        return {**document, "symbols": listed}

    def _is_delisted(self, name: str) -> bool:
        return bool(self._faults.fire_lasting("delisted", "a list of markets", name))

    def _cut_at_halt(self, symbol: str, response: web.Response) -> web.Response:
        """Return klines without those that opened after the market was halted."""
        firings = self._faults.fire_lasting("halted", "GET /api/v3/klines", symbol)
        if not firings:
            return response
        began_ms = min(firing.began_ms for firing in firings)
        rows: Any = json.loads(response.text or "[]")
        before_halt = [row for row in rows if row[0] <= began_ms]
        return web.Response(text=format_json(before_halt), content_type="application/json")


def _make_refusal_response(refusal: Refusal) -> web.Response:
    return web.Response(
        text=format_json(refusal.make_body()),
        status=refusal.status,
        content_type="application/json",
    )
