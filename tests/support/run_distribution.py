"""Number of processes that share the tests, and the order in which files begin."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

#: Files that take longest: they begin first, or one of them would end last and alone.
LONGEST_FIRST = (
    "apps/trader/test_commit_points.py",
    "apps/trader/test_exits.py",
    "packages/backtest/test_api_docs.py",
    "apps/trader/live/test_order_campaign.py",
    "apps/trader/test_stop_in_each_state.py",
    "apps/trader/live/test_live_process.py",
    "apps/trader/live/test_live_kills.py",
    "test_operations.py",
    "packages/store/test_migrations.py",
    "apps/trader/test_market_guard.py",
    "apps/trader/test_process.py",
    "apps/backtester/test_watch.py",
    "apps/backfiller/test_schedule.py",
    "apps/backfiller/test_faults.py",
    "packages/report/test_browser.py",
    "packages/simulator/test_demo.py",
    "apps/backfiller/test_replayed_files.py",
    "apps/backtester/test_optimize.py",
    "apps/trader/test_decisions.py",
    "packages/strategies/test_check.py",
    "packages/report/test_symbols.py",
    "packages/backtest/test_api.py",
    "packages/history/test_gaps.py",
    "apps/trader/test_waiting.py",
    "packages/store/test_many_processes.py",
    "packages/websocket/test_faults.py",
    "apps/backfiller/test_kills.py",
    "packages/store/test_cache_properties.py",
    "apps/backfiller/test_candle_files.py",
    "apps/backtester/test_optimize_page.py",
    "packages/strategies/test_biased_strategies.py",
    "apps/trader/test_stream_recorder.py",
    "apps/backfiller/test_commands.py",
    "apps/trader/test_session.py",
    "apps/backfiller/test_import_hostile.py",
    "apps/backtester/test_check.py",
    "tooling/test_repeatable.py",
    "packages/simulator/test_main.py",
    "packages/simulator/clients/test_python_binance.py",
    "apps/trader/commands/test_drill.py",
    "apps/trader/test_exit_watch.py",
    "packages/engine/test_exact.py",
    "packages/report/test_layout.py",
    "apps/backtester/test_process_signals.py",
    "packages/strategies/test_strategies.py",
    "test_readme.py",
)


def count_processes(arguments: Sequence[str]) -> int:
    """Return the number of processes that run the tests of a command line; 0: the collecting one.

    A file's tests stay together, so one file or a single test gains nothing from another process.
    Else two for each processor: tests wait for programs and deadlines.
    """
    if len(arguments) == 1 and arguments[0].partition("::")[0].endswith(".py"):
        return 0
    return 2 * (os.cpu_count() or 1)


def put_longest_first(items: list[pytest.Item], folder: Path) -> None:
    """Sort tests so that the longest files begin first; otherwise the order is unchanged."""
    ranks = {folder / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
