"""Many round trips with live orders while a fifth of the order requests fails."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec import Struct, structs

from live_desk import QUICK, START_MS, LiveDesk, open_live_desk
from onetape.execution.risk_limits import RiskLimits
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator

#: Coins that the trader did not buy, and cash for ten more entries.
CASH, COINS = Decimal(50_000), Decimal(2)
#: Part of the requests that place or cancel an order and go wrong.
FAULTY: Final = 0.2
#: Part of the look-ups and readings of the account that go wrong.
FAULTY_READS: Final = 0.05
#: Limits off: the fees of many round trips are a loss, and there are many orders a day.
LIMITS: Final = RiskLimits(max_orders_per_minute=100_000, max_daily_loss=1.0, max_drawdown=1.0)
#: On a busy machine the account is read slowly, and an exit that is put off each time never ends.
_TIMES: Final = structs.replace(QUICK, acknowledge=1.5)
_DAY_MS: Final = 86_400_000
#: Step of the exchange's clock, market milliseconds, and the interval of steps, wall seconds.
_STEP_MS, _STEP_SECONDS = 1_000, 0.05
_RESPONSE_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "timeout", "when": "before"},
    {"kind": "timeout", "when": "after"},
    {"kind": "reset", "when": "before"},
    {"kind": "reset", "when": "after"},
    {"kind": "status", "status": 504, "when": "before"},
    {"kind": "status", "status": 504, "when": "after"},
    {"kind": "status", "status": 429, "code": -1003},
    {"kind": "status", "status": 400, "code": -1021},
    {"kind": "wrong_body", "shape": "html", "when": "after"},
    {"kind": "wrong_body", "shape": "empty_object", "when": "after"},
    {"kind": "cut_body"},
    {"kind": "latency", "seconds": 0.05},
)
_WRITES: Final = (
    ("POST", "/api/v3/order"), ("DELETE", "/api/v3/order"), ("POST", "/api/v3/order/cancelReplace"),
)  # fmt: skip
_READS: Final = ("/api/v3/order", "/api/v3/openOrders", "/api/v3/myTrades", "/api/v3/account")


class Campaign(Struct, frozen=True):
    """Result of a campaign."""

    orders: int
    """Orders that were sent."""
    requests_failed: int
    """Requests that went wrong."""
    entries: int
    """Entries that were requested from the trader."""
    bought: int
    """Orders to buy that the exchange took."""
    faults: list[str]
    """Texts on orders or coins that are doubled, lost, unprotected or unequal."""


def make_order_faults() -> list[Fault]:
    """Return the faults of a campaign; each fires by chance."""
    # Independent chances that together give the requested part.
    chance = 1 - (1 - FAULTY) ** (1 / len(_RESPONSE_FAULTS))
    faults = [
        Fault(method=method, path=path, probability=chance, **settings)
        for method, path in _WRITES
        for settings in _RESPONSE_FAULTS
    ]
    reads = [
        Fault("status", status=504, method="GET", path=path, probability=FAULTY_READS)
        for path in _READS
    ]
    return [*faults, *reads, Fault("ack_only", probability=0.05)]


@asynccontextmanager
async def run_moving_simulator(seed: int) -> AsyncGenerator[Simulator]:
    """Run a simulator with faults whose stepped clock advances by itself."""
    clock = make_clock(start_ms=START_MS + seed * _DAY_MS, stepped=True)
    balance = {"USDT": CASH, "BTC": COINS}
    faults = make_order_faults()

    async def move() -> None:
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            await simulator.advance_to_ms(clock.now_ms() + _STEP_MS)

    async with Simulator(clock=clock, balance=balance, seed=7, faults=faults) as simulator:
        moving = asyncio.create_task(move())
        try:
            yield simulator
        finally:
            moving.cancel()


async def run_campaign(db: Path, seed: int, orders: int) -> Campaign:
    """Enter, protect, move the stop and exit until enough orders were sent; then compare.

    Args:
        db: Path of the database.
        seed: Random seed of the market's time and of the stops that are moved.
        orders: Number of orders.
    """
    chance = Random(seed)  # noqa: S311 - no secret
    entries = 0
    faults: list[str] = []
    async with (
        run_moving_simulator(seed) as simulator,
        open_live_desk(
            db, simulator=simulator, timeout_ms=2_000, risk=LIMITS, times=_TIMES
        ) as desk,
    ):
        try:
            while _count_sent(desk) < orders:
                entries += 1
                await _round_trip(desk, is_moved=chance.random() < 0.3)
            simulator.faults.clear()
            await desk.until(lambda: not desk.executor.orders and not desk.problems)
            desk.assert_ledgers_equal()
        except AssertionError as error:
            faults.append(str(error) or "ledgers differ")
        taken = desk.simulator.account.exchange.orders.values()
        bought = sum(one.side == "BUY" for one in taken)
        if bought > entries:
            faults.append(f"{bought} orders to buy for {entries} entries")
        if len(set(desk.taken)) != len(desk.taken):
            faults.append("an order was sent twice")
        if desk.coins < 0:
            faults.append("coins were sold that were not bought")
        return Campaign(_count_sent(desk), len(simulator.faults.log), entries, bought, faults)


def _count_sent(desk: LiveDesk) -> int:
    found = desk.query("SELECT count(*) FROM order_events WHERE kind = 'submitted'")
    return int(found[0][0])


async def _round_trip(desk: LiveDesk, *, is_moved: bool) -> None:
    """Enter, protect, maybe move the stop, and leave; an entry may be refused."""
    executor = desk.executor
    executor.set_level_source(lambda: None)
    await desk.until(lambda: executor.balance_is_known and not desk.problems)
    order = desk.enter()
    await desk.until(lambda: order.client_order_id not in executor.orders)
    if executor.position.is_flat:
        return
    await desk.until(lambda: executor.is_at_rest)
    if is_moved and executor.stops:
        level = Decimal(repr(round(desk.price * 0.97, 2)))
        executor.set_level_source(lambda: ("trailing_stop", level))
        await desk.until(
            lambda: (
                any(one.order.stop_price == level for one in executor.stops)
                or executor.position.is_flat
            ),
        )
    if not executor.position.is_flat:
        desk.leave()
    await desk.until(lambda: executor.position.is_flat and not executor.orders)
    assert desk.coins < Decimal("0.0001"), f"{desk.coins:f} BTC are left"
