"""Faults that last: maintenance, a market that is halted or delisted, a clock that is wrong."""

import json
from typing import Any, Final

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.faults.bodies import page
from onetape.simulator.faults.registry import Faults
from onetape.simulator.server.error_replies import Refusal, invalid_symbol
from onetape.simulator.server.wire import JsonObject, json_text
from onetape.simulator.trading.order_refusals import market_closed

_ORDERS: Final = (
    "/api/v3/order", "/api/v3/order/test", "/api/v3/order/cancelReplace", "/api/v3/order/oco",
    "/api/v3/orderList/oco",
)  # fmt: skip
_TIMED: Final = ("/api/v3/time", "/api/v3/exchangeInfo")


class States:
    """The lasting faults that are active now."""

    def __init__(self, faults: Faults, clock: Clock) -> None:
        """Begin; the states follow from these faults and this clock."""
        self._faults = faults
        self._clock = clock

    def in_maintenance(self, on: str) -> bool:
        """Return whether the exchange is in maintenance; `on` names the request in the log."""
        return bool(self._faults.states("maintenance", on))

    def skew_ms(self) -> int:
        """Return how far the exchange's clock is ahead of market time, milliseconds."""
        firings = self._faults.states("clock_skew", "the exchange's clock")
        return round(sum(firing.fault.seconds or 0.0 for firing in firings) * 1_000)

    def is_quiet(self, symbol: str) -> bool:
        """Return whether a market has no trades now: it is halted or delisted."""
        return bool(
            self._faults.states("halted", "a stream", symbol)
            or self._faults.states("delisted", "a stream", symbol)
        )

    def unavailable(self) -> web.Response:
        """Return the response to every request during maintenance."""
        text = page(503, "Service Temporarily Unavailable")
        return web.Response(text=text, status=503, content_type="text/html")

    def refusal(self, method: str, path: str, symbol: str) -> web.Response | None:
        """Return the response to a request that is refused in any form, or None."""
        on = f"{method} {path}"
        if self.in_maintenance(on):
            return self.unavailable()
        closed = self.closed(on, symbol, orders=path in _ORDERS and method == "POST")
        return None if closed is None else _refused(closed)

    def closed(self, on: str, symbol: str, *, orders: bool) -> Refusal | None:
        """Return why a market refuses a request, or None.

        Args:
            on: Name of the request, for the log.
            symbol: The market that it names, if any.
            orders: Whether it is a new order.
        """
        if not symbol:
            return None
        if self._faults.states("delisted", on, symbol):
            return invalid_symbol()
        if orders and self._faults.states("halted", on, symbol):
            return market_closed()
        return None

    def edited(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """Return a response with the wrong clock, the halted and without the delisted markets."""
        if answer.status != 200 or not isinstance(answer, web.Response):
            return answer
        if request.path in _TIMED:
            document: Any = json.loads(answer.text or "{}")
            document["serverTime"] += self.skew_ms()
            document = self._listed(document)
            return web.Response(text=json_text(document), content_type="application/json")
        if request.path == "/api/v3/klines":
            return self._until_halt(request.query.get("symbol", ""), answer)
        if request.path.startswith("/api/v3/ticker/") and (answer.text or "").startswith("["):
            entries: Any = json.loads(answer.text or "[]")
            kept = [one for one in entries if not self._is_delisted(str(one["symbol"]))]
            return web.Response(text=json_text(kept), content_type="application/json")
        return answer

    def _listed(self, document: JsonObject) -> JsonObject:
        entries: Any = document.get("symbols")
        if entries is None:
            return document
        kept: list[object] = []
        for entry in entries:
            name = str(entry["symbol"])
            if self._is_delisted(name):
                continue
            halted = self._faults.states("halted", "GET /api/v3/exchangeInfo", name)
            kept.append({**entry, "status": "BREAK"} if halted else entry)
        return {**document, "symbols": kept}

    def _is_delisted(self, name: str) -> bool:
        return bool(self._faults.states("delisted", "a list of markets", name))

    def _until_halt(self, symbol: str, answer: web.Response) -> web.Response:
        """Return klines without those that opened after the market was halted."""
        firings = self._faults.states("halted", "GET /api/v3/klines", symbol)
        if not firings:
            return answer
        began_ms = min(firing.began_ms for firing in firings)
        rows: Any = json.loads(answer.text or "[]")
        kept = [row for row in rows if row[0] <= began_ms]
        return web.Response(text=json_text(kept), content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    return web.Response(
        text=json_text(refusal.body()), status=refusal.status, content_type="application/json"
    )
