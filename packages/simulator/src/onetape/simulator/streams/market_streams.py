"""The WebSocket endpoints of Binance spot: raw and combined streams, and their sockets."""

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.server.context import ServerContext
from onetape.simulator.streams.connection import CommandError, StreamConnection
from onetape.simulator.streams.sockets import Sockets


class MarketStreamSockets(Sockets):
    """All open sockets of market streams.

    `/ws`, `/ws/NAME/NAME` and `/stream/ws`, `/stream/ws/N` send events as they are;
    `/stream?streams=NAME/NAME` wraps each with the name of its stream. N is any number: CCXT
    appends it to open several sockets. Commands add and remove streams.
    """

    def __init__(self, market: SimulatedMarket, clock: Clock, context: ServerContext) -> None:
        """Send from this market at this clock's time, with these faults and limits."""
        super().__init__()
        self._market = market
        self._clock = clock
        self._context = context

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        for path in ("/ws", "/ws/{names:.+}", "/stream/ws", "/stream/ws/{names:.+}", "/stream"):
            app.router.add_get(path, self._serve)

    def _make_socket(
        self, response: web.WebSocketResponse, request: web.Request
    ) -> StreamConnection:
        names = request.query.get("streams", "") or request.match_info.get("names", "")
        connection = StreamConnection(
            response,
            request,
            self._market,
            self._clock,
            self._context,
            combined=request.path == "/stream",
        )
        try:
            connection.subscribe([name for name in names.split("/") if name and not name.isdigit()])
        except CommandError as error:
            raise web.HTTPBadRequest(text=error.message) from None
        return connection
