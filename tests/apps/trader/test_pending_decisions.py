"""Other work of a trader waits briefly for decisions that are under way."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from trader import pending_decisions
from trader.pending_decisions import PendingDecisions

Run = Callable[[Any], Any]


async def run_ready_tasks() -> None:
    """Let every task that is ready go on."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_other_work_comes_after_the_last_decision_under_way(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_decisions, "MOMENT_SECONDS", 60.0)

    async def scene() -> None:
        pending = PendingDecisions()
        pending.note("ETH/USDT", is_pending=True)
        pending.note("SOL/USDT", is_pending=True)
        waiting = asyncio.create_task(pending.wait_for_others())
        pending.note("ETH/USDT", is_pending=False)
        await run_ready_tasks()
        assert not waiting.done()
        pending.note("SOL/USDT", is_pending=False)
        await waiting

    run(scene())


def test_other_work_waits_for_a_moment_only(run: Run) -> None:
    async def scene() -> None:
        pending = PendingDecisions()
        pending.note("ETH/USDT", is_pending=True)
        await pending.wait_for_others()

    run(scene())


def test_without_a_decision_under_way_nothing_waits(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_decisions, "MOMENT_SECONDS", 60.0)

    async def scene() -> None:
        pending = PendingDecisions()
        pending.note("ETH/USDT", is_pending=False)
        await pending.wait_for_others()

    run(scene())
