"""The WebSocket endpoints of Binance spot: raw and combined streams, and all their connections."""

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.connection import CommandError, Connection
from onetape.simulator.house import House
from onetape.simulator.market import Market
from onetape.simulator.sockets import Sockets


class Streams(Sockets):
    """All open sockets.

    `/ws`, `/ws/NAME/NAME` and `/stream/ws`, `/stream/ws/N` send events as they are;
    `/stream?streams=NAME/NAME` wraps each with the name of its stream. N is any number (CCXT
    spreads its subscriptions over several sockets so). Commands add and remove streams.
    """

    def __init__(self, market: Market, clock: Clock, house: House) -> None:
        """Send from this market at this clock's time, by the rules of the house."""
        super().__init__()
        self._market = market
        self._clock = clock
        self._house = house

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        for path in ("/ws", "/ws/{names:.+}", "/stream/ws", "/stream/ws/{names:.+}", "/stream"):
            app.router.add_get(path, self._serve)

    def _made(self, response: web.WebSocketResponse, request: web.Request) -> Connection:
        names = request.query.get("streams", "") or request.match_info.get("names", "")
        connection = Connection(
            response,
            request,
            self._market,
            self._clock,
            self._house,
            combined=request.path == "/stream",
        )
        try:
            connection.subscribe([name for name in names.split("/") if name and not name.isdigit()])
        except CommandError as error:
            raise web.HTTPBadRequest(text=error.message) from None
        return connection
