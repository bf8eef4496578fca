"""Real CCXT clients on a simulator that listens on a free port of this machine."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import pytest

from ccxt_addresses import redirect
from onetape.core.clock import Clock
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from wall_clocks import AdjustableSeconds

T = TypeVar("T")
#: 2024-03-01 00:00 UTC, epoch milliseconds.
MARCH_MS = 1_709_251_200_000
#: No test waits longer for anything.
MAX_WAIT_SECONDS = 180.0


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return a function that runs a coroutine in a separate loop, for a bounded time."""

    def runner(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(asyncio.wait_for(work, MAX_WAIT_SECONDS))

    return runner


@pytest.fixture
def stepped() -> Callable[[int], Clock]:
    """Return a function that makes a stepped clock a number of milliseconds after March 2024."""
    return lambda after_ms: make_clock(start_ms=MARCH_MS + after_ms, stepped=True)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> AdjustableSeconds:
    """Return the real time by which limits are counted."""
    clock = AdjustableSeconds()
    monkeypatch.setattr("onetape.simulator.server.limits.WALL", clock)
    return clock


@pytest.fixture
def ccxt_client() -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Return a function that opens CCXT's own Binance client on a simulator."""
    return _ccxt_client


@asynccontextmanager
async def _ccxt_client(simulator: Simulator, *, pro: bool = False) -> AsyncGenerator[Any]:
    import ccxt.async_support
    import ccxt.pro

    kind: Any = ccxt.pro.binance if pro else ccxt.async_support.binance
    client = kind(
        {
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
        }
    )
    redirect(client.urls["api"], simulator.url)
    try:
        yield client
    finally:
        await client.close()
