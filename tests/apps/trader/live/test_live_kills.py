"""A trader with real orders is killed at named points: nothing doubled, lost or unprotected."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from live_desk import BALANCE, START_MS, LiveDesk, live_desk
from live_kills import POINTS
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator

#: How often each point is struck; `make live-kills` does it 200 times.
STRIKES = int(os.environ.get("ONETAPE_LIVE_STRIKES", "1"))
SUPPORT = Path(__file__).parents[3] / "support"


class WarmProcess:
    """The process that forks what is killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take it, running."""
        self._process = process

    async def play(self, url: str, db: Path, point: str) -> int:
        """Play the scene in a child; return what ended it."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        job = {"url": url, "db": str(db), "point": point}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        printed: list[str] = []
        while line := (await self._process.stderr.readline()).decode():
            if line.startswith("done "):
                code = int(line.split()[1])
                assert code <= 0, printed
                return code
            printed.append(line)
        raise AssertionError(f"the warm process has ended: {printed}")


@asynccontextmanager
async def warm_process() -> AsyncGenerator[WarmProcess]:
    path = os.pathsep.join([str(SUPPORT), *sys.path])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SUPPORT / "live_kills.py"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        yield WarmProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def strike(warm: WarmProcess, folder: Path, point: str) -> None:
    """Kill a trader at a point; let the next one recover, compare, and sell."""
    clock = make_clock(start_ms=START_MS, stepped=True)
    async with Simulator(clock=clock, balance=BALANCE) as simulator:
        db = folder / "x.db"
        assert await warm.play(simulator.url, db, point) == -signal.SIGKILL
        # An order that was sent has its deadline behind it.
        await simulator.advance_to_ms(clock.now_ms() + 5_000)
        async with live_desk(db, simulator=simulator, number=2) as desk:
            await desk.until(lambda: desk.executor.balance_is_known)
            await desk.until(lambda: desk.executor.is_at_rest and not desk.owes_exit)
            check(desk)
            if not desk.executor.position.is_flat:
                desk.leave()
                await desk.until(lambda: desk.executor.position.is_flat)
                await desk.until(lambda: not desk.executor.orders)
            check(desk)


def check(desk: LiveDesk) -> None:
    """Compare with the simulator's ledger: nothing doubled, orphaned or unprotected."""
    orders = desk.simulator.account.exchange.orders.values()
    assert sum(one.side == "BUY" for one in orders) <= 1
    assert len(set(desk.taken)) == len(desk.taken)
    assert len(desk.resting) == (0 if desk.executor.position.is_flat else 1)
    assert desk.coins >= 0
    assert desk.problems == []
    desk.assert_ledgers_equal()


@pytest.mark.parametrize("group", range(2))
def test_a_trader_killed_at_any_point_doubles_and_loses_nothing(tmp_path: Path, group: int) -> None:
    async def campaign() -> None:
        async with warm_process() as warm:
            for number, point in enumerate(list(POINTS)[group::2] * STRIKES):
                folder = tmp_path / str(number)
                folder.mkdir()
                try:
                    await strike(warm, folder, point)
                except AssertionError as error:
                    raise AssertionError(f"killed at {point!r}: {error}") from error

    asyncio.run(campaign())
