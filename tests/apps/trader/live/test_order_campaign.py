"""Round trips while a fifth of the order requests fail leave the ledgers equal."""

import asyncio
from pathlib import Path

from order_campaign import FAULTY, run_campaign

#: `benchmarks/live_orders.py` sends 10,000.
ORDERS, AT_ONCE = 300, 10


def test_ledgers_stay_equal_although_a_fifth_of_requests_fail(tmp_path: Path) -> None:
    async def campaigns() -> None:
        parts = [
            run_campaign(tmp_path / f"{seed}.db", seed, ORDERS // AT_ONCE)
            for seed in range(AT_ONCE)
        ]
        found = await asyncio.gather(*parts)
        assert [fault for one in found for fault in one.faults] == []
        assert sum(one.orders for one in found) >= ORDERS
        assert sum(one.requests_failed for one in found) >= ORDERS * FAULTY
        assert sum(one.bought for one in found) > ORDERS // 6

    asyncio.run(campaigns())
