"""CCXT's own Binance classes with a key, on a simulator whose clock the test steps."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import pytest

from ccxt_addresses import redirect
from onetape.core.clock import Clock
from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.replay import Replay
from onetape.simulator.server.simulator import Simulator
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.replies import USER_ID

#: 2024-03-01 00:00 UTC, epoch milliseconds.
MARCH_MS = 1_709_251_200_000
MAX_WAIT_SECONDS = 180.0


@dataclass
class AccountWithClient:
    """A simulator, a client of it, and the time it is."""

    simulator: Simulator
    make_client: Callable[[], Any]

    @cached_property
    def client(self) -> Any:
        return self.make_client()

    @property
    def now_ms(self) -> int:
        return self.simulator.clock.now_ms()

    @property
    def ledger(self) -> Any:
        return self.simulator.account.exchange.ledger

    async def last(self, symbol: str = "BTC/USDT") -> Decimal:
        ticker = await self.client.fetch_ticker(symbol)
        return Decimal(str(ticker["last"]))

    async def step(self, seconds: float) -> None:
        await self.simulator.advance_to_ms(self.now_ms + int(seconds * 1_000))


Opened = Callable[..., AbstractAsyncContextManager[AccountWithClient]]


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return a function that runs a coroutine in a separate loop, for a bounded time."""

    def runner(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(work, MAX_WAIT_SECONDS))

    return runner


@pytest.fixture
def scene() -> Opened:
    """Return a function that opens a simulator and an unchanged CCXT client on it."""
    return _open_account


@asynccontextmanager
async def _open_account(
    *,
    pro: bool = False,
    key: str = "simulator",
    secret: str | None = None,
    clock: Clock | None = None,
    in_bnb: bool = False,
    limits: bool = False,
    replay: Replay | None = None,
    strict_timestamps: bool = False,
    account_id: int = USER_ID,
    **balance: str,
) -> AsyncGenerator[AccountWithClient]:
    clock = clock or make_clock(start_ms=MARCH_MS, stepped=True)
    held = {asset: Decimal(amount) for asset, amount in balance.items()}
    simulator = Simulator(
        seed=3,
        clock=clock,
        balance=held or {"USDT": Decimal(10_000), "BTC": Decimal(1)},
        fees=Fees(in_bnb=in_bnb),
        limits=limits,
        replay=replay,
        strict_timestamps=strict_timestamps,
        account_id=account_id,
    )
    async with simulator:
        at = AccountWithClient(simulator, lambda: _make_client(simulator, pro, key, secret or key))
        try:
            yield at
        finally:
            if "client" in vars(at):
                await at.client.close()


def _make_client(simulator: Simulator, pro: bool, key: str, secret: str) -> Any:
    import ccxt.async_support
    import ccxt.pro

    kind: Any = ccxt.pro.binance if pro else ccxt.async_support.binance
    client = kind(
        {
            "apiKey": key,
            "secret": secret,
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["spot"]}},
        }
    )
    client.timeout_on_exit = 0  # CCXT waits a quarter of a second for TLS, which is not used here
    client.milliseconds = simulator.clock.now_ms
    redirect(client.urls["api"], simulator.url)
    return client
