"""How many processes share the tests, and in which order the files begin."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

#: Files that take longest: they begin first, or one of them would end last and alone.
LONGEST_FIRST = (
    "apps/backfiller/test_kills.py",
    "apps/backtester/test_watch.py",
    "packages/simulator/test_demo.py",
    "apps/backfiller/test_candle_files.py",
    "packages/strategies/test_strategies.py",
    "apps/backfiller/test_replayed_files.py",
    "apps/backtester/test_search_shown.py",
    "packages/simulator/test_replay.py",
    "packages/strategies/test_check.py",
    "apps/trader/test_same_market.py",
    "packages/engine/test_exact.py",
    "apps/trader/test_process.py",
    "apps/backfiller/test_every.py",
)


def processes_for(arguments: Sequence[str]) -> int:
    """Return how many processes run the tests of a command line; 0: the one that collects.

    A file's tests stay together, so one file or a single test gains nothing from another process.
    Else two for each processor: tests wait for programs and deadlines.
    """
    if len(arguments) == 1 and arguments[0].partition("::")[0].endswith(".py"):
        return 0
    return 2 * (os.cpu_count() or 1)


def put_longest_first(items: list[pytest.Item], folder: Path) -> None:
    """Sort tests so that the files that take longest begin first; the order is else kept."""
    ranks = {folder / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
