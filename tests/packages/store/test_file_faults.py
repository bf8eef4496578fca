"""Damaged, missing, replaced, locked, read-only or full files: one line, never more damage."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minute_rows import read_sound_candles, spoil_a_page, write_rows
from onetape.core.errors import SafetyRefusal, StoreError, StoreUnwritable
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import insert_decision, read_fills
from onetape.store.orders import store_order_change
from onetape.store.sessions import start_session
from order_changes import fill_of
from store_kills import (
    ACCOUNT,
    make_decision,
    make_fill,
    make_order,
    make_session,
)
from unprivileged import deny_folder, make_unprivileged_command

#: Opens a file, tries to write to it, and prints what came of that.
TRY = """
import resource, sys
from pathlib import Path
from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import OnetapeError
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
key = SeriesKey("binance", "BTC/USDT", "1m")
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with open_store(Path(sys.argv[1]), create=True) as store:
        for page in range(100):
            rows = [Candle((page * 500 + i) * 60, 1.0, 1.0, 1.0, 1.0, 0.0) for i in range(500)]
            insert_closed_rows(store, key, rows, source="rest", seen_ms=1)
            print("stored", flush=True)
except OnetapeError as error:
    print(type(error).__name__, error)
"""
#: Holds the write lock until its input ends.
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""
#: Reads one moment of a file for as long as its input lasts.
LONG_READ = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM ohlcv_data").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def closed(path: Path) -> Path:
    """Return a database of 5,000 candles that no process has open."""
    with open_store(path, create=True) as store:
        write_rows(store, 5_000)
    return path


def run_and_read_output(command: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=180
    )
    return done.stdout.splitlines()


class OtherProcess:
    """A process that uses a file until it is stopped."""

    def __init__(self, script: str, path: Path) -> None:
        """Start it, and wait until it has begun."""
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        assert self._child.stdout.readline() != ""

    def end(self) -> None:
        """Let it end."""
        self._child.communicate(timeout=180)


def spoil_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x" * 100)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def truncate_file(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_header, "is not a SQLite database"),
        (spoil_a_page, "is damaged"),
        (cut_in_half, "is damaged"),
        (truncate_file, "is empty"),
    ],
)
def test_a_damaged_file_is_named_and_unchanged(
    closed: Path, spoil: Callable[[Path], None], words: str
) -> None:
    """Failure mode 50."""
    spoil(closed)
    before = closed.read_bytes()
    with pytest.raises(StoreError, match=words) as caught:
        open_store(closed, create=True, whole=True)
    assert str(closed) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert closed.read_bytes() == before
    assert [entry.name for entry in closed.parent.iterdir()] == [closed.name]


def test_only_a_check_of_every_page_finds_a_damaged_one_in_the_middle(closed: Path) -> None:
    """Failure mode 50, its guard off."""
    spoil_a_page(closed)
    open_store(closed, create=False).close()


def test_a_deleted_file_is_noticed_by_the_next_write_and_not_created_again(closed: Path) -> None:
    with open_store(closed, create=False) as store:
        closed.unlink()
        with pytest.raises(StoreError, match="deleted or replaced"):
            write_rows(store, 1, start=5_000)
    assert not closed.exists()


def test_a_folder_that_may_not_be_entered_for_a_while_does_not_count_as_a_deleted_file(
    closed: Path,
) -> None:
    with open_store(closed, create=False) as store:
        with deny_folder(closed.parent), pytest.raises(StoreUnwritable, match="cannot be reach"):
            write_rows(store, 1, start=5_000)
        write_rows(store, 1, start=5_000)


def test_a_file_deleted_while_in_use_is_not_created_again_over_its_log(
    closed: Path,
) -> None:
    link = closed.with_name("link.db")
    link.symlink_to(closed)
    with open_store(link, create=False) as store:
        write_rows(store, 10, start=5_000)
        closed.unlink()
        with pytest.raises(StoreError, match=r"is gone, but its log .* is there"):
            open_store(link, create=True)
    assert not closed.exists()


def test_a_replaced_file_is_noticed_by_the_next_write_and_unchanged(
    closed: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    with open_store(other, create=True) as store:
        write_rows(store, 7)
    with open_store(closed, create=False) as store:
        other.replace(closed)
        with pytest.raises(StoreError, match="deleted or replaced"):
            write_rows(store, 1, start=5_000)
    assert read_sound_candles(closed) == 7


def test_closing_a_replaced_file_leaves_the_log_of_the_new_one(
    closed: Path, tmp_path: Path
) -> None:
    """SQLite deletes a log by its name; that name is another file's by now."""
    old = open_store(closed, create=False)
    write_rows(old, 10, start=5_000)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{closed}{suffix}").replace(tmp_path / f"moved{suffix}")
    with open_store(closed, create=True) as new:
        write_rows(new, 3)
        old.close()
        assert Path(f"{closed}-wal").exists()
        write_rows(new, 3, start=3)
    assert read_sound_candles(closed) == 6


def test_a_file_emptied_while_in_use_is_noticed_by_the_next_write(closed: Path) -> None:
    with open_store(closed, create=False) as store:
        write_rows(store, 10, start=5_000)
        os.truncate(closed, 0)
        with pytest.raises(StoreError, match="deleted or replaced"):
            write_rows(store, 1, start=5_010)


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_a_file_that_may_not_be_written_is_named_and_stays_sound(
    closed: Path, child_environment: dict[str, str], what: str
) -> None:
    """Failure mode 45."""
    if what == "the file":
        closed.chmod(0o400)
    else:
        closed.parent.chmod(0o500)
    try:
        command = make_unprivileged_command([sys.executable, "-c", TRY, str(closed)])
        (line,) = run_and_read_output(command, child_environment)
    finally:
        closed.parent.chmod(0o700)
        closed.chmod(0o600)
    assert line.startswith(f"StoreUnwritable cannot write {closed}")
    assert read_sound_candles(closed) == 5_000


@pytest.mark.parametrize("limit", [1_000_000, 1_234_567])
def test_a_full_disk_is_named_and_the_database_stays_sound(
    path: Path, child_environment: dict[str, str], limit: int
) -> None:
    *stored, last = run_and_read_output(
        [sys.executable, "-c", TRY, str(path), str(limit)], child_environment
    )
    assert last == (
        f"StoreFull {path}: nothing more can be written (File too large); free some space, "
        "or raise the quota, and run again"
    )
    assert read_sound_candles(path) >= len(stored) * 500 > 0
    with open_store(path, create=False) as store:
        write_rows(store, 500, start=100_000)


def test_a_lock_held_elsewhere_is_waited_for_and_then_named(closed: Path) -> None:
    """Failure mode 46."""
    other = OtherProcess(LOCK, closed)
    with open_store(closed, create=False) as store:
        store.lock_timeout_seconds = 0.3
        began = time.monotonic()
        with pytest.raises(StoreError, match=f"{closed} stayed locked by another process"):
            write_rows(store, 1, start=5_000)
        assert time.monotonic() - began >= store.lock_timeout_seconds
        other.end()
        write_rows(store, 1, start=5_000)
    assert read_sound_candles(closed) == 5_001


def test_a_fill_that_met_a_lock_is_booked_once_when_the_lock_is_gone(closed: Path) -> None:
    """Failure mode 46."""
    with open_store(closed, create=False) as store:
        fence = Fence(ACCOUNT, acquire_lease(store, ACCOUNT, "x", now_ms=0, seconds=1))
        start_session(store, make_session(), fence)
        insert_decision(store, make_decision(1), make_order(1), fence)
        other = OtherProcess(LOCK, closed)
        store.lock_timeout_seconds = 0.1
        trade = make_fill(1)
        with pytest.raises(StoreError, match="stayed locked"):
            store_order_change(store, fill_of(trade, at_ms=1), fence)
        assert read_fills(store, ACCOUNT, trade.symbol) == []
        other.end()
        store_order_change(store, fill_of(trade, at_ms=1), fence)
        assert read_fills(store, ACCOUNT, trade.symbol) == [trade]
        with pytest.raises(SafetyRefusal, match="is not as it was"):
            store_order_change(store, fill_of(trade, at_ms=1), fence)


def log_size(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def test_the_log_stays_bounded_while_readers_come_and_go(closed: Path) -> None:
    with open_store(closed, create=False) as store, open_store(closed, create=False) as reader:
        store.log_limit_bytes = 200_000
        largest = 0
        for page in range(60):
            with reader.read() as connection:
                connection.execute("SELECT count(*) FROM leases").fetchall()
            write_rows(store, 500, start=5_000 + page * 500)
            largest = max(largest, log_size(closed))
    assert largest < 2 * 200_000


def test_a_long_reader_slows_bulk_writes_down_and_stops_no_process(closed: Path) -> None:
    other = OtherProcess(LONG_READ, closed)
    with open_store(closed, create=False) as store:
        store.log_limit_bytes = 20_000
        store.lock_timeout_seconds = 0.2
        write_rows(store, 1_000, start=5_000)
        grown = log_size(closed)
        began = time.monotonic()
        write_rows(store, 1_000, start=6_000)
        assert time.monotonic() - began >= store.lock_timeout_seconds
        assert log_size(closed) > grown > 20_000
        other.end()
        write_rows(store, 1_000, start=7_000)
        assert log_size(closed) < 20_000
    assert read_sound_candles(closed) == 8_000
