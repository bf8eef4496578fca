"""Outcome of one kill of a trader with live orders, compared with the exchange."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec import Struct

from live_desk import BALANCE, QUICK, START_MS, LiveDesk, open_live_desk
from onetape.core.clock import SteppedClock
from onetape.simulator.server.simulator import Simulator
from trader.live.times import LiveTimes

SUPPORT: Final = Path(__file__).parent
_DAY_MS: Final = 86_400_000
#: Interval at which the exchange's clock moves on while a trader recovers, wall seconds.
_STEP_SECONDS: Final = 0.1


class KillParameters(Struct, frozen=True):
    """Parameters of a scene, drawn by a seed."""

    start_ms: int
    """Market time, epoch milliseconds."""
    quote_amount: float
    """Amount that the entry spends, quote currency."""
    stop_loss: float
    """Distance of the stop below the entry, as a part of the price."""

    @classmethod
    def of(cls, seed: int) -> "KillParameters":
        """Return the scene of a seed; that of 0 is plain."""
        if seed == 0:
            return cls(START_MS, 2_000.0, 0.05)
        chance = Random(seed)  # noqa: S311 - no secret
        days = chance.randrange(700)
        return cls(
            START_MS + days * _DAY_MS + chance.randrange(_DAY_MS // 1_000) * 1_000,
            round(chance.uniform(50.0, 5_000.0), 2),
            round(chance.uniform(0.04, 0.2), 4),
        )


class KillOutcome(Struct, frozen=True):
    """Result of one kill."""

    fault: str
    """Text on orders or coins that are doubled, lost, unprotected or unequal; empty: none."""
    safe_seconds: float | None
    """From the restart to the stop at the exchange, or to the end of the exit; None: no coins.

    Like `resolved_seconds`, without the delays of a busy machine.
    """
    resolved_seconds: float
    """From the restart until no order is unknown and the symbol may be entered again."""


class WarmProcess:
    """The process that forks the traders that are killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take the running process."""
        self._process = process
        self.printed: list[str] = []
        """Text that the child has written to stderr."""

    async def play(self, url: str, db: Path, point: str, scene: KillParameters) -> int:
        """Play the scene in a child; return the signal that ended it."""
        self._start(url, db, point, scene)
        code = await self._wait_for("done")
        assert code <= 0, self.printed
        return code

    async def suspend(self, url: str, db: Path, point: str, scene: KillParameters) -> int:
        """Play the scene in a child until it is suspended; return its process id."""
        self._start(url, db, point, scene)
        return await self._wait_for("stopped")

    async def resume(self, pid: int) -> int:
        """Let a suspended child go on to its end; return its exit code."""
        os.kill(pid, signal.SIGCONT)
        return await self._wait_for("done")

    def _start(self, url: str, db: Path, point: str, scene: KillParameters) -> None:
        assert self._process.stdin is not None
        job: dict[str, Any] = {
            "url": url, "db": str(db), "point": point,
            "quote_amount": scene.quote_amount, "stop_loss": scene.stop_loss,
        }  # fmt: skip
        self.printed.clear()
        self._process.stdin.write(json.dumps(job).encode() + b"\n")

    async def _wait_for(self, word: str) -> int:
        assert self._process.stderr is not None
        while line := (await self._process.stderr.readline()).decode():
            if line.startswith(f"{word} "):
                return int(line.split()[1])
            self.printed.append(line)
        raise AssertionError(f"the warm process has ended: {self.printed}")


@asynccontextmanager
async def start_warm_process() -> AsyncGenerator[WarmProcess]:
    """Start the process that forks the traders that are killed; it ends with the block."""
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


async def kill_and_recover(
    warm: WarmProcess,
    folder: Path,
    point: str,
    seed: int = 0,
    *,
    times: LiveTimes = QUICK,
    playing: asyncio.Lock | None = None,
) -> KillOutcome:
    """Kill a trader at a point, let the next one recover, compare, and sell what is left.

    Args:
        warm: Forks the trader that is killed.
        folder: Empty, for the database.
        point: One of `live_kills.POINTS`.
        seed: Random seed of the scene.
        times: Time limits of the trader that recovers. Those of a test are short, and let an
            order be absent at once; with the program's own the exchange's clock runs on.
        playing: Held while the warm process is used; for kills side by side.
    """
    scene, db = KillParameters.of(seed), folder / "x.db"
    clock = SteppedClock(scene.start_ms, pace=1.0 if times.absent else 0.0)
    async with Simulator(clock=clock, balance=BALANCE) as simulator:
        async with playing or asyncio.Lock():
            assert await warm.play(simulator.url, db, point, scene) == -signal.SIGKILL
        # An order that was sent has its deadline behind it.
        await simulator.advance_to_ms(clock.now_ms() + 5_000)
        moving = asyncio.create_task(_move_on(simulator)) if times.absent else None
        try:
            async with open_live_desk(
                db,
                simulator=simulator,
                number=2,
                times=times,
                quote_amount=scene.quote_amount,
                stop_loss=scene.stop_loss,
            ) as desk:
                return await _recover(desk)
        finally:
            if moving is not None:
                moving.cancel()


async def _move_on(simulator: Simulator) -> None:
    """Let the exchange's clock go as fast as the computer's."""
    while True:
        await asyncio.sleep(_STEP_SECONDS)
        await simulator.advance_to_ms(simulator.clock.now_ms() + round(_STEP_SECONDS * 1_000))


async def _recover(desk: LiveDesk) -> KillOutcome:
    held_first = desk.coins > 0
    try:
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.until(lambda: _is_safe(desk))
        safe = desk.driven_seconds
        await desk.until(lambda: desk.executor.is_at_rest and not desk.has_pending_exit)
        resolved = desk.driven_seconds
        check(desk)
        if not desk.executor.position.is_flat:
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            await desk.until(lambda: not desk.executor.orders)
        check(desk)
    except AssertionError as error:
        return KillOutcome(str(error) or "an assertion failed", None, desk.driven_seconds)
    return KillOutcome("", round(safe, 3) if held_first else None, round(resolved, 3))


def _is_safe(desk: LiveDesk) -> bool:
    """Return whether all coins that were bought are covered by a stop, or sold."""
    covered = sum(
        (Decimal(one.quantity - one.filled).scaleb(-5) for one in desk.resting), Decimal(0)
    )
    return desk.coins - covered < Decimal("0.00001")


def check(desk: LiveDesk) -> None:
    """Compare with the simulator's ledger: nothing doubled, orphaned or unprotected."""
    orders = desk.simulator.account.exchange.orders.values()
    assert sum(one.side == "BUY" for one in orders) <= 1, "bought twice"
    assert len(set(desk.taken)) == len(desk.taken), "an order was sent twice"
    assert len(desk.resting) == (0 if desk.executor.position.is_flat else 1), "no stop, or two"
    assert desk.coins >= 0, "sold what was not bought"
    assert desk.problems == [], f"problems are left: {desk.problems}"
    desk.assert_ledgers_equal()
    by_others = "SELECT count(*) FROM orders WHERE status = 'canceled' AND NOT is_cancel_requested"
    assert desk.query(by_others) == [(0,)], "a stop of ours counts as cancelled by others"
