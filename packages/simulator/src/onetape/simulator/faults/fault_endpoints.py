"""The faults over HTTP: list, add and remove them while the simulator runs."""

from typing import Any, cast

from aiohttp import web

from onetape.simulator.faults.model import FaultError
from onetape.simulator.faults.registry import Faults
from onetape.simulator.server.wire import format_json, parse_json


class FaultEndpoints:
    """Endpoints under /simulator/faults.

    - `GET /simulator/faults`: `{"seed": int, "faults": [{"number", "added_ms", "calls", "fired",
      "fault": {...}}]}`.
    - `POST /simulator/faults {"kind": "status", "status": 503, ...}`: adds one, or each of a list,
      and responds with `{"numbers": [int]}`; 400 with `{"error": ...}` where one is invalid,
      and then no fault is added.
    - `DELETE /simulator/faults`: removes all, `DELETE /simulator/faults/3` one; 404 for an unknown
      number. Responds with `{"removed": int}`. The log stays.
    - `GET /simulator/faults/log`: `{"seed": int, "log": [{"number", "fault", "kind", "name", "on",
      "symbol", "call", "market_ms", "seed"}]}`, oldest first.
    """

    def __init__(self, faults: Faults) -> None:
        """Serve the endpoints that list, add and remove these faults."""
        self._faults = faults

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        app.router.add_get("/simulator/faults", self._list)
        app.router.add_post("/simulator/faults", self._add)
        app.router.add_delete("/simulator/faults", self._clear)
        app.router.add_get("/simulator/faults/log", self._log)
        app.router.add_delete("/simulator/faults/{number:[0-9]+}", self._remove)

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return _make_json_response(
            {"seed": self._faults.seed, "faults": self._faults.list_faults()}
        )

    async def _add(self, request: web.Request) -> web.Response:
        from onetape.simulator.faults.model import make_fault

        try:
            body = parse_json(await request.text())
        except ValueError:
            return _make_json_response(
                {"error": "the body must be a fault, or a list of them, as JSON"}, 400
            )
        given = cast("list[object]", body) if isinstance(body, list) else [body]
        if not all(isinstance(one, dict) for one in given):
            return _make_json_response(
                {"error": "the body must be a fault, or a list of them, as JSON"}, 400
            )
        try:
            made = [make_fault(cast("dict[str, Any]", one)) for one in given]
        except FaultError as error:
            return _make_json_response({"error": str(error)}, 400)
        return _make_json_response({"numbers": [self._faults.add(fault) for fault in made]})

    async def _clear(self, request: web.Request) -> web.Response:
        del request
        return _make_json_response({"removed": self._faults.clear()})

    async def _remove(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if not self._faults.remove(number):
            return _make_json_response({"error": f"there is no fault {number}"}, 404)
        return _make_json_response({"removed": 1})

    async def _log(self, request: web.Request) -> web.Response:
        del request
        log = [fired.make_document() for fired in self._faults.log]
        return _make_json_response({"seed": self._faults.seed, "log": log})


def _make_json_response(value: object, status: int = 200) -> web.Response:
    return web.Response(text=format_json(value), content_type="application/json", status=status)
