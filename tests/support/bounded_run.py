"""Runs a coroutine of a test in a separate loop, and raises errors that asyncio would only log."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_bounded(work: Coroutine[Any, Any, T], max_wait_seconds: float) -> T:
    """Run a coroutine for a bounded time; an exception that was not fetched fails the test."""
    complaints: list[str] = []

    async def watched() -> T:
        def complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

        asyncio.get_running_loop().set_exception_handler(complain)
        return await asyncio.wait_for(work, max_wait_seconds)

    result = asyncio.run(watched())
    assert complaints == [], complaints
    return result
