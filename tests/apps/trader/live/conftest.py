"""Runs one scenario of live orders."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from live_desk import LiveDesk, open_live_desk
from onetape.simulator.faults.model import Fault

Scenario = Callable[[LiveDesk], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs a scenario on a new database and simulator."""

    def started(scenario: Scenario, *faults: Fault, **options: Any) -> None:
        async def done() -> None:
            async with open_live_desk(tmp_path / "x.db", *faults, **options) as desk:
                await scenario(desk)

        asyncio.run(done())

    return started
