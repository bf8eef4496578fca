"""The exchange of a start: its address, the markets to trade, and the account of the API key."""

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

from msgspec import Struct

from onetape.core.folders import DATA_FOLDER
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import SimulatorInfo
from onetape.exchange.rest import BRIEF_RETRY_SECONDS, MarketInfo, RestExchange
from onetape.exchange.trading_records import Credentials
from trader.live.opening import LiveAccess, open_access
from trader.live.start_checks import Start, fetch_traded_markets
from trader.live.start_plan import StartPlan
from trader.market_guard import find_simulated_market
from trader.settings import choose_trader_database
from trader.shared_rate_limit_bans import SharedRateLimitBans


def make_endpoint(plan: StartPlan, stack: ExitStack) -> Endpoint:
    """Return the exchange to connect to; a simulator is started if none is found."""
    settings = plan.settings
    if settings.simulator_url and plan.open_series and settings.exchange == SIMULATOR_ID:
        # The exchange may not be reachable yet: with a position open the start waits for it.
        return Endpoint(SIMULATOR_ID, settings.simulator_url.rstrip("/"))
    if settings.exchange != SIMULATOR_ID:
        return Endpoint(settings.exchange, is_sandbox=settings.sandbox)
    from onetape.simulator.embedded import find_or_start_simulator

    return Endpoint(
        SIMULATOR_ID, stack.enter_context(find_or_start_simulator(settings.simulator_url))
    )


class OpenedExchange(Struct, frozen=True):
    """An opened exchange with the markets to trade, and the account of the API key."""

    exchange: RestExchange
    start: Start
    """The start, without symbols that the exchange does not list."""
    markets: Sequence[MarketInfo]
    """Market of each symbol of the start."""
    access: LiveAccess | None
    """Account at the exchange for live orders; None: on paper."""
    simulated: SimulatorInfo | None
    """Seed and time of the simulator's market; None for a real exchange."""


async def open_market_access(
    start: Start,
    endpoint: Endpoint,
    credentials: Credentials | None,
    bans: SharedRateLimitBans,
    stack: AsyncExitStack,
) -> OpenedExchange:
    """Open the exchange, and with a key the account; the exit stack closes them."""
    # The trader fetches the market again by itself, and its stream goes on meanwhile.
    exchange = await stack.enter_async_context(
        RestExchange(endpoint, retry_seconds=BRIEF_RETRY_SECONDS, waits_for_ban_end=False)
    )
    exchange.share_rate_limit_bans(bans)
    start, markets = await fetch_traded_markets(exchange, start)
    plan, access = start.plan, None
    if credentials is not None:
        access = await open_access(
            exchange,
            [one.key.symbol for one in plan.symbols],
            stack,
            credentials,
            data_folders=(choose_trader_database(plan.settings).parent, DATA_FOLDER),
            held_account=plan.exchange_account,
            is_unknown_allowed=plan.settings.untested_exchange,
        )
    return OpenedExchange(exchange, start, markets, access, await find_simulated_market(exchange))
