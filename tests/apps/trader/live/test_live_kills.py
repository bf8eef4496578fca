"""A trader with live orders, killed at named points: no order repeated, lost or unprotected."""

import asyncio
from pathlib import Path

import pytest

from live_kill_outcomes import kill_and_recover, start_warm_process
from live_kills import FIRST_POINTS, POINTS

#: One kill at each point, two at those of the entry, in other scenes. `make live-crash-test`
#: kills 200 times at each (benchmarks/live_kills.py).
STRIKES = [*((point, 0) for point in POINTS), *((point, 1) for point in FIRST_POINTS)]
#: Exits and stops act within this, entries of the symbol within that, wall seconds.
SAFE_SECONDS, RESOLVED_SECONDS = 10.0, 75.0


@pytest.mark.parametrize("group", range(2))
def test_a_trader_killed_at_any_point_repeats_and_loses_no_order(
    tmp_path: Path, group: int
) -> None:
    async def campaign() -> None:
        async with start_warm_process() as warm:
            for number, (point, seed) in enumerate(STRIKES[group::2]):
                folder = tmp_path / str(number)
                folder.mkdir()
                found = await kill_and_recover(warm, folder, point, seed)
                assert found.fault == "", f"killed at {point!r}: {found.fault}"
                assert (found.safe_seconds or 0.0) < SAFE_SECONDS, point
                assert found.resolved_seconds < RESOLVED_SECONDS, point

    asyncio.run(campaign())
