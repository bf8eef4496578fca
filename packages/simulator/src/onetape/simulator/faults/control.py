"""The faults over HTTP: list, add and remove them while the simulator runs."""

from typing import Any, cast

from aiohttp import web

from onetape.simulator.faults.model import FaultError
from onetape.simulator.faults.registry import Faults
from onetape.simulator.server.wire import json_text, json_value


class FaultControl:
    """Endpoints under /simulator/faults.

    - `GET /simulator/faults`: `{"seed": int, "faults": [{"number", "added_ms", "calls", "fired",
      "fault": {...}}]}`.
    - `POST /simulator/faults {"kind": "status", "status": 503, ...}`: adds one, or each of a list,
      and responds with `{"numbers": [int]}`; 400 with `{"error": ...}` where one makes no sense,
      and then none is added.
    - `DELETE /simulator/faults`: removes all, `DELETE /simulator/faults/3` one; 404 for a number
      that there is not. Responds with `{"removed": int}`. The log stays.
    - `GET /simulator/faults/log`: `{"seed": int, "log": [{"number", "fault", "kind", "name", "on",
      "symbol", "call", "market_ms", "seed"}]}`, oldest first.
    """

    def __init__(self, faults: Faults) -> None:
        """Serve the endpoints that list, add and remove these faults."""
        self._faults = faults

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        app.router.add_get("/simulator/faults", self._list)
        app.router.add_post("/simulator/faults", self._add)
        app.router.add_delete("/simulator/faults", self._clear)
        app.router.add_get("/simulator/faults/log", self._log)
        app.router.add_delete("/simulator/faults/{number:[0-9]+}", self._remove)

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return _json({"seed": self._faults.seed, "faults": self._faults.listed()})

    async def _add(self, request: web.Request) -> web.Response:
        from onetape.simulator.faults.model import make_fault

        try:
            body = json_value(await request.text())
        except ValueError:
            return _json({"error": "the body must be a fault, or a list of them, as JSON"}, 400)
        given = cast("list[object]", body) if isinstance(body, list) else [body]
        if not all(isinstance(one, dict) for one in given):
            return _json({"error": "the body must be a fault, or a list of them, as JSON"}, 400)
        try:
            made = [make_fault(cast("dict[str, Any]", one)) for one in given]
        except FaultError as error:
            return _json({"error": str(error)}, 400)
        return _json({"numbers": [self._faults.add(fault) for fault in made]})

    async def _clear(self, request: web.Request) -> web.Response:
        del request
        return _json({"removed": self._faults.clear()})

    async def _remove(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if not self._faults.remove(number):
            return _json({"error": f"there is no fault {number}"}, 404)
        return _json({"removed": 1})

    async def _log(self, request: web.Request) -> web.Response:
        del request
        log = [fired.document() for fired in self._faults.log]
        return _json({"seed": self._faults.seed, "log": log})


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(text=json_text(value), content_type="application/json", status=status)
