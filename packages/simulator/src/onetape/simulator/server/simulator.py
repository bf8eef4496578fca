"""The simulator as a server on loopback: REST, streams, the account and the control endpoints.

`Simulator` joins the market, the clock, the account, the faults and the limits, and listens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Final

from aiohttp import web

from onetape.core.clock import Clock, SystemClock
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.faults.fault_endpoints import FaultEndpoints
from onetape.simulator.faults.lasting_faults import LastingFaults
from onetape.simulator.faults.model import Fault
from onetape.simulator.faults.registry import Faults
from onetape.simulator.faults.rest import RestFaults
from onetape.simulator.market.clock import REAL, get_clock_kind
from onetape.simulator.market.price_moves import PriceMove
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol
from onetape.simulator.recorded.replay import Replay
from onetape.simulator.recorded.replay_market import ReplayMarket
from onetape.simulator.server.context import ServerContext
from onetape.simulator.server.control_endpoints import ControlEndpoints
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.server.limits import Limits
from onetape.simulator.server.listening import format_url, listen, refuse_remote
from onetape.simulator.server.public_rest import PublicRest
from onetape.simulator.server.request_guard import RequestGuard
from onetape.simulator.server.wire import format_json
from onetape.simulator.streams.market_streams import MarketStreamSockets
from onetape.simulator.trading.account_service import AccountService
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.keys import DEFAULT_KEYS, ApiKey
from onetape.simulator.trading.manual_control import ManualControl
from onetape.simulator.trading.replies import USER_ID
from onetape.simulator.trading.rules import RuleBook

_NOT_FOUND: Final = "<html><body><h2>404 Not found</h2></body></html>"
#: Interval of the check whether maintenance has begun, seconds.
_MAINTENANCE_CHECK_SECONDS: Final = 0.05
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Simulator:
    """An exchange with an invented market; `async with Simulator() as simulator: simulator.url`."""

    def __init__(
        self,
        *,
        seed: int = DEFAULT_SEED,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
        symbols: tuple[SpotSymbol, ...] = SYMBOLS,
        replay: Replay | None = None,
        faults: Faults | Iterable[Fault] = (),
        limits: bool = False,
        strict_timestamps: bool = False,
        account_id: int = USER_ID,
        balance: Mapping[str, Decimal] | None = None,
        fees: Fees | None = None,
        keys: tuple[ApiKey, ...] = DEFAULT_KEYS,
    ) -> None:
        """Make a simulator that does not listen yet.

        Args:
            seed: Seed of the market; the same seed always gives the same market.
            clock: Market time (`clock.make_clock`); None is the computer's time.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            allow_remote: Permit an address that other machines can reach.
            symbols: The markets to list.
            replay: Recorded candles (`replay.read_replay`) in place of an invented market; its
                markets are the ones listed.
            faults: Faults of the simulator; more can be added to `faults` while it runs.
            balance: Start balances of the account; None: 10,000 USDT.
            fees: Fee rates; None is 0.1 % in the received coin.
            keys: API keys that may use the account.
            limits: Refuse requests over Binance's limits, ban clients that go on, end each socket
                after 24 hours of market time (with a clock in real time, sockets end in any case).
            account_id: The account's number (`uid`), by which programs distinguish accounts.
            strict_timestamps: Refuse requests older than their recvWindow (-1021) in a stepped
                market too, where the clocks of most clients run on.

        Raises:
            SafetyRefusal: the address is not loopback and `allow_remote` is not set.
        """
        refuse_remote(host, allow_remote=allow_remote)
        self.replay = replay
        self.market = (
            SimulatedMarket(seed, symbols) if replay is None else ReplayMarket(seed, replay)
        )
        self.clock: Clock = SystemClock() if clock is None else clock
        self.faults = faults if isinstance(faults, Faults) else Faults(faults)
        self.faults.start(self.clock, seed)
        self._lasting_faults = LastingFaults(self.faults, self.clock)
        self._limits = Limits(self.clock, enforced=limits)
        has_age_limit = limits or get_clock_kind(self.clock) == REAL
        self.context = ServerContext(
            self.faults, self._lasting_faults, self._limits, has_age_limit, RuleBook()
        )
        self.streams = MarketStreamSockets(self.market, self.clock, self.context)
        self.account = AccountService(
            self.market,
            self.clock,
            self.context,
            balance=balance,
            fees=fees,
            keys=keys,
            strict_timestamps=strict_timestamps,
            account_id=account_id,
        )
        self._control = ControlEndpoints(
            self.market, self.clock, self.streams, self.account.sockets, replay
        )
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._maintenance_task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Address of the simulator, such as `http://127.0.0.1:8790`."""
        return format_url(self._host, self._port)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigurationError: the address cannot be used, for example because it is in use.
        """
        self.faults.start(self.clock, self.market.seed)
        guard = RequestGuard(self._host, lambda: self._port).middleware
        # Faults may drop a request on its way to the exchange, or a response on its way back.
        faults = RestFaults(self.faults, self._lasting_faults).middleware
        app = web.Application(
            middlewares=[guard, faults, self._limits.middleware, _convert_errors_to_replies]
        )
        PublicRest(self.market, self.clock, self.context.rules).add_routes(app)
        self.streams.add_routes(app)
        self.account.add_routes(app)
        ManualControl(self.account).add_routes(app)
        self._control.add_routes(app)
        FaultEndpoints(self.faults).add_routes(app)
        self._runner, self._port = await listen(app, self._host, self._port)
        self._maintenance_task = asyncio.create_task(self._watch_maintenance())

    async def stop(self) -> None:
        """Cut all sockets and stop listening."""
        if self._maintenance_task is not None:
            self._maintenance_task.cancel()
            self._maintenance_task = None
        self.streams.disconnect(refuse_seconds=float("inf"))
        self.account.sockets.disconnect(refuse_seconds=float("inf"))
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def advance_to_ms(self, market_ms: int) -> None:
        """Move a stepped clock forward and send the events that became due.

        Args:
            market_ms: Epoch milliseconds; an earlier time moves nothing.

        Raises:
            TypeError: the clock runs by itself.
            UsageError: the market has no prices at that time.
        """
        await self._control.advance_to_ms(market_ms)

    def move_price(
        self, symbol: str, factor: float, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> PriceMove:
        """Script the price of an invented market: a spike, or a lasting jump without an end.

        Args:
            symbol: Such as `BTC/USDT`.
            factor: Factor of the prices, such as 0.9.
            start_ms: Start in market time, epoch milliseconds; the move begins with the next whole
                minute after it. None: now.
            end_ms: End in market time, epoch milliseconds; None: the move has no end.

        Raises:
            UnknownSymbol: there is no such market.
            UsageError: the market is a replay, or the move does not lie in the future.
        """
        return self._control.move_price(symbol, factor, start_ms, end_ms)

    async def disconnect(self, refuse_seconds: float = 0.0) -> int:
        """Cut every WebSocket at once and return the number that were open.

        Args:
            refuse_seconds: Wall time for which new ones are reset.
        """
        cut = self._control.disconnect(refuse_seconds)
        await asyncio.sleep(0)
        return cut

    async def _watch_maintenance(self) -> None:
        """Cut the sockets that are open when maintenance begins, until the task is cancelled."""
        while True:
            await asyncio.sleep(_MAINTENANCE_CHECK_SECONDS)
            if self.faults.has_faults and self._lasting_faults.is_in_maintenance("all sockets"):
                self.streams.cut()
                self.account.sockets.cut()

    async def __aenter__(self) -> "Simulator":
        """Begin to listen."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        del kind, error, traceback
        await self.stop()


@web.middleware
async def _convert_errors_to_replies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals and unknown paths into Binance's replies."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.Response(
            text=format_json(refusal.make_body()),
            status=refusal.status,
            content_type="application/json",
        )
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        return web.Response(text=_NOT_FOUND, status=404, content_type="text/html")
