"""Leases of ended processes, proven by kernel locks, and leases of clocks that were ahead."""

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onetape.core.errors import SafetyRefusal
from onetape.store.database import Store
from onetape.store.leases import acquire_lease
from onetape.store.process_lock import ProcessLock

NAME = "paper simulator BTC/USDT 1h"
HOUR_MS = 3_600_000
#: Takes the lease of a file and waits; with `child`, next to a child process that outlives it.
HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from onetape.store.database import open_store
from onetape.store.leases import acquire_lease
from onetape.store.process_lock import ProcessLock

db, name, ahead_ms, child = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "child"
with open_store(db, create=False) as store:
    lock = ProcessLock(db, name)
    assert lock.acquire()
    now_ms = time.time_ns() // 1_000_000 + ahead_ms
    acquire_lease(store, name, f"process {os.getpid()}", now_ms=now_ms, seconds=20, lock=lock)
    if child and os.fork() == 0:
        os.close(0), os.close(1), os.close(2)
        time.sleep(5)
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def hold_lease(
    store: Store, *, ahead_ms: int = 0, child: bool = False
) -> Generator["subprocess.Popen[str]"]:
    """Let another process hold the lease."""
    arguments = [str(store.path), NAME, str(ahead_ms), "child" if child else "alone"]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def take(store: Store) -> int:
    """Take the lease as a trader does, and give the kernel's lock back for the next test."""
    lock = ProcessLock(store.path, NAME)
    lock.acquire()
    try:
        now_ms = time.time_ns() // 1_000_000
        return acquire_lease(store, NAME, "the test", now_ms=now_ms, seconds=20, lock=lock)
    finally:
        lock.release()


def test_a_running_holder_keeps_others_out(store: Store) -> None:
    with (
        hold_lease(store),
        pytest.raises(SafetyRefusal, match=r"process \d+ already; stop that process first$"),
    ):
        take(store)


@pytest.mark.parametrize("child", [False, True], ids=["alone", "with a child that outlives it"])
def test_a_killed_holder_loses_its_lease_at_once(store: Store, *, child: bool) -> None:
    with hold_lease(store, child=child) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert take(store) == 2


def test_checking_a_lock_shows_whether_its_holder_runs_and_blocks_no_process(
    store: Store,
) -> None:
    with hold_lease(store) as process:
        with store.read() as connection:
            identity = connection.execute("SELECT kernel_lock FROM leases").get
        assert ProcessLock(store.path, NAME).is_held(identity) is True
        assert ProcessLock(store.path, "another account").is_held(identity) is False
        assert ProcessLock(store.path, NAME).is_held("boot of another computer") is None
        process.kill()
        process.wait()
        assert ProcessLock(store.path, NAME).is_held(identity) is False
        lock = ProcessLock(store.path, NAME)
        assert lock.acquire()
        assert ProcessLock(store.path, NAME).is_held(identity) is True
        lock.release()


def test_a_lease_with_another_lock_file_does_not_prove_that_its_holder_ended(store: Store) -> None:
    with hold_lease(store) as process:
        Path(f"{store.path}-locks").unlink()
        with pytest.raises(SafetyRefusal, match="if it was killed, its lease ends in"):
            take(store)
        process.kill()


def test_a_lease_from_a_clock_that_was_ahead_is_not_used(store: Store) -> None:
    now_ms = time.time_ns() // 1_000_000
    acquire_lease(store, NAME, "a process", now_ms=now_ms + HOUR_MS, seconds=20)
    assert take(store) == 2


def test_a_lease_of_an_earlier_version_from_a_clock_that_was_ahead_is_not_used(
    store: Store,
) -> None:
    expires_ms = time.time_ns() // 1_000_000 + HOUR_MS
    with store.write() as connection:
        connection.execute(
            "INSERT INTO leases (name, holder, token, expires_ms) VALUES (?, 'old', 7, ?)",
            (NAME, expires_ms),
        )
    assert take(store) == 8


def test_a_running_holder_whose_clock_was_ahead_keeps_others_out(store: Store) -> None:
    with hold_lease(store, ahead_ms=HOUR_MS), pytest.raises(SafetyRefusal, match="already"):
        take(store)


def test_a_lock_is_taken_once_within_one_process(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "x.db", NAME), ProcessLock(tmp_path / "x.db", NAME)
    assert first.acquire()
    assert not second.acquire()
    assert second.is_taken
    first.release()
    assert second.acquire()
    assert ProcessLock(tmp_path / "x.db", "another").acquire()
    second.release()


def test_a_file_system_without_locks_does_not_prove_that_a_holder_ended(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "absent" / "x.db", NAME)
    assert not lock.acquire()
    assert not lock.is_taken
    assert lock.identity is None
