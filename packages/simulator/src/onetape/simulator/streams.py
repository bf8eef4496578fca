"""The WebSocket endpoints of Binance spot: raw and combined streams, and all their connections."""

import asyncio
import time

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.connection import CommandError, Connection
from onetape.simulator.faults.transport import reset
from onetape.simulator.house import House
from onetape.simulator.market import Market


class Streams:
    """All open sockets.

    `/ws`, `/ws/NAME/NAME` and `/stream/ws`, `/stream/ws/N` send events as they are;
    `/stream?streams=NAME/NAME` wraps each with the name of its stream. N is any number (CCXT
    spreads its subscriptions over several sockets so). Commands add and remove streams.
    """

    def __init__(self, market: Market, clock: Clock, house: House) -> None:
        """Send from this market at this clock's time, by the rules of the house."""
        self._market = market
        self._clock = clock
        self._house = house
        self._open: set[Connection] = set()
        self._refuse_until = 0.0

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        for path in ("/ws", "/ws/{names:.+}", "/stream/ws", "/stream/ws/{names:.+}", "/stream"):
            app.router.add_get(path, self._serve)

    def wake(self) -> None:
        """Let every connection look at the market now."""
        for connection in self._open:
            connection.wake()

    async def reached(self, market_ms: int) -> None:
        """Wait until every connection has sent everything up to this market time."""
        await asyncio.gather(*(one.reached(market_ms) for one in list(self._open)))

    def disconnect(self, refuse_seconds: float = 0.0) -> int:
        """Cut all sockets at once and refuse new ones for some wall time; return how many were cut.

        Args:
            refuse_seconds: While they last every new socket is reset before its handshake.
        """
        self._refuse_until = time.monotonic() + refuse_seconds
        return self.cut()

    def cut(self) -> int:
        """Cut all sockets at once; return how many there were."""
        cut = list(self._open)
        self._open.clear()
        for connection in cut:
            connection.abort()
        return len(cut)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if time.monotonic() < self._refuse_until:
            reset(request.transport)
            return web.Response(status=503)
        combined = request.path == "/stream"
        names = request.query.get("streams", "") or request.match_info.get("names", "")
        socket = web.WebSocketResponse(autoping=False, compress=False)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="this address speaks WebSocket only")
        connection = Connection(
            socket, request, self._market, self._clock, self._house, combined=combined
        )
        try:
            connection.subscribe([name for name in names.split("/") if name and not name.isdigit()])
        except CommandError as error:
            return web.Response(status=400, text=error.message)
        await socket.prepare(request)
        self._open.add(connection)
        try:
            await connection.serve()
        finally:
            self._open.discard(connection)
        return socket
