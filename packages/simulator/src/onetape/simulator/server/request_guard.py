"""Refusal of requests that a foreign web page sends to the simulator through a browser.

Any page in a browser can send requests to 127.0.0.1.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from onetape.core.loopback import is_own_host, is_own_origin
from onetape.simulator.server.wire import format_json

#: Header that every state-changing request under /simulator must have, with any value. No HTML form
#: can send one, and a page of another origin must request permission first (CORS), which is never
#: granted.
CONTROL_HEADER: Final = "X-Onetape-Control"
CONTROL_PATH: Final = "/simulator"
#: Methods that change nothing.
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequestGuard:
    """Checks Host and Origin of every request and handshake, and the header of control requests."""

    def __init__(self, bound: str, port: Callable[[], int]) -> None:
        """Guard a server.

        Args:
            bound: Address that the server listens on.
            port: Returns the port that the server listens on, once it does.
        """
        self._bound = bound
        self._port = port

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass a request on, or refuse it with status 403 and the reason."""
        fault = self._find_fault(request)
        if fault is None:
            return await handler(request)
        return web.Response(
            text=format_json({"error": fault}), status=403, content_type="application/json"
        )

    def _find_fault(self, request: web.Request) -> str | None:
        host = request.headers.get("Host")
        if not is_own_host(host, self._port(), bound=self._bound):
            return "the Host header must be the address that the simulator listens on"
        if not is_own_origin(request.headers.get("Origin"), host):
            return "requests of other web pages (Origin header) are refused"
        is_control = request.path.startswith(CONTROL_PATH) and request.method not in SAFE_METHODS
        if is_control and CONTROL_HEADER not in request.headers:
            return f"send the header {CONTROL_HEADER}: 1, which no form of a web page can send"
        return None
