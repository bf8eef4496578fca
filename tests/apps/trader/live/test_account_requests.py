"""Old executions are read page by page; after a failure the read resumes, each page counts once."""

import asyncio
from decimal import Decimal

from msgspec import structs

from live_desk import START_MS
from onetape.core.errors import ExchangeError
from onetape.exchange.clients import Endpoint
from onetape.exchange.dialects import get_dialect
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from trader.brokers.account_requests import AccountRequests

SYMBOL = "BTC/USDT"
PATH = "/api/v3/myTrades"
#: Five executions to a page.
SMALL_PAGES = structs.replace(get_dialect("simulator"), trades_limit=5)


def count_pages_read(simulator: Simulator) -> int:
    """Return how many faults own trades have met: one with each request, one that is a failure."""
    return sum(one.on == f"GET {PATH}" for one in simulator.faults.log)


def test_a_history_that_fails_in_the_middle_is_resumed_at_the_failed_page() -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance={"USDT": Decimal(1_000_000)}) as simulator:
            for _ in range(23):
                simulator.account.trade_by_hand("BUY", SYMBOL, quantity=Decimal("0.01"))
                await simulator.advance_to_ms(clock.now_ms() + 120_000)
            endpoint, key = Endpoint("simulator", simulator.url), Credentials(*2 * ("simulator",))
            client = PrivateClient(endpoint, key, now_ms=clock.now_ms, dialect=SMALL_PAGES)
            async with client:
                await client.load_markets()
                simulator.faults.add(Fault("latency", seconds=0.0, path=PATH))
                simulator.faults.add(Fault("status", status=500, path=PATH, nth=4))
                requests = AccountRequests(client, SYMBOL)
                failures = 0
                while True:
                    try:
                        found = await requests.read_history(START_MS, frozenset())
                        break
                    except ExchangeError:
                        failures += 1
                assert failures == 1
                numbers = [one.trade_id for one in found.fills]
                assert len(numbers) == len(set(numbers)) == 23
                assert [one.executed_ms for one in found.fills] == sorted(
                    one.executed_ms for one in found.fills
                )
                assert len(found.found) == 23
                # Three pages, the one that failed, and the rest of five: not five again.
                assert count_pages_read(simulator) == 3 + 2 + 3

    asyncio.run(scenario())
