"""Days of real orders with lost connections: a trader needs no more of the computer than before.

The short form; ONETAPE_RECONNECTIONS=1000 (`make soak`) is the long one.
"""

import asyncio
import os
import random
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from desk import Desk, Market, desk, market
from live_desk import QUICK
from live_steps import BALANCE, LIMITS, MOVING
from onetape.engine import ExitConfig
from watched import run_watched

COUNT = int(os.environ.get("ONETAPE_RECONNECTIONS", "24"))
SEED = int(os.environ.get("ONETAPE_LONG_RUN_SEED", "74"))
#: Market hours between two lost connections: 10 minutes.
PAUSE_HOURS = 1 / 6
#: After the warm-up, nothing grows by more than this fraction.
MOST_GROWTH = 1.05
#: SQLite moves the log into the file after 1,000 pages of 4 KiB.
MOST_LOG_BYTES = 2 * 1_000 * 4_096


def count_resources() -> dict[str, int]:
    """Return the tasks, threads, open files and the largest memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "memory": peak,
    }


async def lose_connections(opened: Market, trading: Desk, hour: float) -> None:
    """Reset each socket, let ten minutes pass, and wait until all streams are back."""
    dials = opened.gate.dials
    cut = opened.gate.cut()
    await opened.go_to(hour)
    await trading.until(lambda: opened.gate.dials >= dials + cut and trading.is_live)
    await trading.until(lambda: not trading.query(MOVING))


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
def test_row_74_a_trader_that_reconnects_for_days_needs_no_more_than_at_first(
    db: Path,
    strategy_file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    # A connection of a stepped market lasts milliseconds, which must not make the pauses longer.
    monkeypatch.setattr("onetape.websocket.redial_pause.STEADY_SECONDS", 0.0)
    chance = random.Random(SEED)  # noqa: S311 - a seeded test
    strategy, exits = strategy_file(), ExitConfig(stop_loss=0.05)

    async def scene() -> None:
        async with (
            market(0.25, balance=BALANCE) as opened,
            desk(
                opened, db, strategy=strategy, exits=exits, cash="10000", live=QUICK, risk=LIMITS
            ) as trading,
        ):
            await trading.until_live(opened)
            hour, warm = 0.5, dict[str, int]()
            for number in range(COUNT):
                hour += PAUSE_HOURS * chance.uniform(0.5, 1.5)
                await lose_connections(opened, trading, hour)
                if number < COUNT // 2:
                    now = count_resources()
                    warm = {name: max(value, warm.get(name, 0)) for name, value in now.items()}

            def is_flat() -> bool:
                now = count_resources()
                return all(value <= warm[name] * MOST_GROWTH for name, value in now.items())

            await trading.until(is_flat, seconds=30.0)
            log = db.with_name(f"{db.name}-wal").stat().st_size
            for name, value in {**count_resources(), "log bytes": log, "seed": SEED}.items():
                record_property(name, value)
            assert log <= MOST_LOG_BYTES
            assert trading.fills()

    run_watched(scene(), 180.0 + 10.0 * COUNT)
