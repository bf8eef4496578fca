"""A CCXT client on a simulator with faults; the fixtures of the folder above are there too."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from onetape.core.clock import Clock
from onetape.simulator.faults.model import Fault
from onetape.simulator.server.simulator import Simulator

Client = Callable[..., AbstractAsyncContextManager[Any]]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]


@pytest.fixture
def faulty(ccxt_client: Client, stepped: Callable[[int], Clock]) -> Opened:
    """Return a function that opens a simulator with these faults and a client on it."""

    @asynccontextmanager
    async def opened(
        faults: Iterable[Fault], *, pro: bool = False, clock: Clock | None = None, **options: Any
    ) -> AsyncGenerator[tuple[Simulator, Any]]:
        simulator = Simulator(clock=clock or stepped(90_000), faults=faults, **options)
        async with simulator, ccxt_client(simulator, pro=pro) as client:
            client.timeout_on_exit = 0  # it would wait for TLS to end, and there is none
            # The faults begin to matter when the markets are known.
            kept = simulator.faults.list_faults()
            simulator.faults.clear()
            await client.load_markets()
            for one in kept:
                simulator.faults.add(**_get_settings(one["fault"]))
            yield simulator, client

    return opened


def _get_settings(fault: object) -> dict[str, Any]:
    assert isinstance(fault, dict)
    return dict(fault)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType] - JSON
