"""Many processes on one database: none is refused, none waits forever, nothing is lost.

For a longer look set ONETAPE_CROWD_SECONDS, such as to 30.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from noted_sleep import make_noted_sleep
from onetape.core.candles import Candle, SeriesKey
from onetape.store.backup import make_backup, restore
from onetape.store.candles import insert_closed_rows
from onetape.store.database import MIN_YIELD_SECONDS, Store, open_store
from onetape.store.leases import acquire_lease
from store_crowd import ADDITIONS, Worker, compute_p99, run_crowd

SECONDS = float(os.environ.get("ONETAPE_CROWD_SECONDS", "1.5"))
#: A crowd is looked at so many times as long where a busy machine may have kept some of it waiting.
LONGER = (1, 4, 16)


@pytest.fixture
def closed(path: Path) -> Path:
    """Return a fresh database that no process has open."""
    open_store(path, create=True).close()
    return path


def list_errors(workers: Sequence[Worker]) -> list[str]:
    return [worker.error for worker in workers if worker.error]


def select_role(workers: Sequence[Worker], role: str) -> list[Worker]:
    return [worker for worker in workers if worker.role == role]


def print_measurement(text: str) -> None:
    """Show a measured number with `pytest -rP`; how long a busy machine takes proves nothing."""
    sys.stdout.write(f"{text}\n")


def run_crowds(
    closed: Path, roles: Sequence[tuple[str, int]]
) -> Generator[tuple[Path, list[Worker]]]:
    """Run crowds for longer and longer, each on a copy of a file; yield copy and workers."""
    for factor in LONGER:
        file = Path(shutil.copy(closed, closed.with_name(f"{factor}.db")))
        yield file, run_crowd(file, roles, seconds=factor * SECONDS)


def have_all_written(workers: Sequence[Worker]) -> bool:
    """Return whether each has written a third as often as any other, or more.

    Each rests by its own seeded pace, so without a wait all would have done about as much.
    """
    done = [worker.done for worker in workers]
    return min(done) * 3 > max(done)


def count_stored_rows(path: Path) -> Counter[str]:
    """Return how many rows each symbol has in a file that is sound."""
    with open_store(path, create=False) as store, store.read() as connection:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        return Counter(
            dict(connection.execute("SELECT symbol, count(*) FROM ticker_data GROUP BY symbol"))
        )


def test_64_paced_writers_share_a_file_and_all_can_write(closed: Path) -> None:
    for file, workers in run_crowds(closed, [("writer", 64)]):
        assert list_errors(workers) == []
        assert count_stored_rows(file) == {
            f"W{worker.number}/USDT": worker.done for worker in workers
        }
        if have_all_written(workers):
            return
    pytest.fail("some writers hardly got a turn")


def test_16_traders_next_to_a_running_backfill_never_fail_to_write(closed: Path) -> None:
    """Failure mode 49."""
    for file, workers in run_crowds(closed, [("trader", 16), ("bulk", 1)]):
        traders = select_role(workers, "trader")
        assert list_errors(workers) == []
        stored = count_stored_rows(file)
        assert {name: rows for name, rows in stored.items() if name.startswith("T")} == {
            f"T{worker.number}/USDT": worker.done for worker in traders
        }
        waits = [wait for worker in traders for wait in worker.waits_ms]
        print_measurement(
            f"16 traders next to a backfill: p99 of {len(waits)} commits "
            f"{compute_p99(waits):.1f} ms"
        )
        if have_all_written(traders):
            return
    pytest.fail("some traders hardly got a turn")


def measure_trader_turns(path: Path, seconds: float, *guards_off: str) -> float:
    """Return between how many of its commits, 0 to 1, a bulk writer lets a trader write."""
    open_store(path, create=True).close()
    roles = [("hasty", 1), ("bulk", 1)]
    workers = run_crowd(path, roles, seconds=seconds, guards_off=guards_off)
    assert list_errors(workers) == []
    (bulk,) = select_role(workers, "bulk")
    return bulk.turns_given / bulk.done


def test_without_its_pause_a_bulk_writer_blocks_traders(tmp_path: Path) -> None:
    """Failure mode 49, its guard off."""
    for factor in LONGER:
        seconds, guard = factor * SECONDS, "a bulk writer rests"
        rests = measure_trader_turns(tmp_path / f"{factor}.db", seconds)
        never_rests = measure_trader_turns(tmp_path / f"{factor} without.db", seconds, guard)
        print_measurement(
            f"turns given by a bulk writer: {rests:.0%} with its rest, {never_rests:.0%} without"
        )
        if rests > 1.3 * never_rests:
            return
    pytest.fail("a bulk writer gives no more turns with its rest than without")


KEY = SeriesKey("binance", "BTC/USDT", "1m")


def measure_insert_pause(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Insert closed candles and return how long the store slept afterwards."""
    slept: list[float] = []
    monkeypatch.setattr("onetape.store.database.time", make_noted_sleep(slept))
    rows = [Candle(i * 60, 1.0, 1.0, 1.0, 1.0, 0.0) for i in range(1_000)]
    insert_closed_rows(store, KEY, rows, source="rest", seen_ms=1)
    return slept


def test_a_bulk_writer_pauses_after_each_commit_while_a_lease_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failure mode 49."""
    acquire_lease(store, "paper", "a trader", now_ms=2**50, seconds=20)
    (rest,) = measure_insert_pause(store, monkeypatch)
    assert rest >= MIN_YIELD_SECONDS


def test_a_trader_does_not_pause_in_the_thread_that_trades(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire_lease(store, "paper", "a trader", now_ms=2**50, seconds=20)
    store.yields_to_traders = False
    assert measure_insert_pause(store, monkeypatch) == []


def test_a_bulk_writer_without_a_trader_does_not_pause(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire_lease(store, "paper", "a trader of long ago", now_ms=0, seconds=20)
    assert measure_insert_pause(store, monkeypatch) == []


@pytest.mark.parametrize("openers", [16, 64])
def test_many_processes_may_open_a_fresh_file_at_once(path: Path, openers: int) -> None:
    """Failure mode 48."""
    workers = run_crowd(path, [("opener", openers)])
    assert list_errors(workers) == []
    with open_store(path, create=False) as store, store.read() as connection:
        assert connection.execute("SELECT count(*) FROM leases").get == openers
        assert connection.execute("PRAGMA integrity_check").get == "ok"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_many_processes_may_open_a_restored_file_at_once(path: Path, tmp_path: Path) -> None:
    """A backup is not in WAL mode, and a file must be alone to get there."""
    with open_store(path, create=True):
        make_backup(path, tmp_path / "kept.db")
    restored = tmp_path / "restored" / "onetape.db"
    restore(tmp_path / "kept.db", restored)
    assert list_errors(run_crowd(restored, [("opener", 64)])) == []


def test_a_file_created_under_its_final_name_makes_some_opens_fail(path: Path) -> None:
    """Failure mode 48, its guard off: a race, so that one crowd may be lucky."""
    guards = ["a new file appears whole"]
    path.parent.mkdir(mode=0o700)
    files = (path.with_name(f"{number}.db") for number in range(10))
    assert any(list_errors(run_crowd(file, [("opener", 64)], guards_off=guards)) for file in files)


def add_in_processes(path: Path, *guards_off: str) -> tuple[int, list[str]]:
    """Let 8 processes increment one number; return the number and the errors."""
    with open_store(path, create=False) as store:
        acquire_lease(store, "sum", "nobody", now_ms=0, seconds=0)
    workers = run_crowd(path, [("adder", 8)], guards_off=guards_off)
    with open_store(path, create=False) as store, store.read() as connection:
        return connection.execute("SELECT token - 1 FROM leases").get, list_errors(workers)


def test_the_rows_that_a_write_reads_are_unchanged_until_it_commits(closed: Path) -> None:
    """Failure mode 47."""
    assert add_in_processes(closed) == (8 * ADDITIONS, [])


def test_a_write_that_takes_the_lock_late_fails(closed: Path) -> None:
    """Failure mode 47, its guard off: a race, so that one crowd may be lucky."""
    files = [Path(shutil.copy(closed, closed.with_name(f"{number}.db"))) for number in range(10)]
    raced = (add_in_processes(file, "writes begin with the lock") for file in files)
    assert any(counted < 8 * ADDITIONS and faults for counted, faults in raced)
