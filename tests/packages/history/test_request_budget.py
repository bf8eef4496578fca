"""While a live trader of the same file runs, a reader leaves half of the request rate to it."""

import asyncio
import time
from pathlib import Path
from typing import Any

from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.history.request_budget import RequestBudget
from onetape.store.database import open_store
from onetape.store.leases import acquire_lease, make_lease_name, release_lease
from onetape.store.live_accounts import LiveAccount, open_live_account


def test_a_request_costs_twice_as_much_while_a_live_trader_runs(tmp_path: Path) -> None:
    name = make_lease_name("real", "BTC/USDT")

    async def work() -> None:
        with open_store(tmp_path / "file.db", create=True) as store:
            open_live_account(store, LiveAccount("real", "binance", "77", {}, 0, None))
            async with RestExchange(Endpoint("binance")) as exchange:
                client: Any = exchange._client  # pyright: ignore[reportPrivateUsage] - without a request

                def cost() -> float:
                    exchange.share_budget(RequestBudget(store, "binance").share)
                    found = client.calculate_rate_limiter_cost(
                        "public", "GET", "klines", {}, {"cost": 2}
                    )
                    del client.calculate_rate_limiter_cost
                    return float(found)

                alone = cost()
                wall_ms = time.time_ns() // 1_000_000
                token = acquire_lease(store, name, "live", now_ms=wall_ms, seconds=60)
                assert cost() == 2 * alone
                release_lease(store, name, token)
                assert cost() == alone

    asyncio.run(work())


def test_a_new_reader_finds_a_running_live_trader(tmp_path: Path) -> None:
    with open_store(tmp_path / "file.db", create=True) as store:
        assert RequestBudget(store, "binance").share() == 1.0
        open_live_account(store, LiveAccount("real", "binance", "77", {}, 0, None))
        wall_ms = time.time_ns() // 1_000_000
        acquire_lease(store, make_lease_name("real", "X/Y"), "live", now_ms=wall_ms, seconds=60)
        assert RequestBudget(store, "binance").share() == 0.5
