"""Days of real orders with lost connections: a trader needs no more of the computer than before.

The short form; ONETAPE_RECONNECTIONS=1000 (`make soak`) is the long one.
"""

import asyncio
import gc
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bounded_run import run_bounded
from live_desk import QUICK
from live_steps import BALANCE, LIMITS, MOVING
from onetape.engine import ExitConfig
from session_harness import SessionHarness, SteppedMarket, open_market, open_session

COUNT = int(os.environ.get("ONETAPE_RECONNECTIONS", "24"))
SEED = int(os.environ.get("ONETAPE_LONG_RUN_SEED", "74"))
#: Market hours between two lost connections: 10 minutes.
PAUSE_HOURS = 1 / 6
#: After the warm-up, nothing grows by more than this fraction,
MOST_GROWTH = 1.05
#: or by these numbers, which do not grow with the count of reconnections. A file or a task that one
#: reconnection in two leaves behind is more than that in the short form, too.
SLACK = {"tasks": 4, "threads": 4, "files": 4, "memory": 16 * 1_024 * 1_024}
#: SQLite moves the log into the file after 1,000 pages of 4 KiB.
MOST_LOG_BYTES = 2 * 1_000 * 4_096


def count_resources() -> dict[str, int]:
    """Return the tasks, threads, open files and bytes of memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
    }


def find_growth(most: dict[str, float]) -> dict[str, tuple[int, float]]:
    """Return what is larger than it may be: the value now and the largest allowed one, by name."""
    now = count_resources()
    return {name: (now[name], limit) for name, limit in most.items() if now[name] > limit}


async def lose_connections(opened: SteppedMarket, trading: SessionHarness, hour: float) -> None:
    """Reset each socket, let ten minutes pass, and wait until all streams are back."""
    dials = opened.proxy.dials
    cut = opened.proxy.cut()
    await opened.go_to(hour)
    await trading.until(lambda: opened.proxy.dials >= dials + cut and trading.is_live)
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
            open_market(0.25, balance=BALANCE) as opened,
            open_session(
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

            most = {
                name: max(value * MOST_GROWTH, value + SLACK[name]) for name, value in warm.items()
            }
            # What a reconnection has closed may take a moment to end.
            for _ in range(300):
                if not find_growth(most):
                    break
                await asyncio.sleep(0.1)
            assert find_growth(most) == {}
            log = db.with_name(f"{db.name}-wal").stat().st_size
            for name, value in {**count_resources(), "log bytes": log, "seed": SEED}.items():
                record_property(name, value)
            assert log <= MOST_LOG_BYTES
            assert trading.fills()

    run_bounded(scene(), 180.0 + 10.0 * COUNT)
