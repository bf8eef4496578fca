"""A log is only applied to the file that it belongs to, also after that file was replaced."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from minute_rows import read_sound_candles, spoil_a_page, write_rows
from onetape.core.errors import StoreDamaged, StoreError, StoreReplaced
from onetape.store import filesystem
from onetape.store.backup import make_backup, restore
from onetape.store.connection import connect
from onetape.store.database import Store, open_store
from onetape.store.log_owner import check_log_owner, get_marker_path
from onetape.store.read_only import open_read_only

#: Stores 3,000 more minutes, 1,000 of them only in its log, and then one for each line of input.
WRITER = """
import sys
from pathlib import Path
from minute_rows import write_rows
from onetape.core.errors import OnetapeError
from onetape.store.database import open_store
try:
    with open_store(Path(sys.argv[1]), create=False) as store:
        write_rows(store, 2_000, start=5_000)
        store.checkpoint()
        write_rows(store, 1_000, start=7_000)
        print("stored", flush=True)
        for number, _ in enumerate(sys.stdin):
            write_rows(store, 1, start=8_000 + number)
            print("stored", flush=True)
except OnetapeError as error:
    print(type(error).__name__, error, flush=True)
"""
#: Tries to take the write lock of a file.
TRY_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
connection.execute("BEGIN IMMEDIATE")
"""
SUFFIXES = ("", "-wal", "-shm", "-wal-owner")
REFUSED = "is of the file that was there before"


class Writer:
    """A process that has written to a database and has it open."""

    def __init__(self, path: Path) -> None:
        """Start it, and wait until its log has rows that are not in the file."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read_line() == "stored"
        assert Path(f"{path}-wal").stat().st_size > 0

    def write(self) -> str:
        """Let it write once; return the line that it prints."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read_line()

    def kill(self) -> None:
        """Kill it, so that its log stays."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=180)

    def end(self) -> None:
        """Let it close the file and end."""
        self._process.communicate(timeout=180)

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def closed(path: Path) -> Path:
    """Return a database of 5,000 candles that no process has open."""
    with open_store(path, create=True) as store:
        write_rows(store, 5_000)
    return path


@pytest.fixture
def backup(closed: Path, tmp_path: Path) -> Path:
    """Return a backup of 5,000 candles."""
    return make_backup(closed, tmp_path / "backup.db").path


@pytest.fixture
def plain_copy(closed: Path, tmp_path: Path) -> Path:
    """Return a copy of the closed database, which is in WAL mode."""
    return Path(shutil.copy(closed, tmp_path / "copy.db"))


@pytest.fixture
def writers() -> Generator[Callable[[Path], Writer]]:
    """Return a function that starts a writer; it is killed after the test."""
    with ExitStack() as stack:

        def start(path: Path) -> Writer:
            writer = Writer(path)
            stack.callback(writer.kill)
            return writer

        yield start


@pytest.fixture
def killed(closed: Path, plain_copy: Path, writers: Callable[[Path], Writer]) -> Path:
    """Return a database whose writer was killed, so that 1,000 candles are only in its log."""
    assert plain_copy.exists()
    writers(closed).kill()
    return closed


def move_over(source: Path, path: Path) -> None:
    """Replace a file as `cp good.db x.db; mv x.db path` does."""
    Path(shutil.copy(source, path.with_name("x.db"))).replace(path)


def copy_over(source: Path, path: Path) -> None:
    """Overwrite a file as `cp good.db path` does: it stays the same inode."""
    shutil.copyfile(source, path)


def delete_and_copy(source: Path, path: Path) -> None:
    """Replace a file as `rm path; cp good.db path` does: it may get the same inode again."""
    path.unlink()
    shutil.copyfile(source, path)


def read_files(path: Path) -> dict[str, bytes]:
    """Return the content of a database and of its log."""
    return {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}


def delete_log(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def assert_refused(path: Path) -> None:
    """Check that a file is refused in one line, and is unchanged with its log."""
    before = read_files(path)
    with pytest.raises(StoreReplaced, match=REFUSED) as caught:
        open_store(path, create=True)
    assert "\n" not in str(caught.value)
    assert f"delete {path.name}-wal and {path.name}-shm" in str(caught.value)
    assert caught.value.exit_code == 4
    assert read_files(path) == before


@pytest.mark.parametrize("source", ["backup", "plain_copy"])
def test_row_149_a_file_replaced_under_a_process_is_refused_while_the_old_log_is_there(
    closed: Path,
    writers: Callable[[Path], Writer],
    request: pytest.FixtureRequest,
    source: str,
) -> None:
    new: Path = request.getfixturevalue(source)
    writer = writers(closed)
    move_over(new, closed)
    line = writer.write()
    assert line.startswith(f"StoreReplaced {closed} was deleted or replaced while it was open")
    assert f"its log {closed.name}-wal {REFUSED}" in line
    assert "run again" not in line
    assert_refused(closed)
    writer.end()
    assert_refused(closed)
    delete_log(closed)
    assert read_sound_candles(closed) == 5_000


@pytest.mark.parametrize("replace", [move_over, copy_over, delete_and_copy])
@pytest.mark.parametrize("source", ["backup", "plain_copy"])
def test_row_149_a_file_put_in_place_after_a_kill_is_refused_while_the_old_log_is_there(
    killed: Path,
    tmp_path: Path,
    source: str,
    replace: Callable[[Path, Path], None],
) -> None:
    if source == "backup":
        new = make_backup(tmp_path / "copy.db", tmp_path / "backup.db").path
    else:
        new = tmp_path / "copy.db"
    replace(new, killed)
    assert_refused(killed)
    delete_log(killed)
    assert read_sound_candles(killed) == 5_000


def test_row_149_a_backup_copied_over_a_file_is_refused_without_a_marker_too(
    killed: Path, tmp_path: Path
) -> None:
    """A log that an earlier Onetape or another program left has no marker."""
    copy_over(make_backup(tmp_path / "copy.db", tmp_path / "backup.db").path, killed)
    get_marker_path(killed).unlink()
    assert_refused(killed)


def back_up(path: Path) -> None:
    make_backup(path, path.with_name("new.db"))


def restore_from(path: Path) -> None:
    restore(path, path.with_name("new.db"))


@pytest.mark.parametrize("use", [open_read_only, back_up, restore_from])
def test_row_149_no_use_of_a_replaced_file_applies_the_old_log(
    killed: Path, tmp_path: Path, use: Callable[[Path], object]
) -> None:
    move_over(tmp_path / "copy.db", killed)
    before = read_files(killed)
    with pytest.raises(StoreReplaced, match=REFUSED):
        use(killed)
    assert read_files(killed) == before


def test_row_149_the_old_file_can_be_put_back(killed: Path, tmp_path: Path) -> None:
    killed.rename(tmp_path / "old.db")
    move_over(tmp_path / "copy.db", killed)
    assert_refused(killed)
    (tmp_path / "old.db").replace(killed)
    assert read_sound_candles(killed) == 8_000


def test_row_149_a_restore_sets_the_log_of_a_replaced_file_aside(
    killed: Path, tmp_path: Path
) -> None:
    move_over(tmp_path / "copy.db", killed)
    log = Path(f"{killed}-wal").read_bytes()
    replaced = restore(tmp_path / "copy.db", killed)
    assert replaced is not None
    assert Path(f"{killed}-wal.left-over").read_bytes() == log
    assert not get_marker_path(killed).exists()
    assert read_sound_candles(killed) == read_sound_candles(replaced) == 5_000


def test_row_149_a_file_and_its_log_that_were_copied_together_are_accepted(
    killed: Path, tmp_path: Path
) -> None:
    (tmp_path / "both").mkdir()
    copy = tmp_path / "both" / killed.name
    for suffix in SUFFIXES:
        shutil.copyfile(f"{killed}{suffix}", f"{copy}{suffix}")
    marker = get_marker_path(copy).read_bytes()
    with open_store(copy, create=False) as store:
        assert get_marker_path(copy).read_bytes() != marker
        write_rows(store, 1, start=8_000)
    assert read_sound_candles(copy) == 8_001


def test_row_149_a_file_and_its_log_that_were_both_replaced_are_accepted(
    killed: Path, tmp_path: Path, writers: Callable[[Path], Writer]
) -> None:
    other = Path(shutil.copy(tmp_path / "copy.db", tmp_path / "other.db"))
    writers(other).kill()
    for suffix in ("", "-wal"):
        Path(f"{other}{suffix}").replace(f"{killed}{suffix}")
    Path(f"{killed}-shm").unlink()
    assert read_sound_candles(killed) == 8_000


def test_row_149_an_unreplaced_file_is_accepted_after_a_kill(killed: Path) -> None:
    assert read_sound_candles(killed) == 8_000


def test_row_149_an_unreplaced_file_is_accepted_without_a_readable_marker(killed: Path) -> None:
    get_marker_path(killed).write_bytes(b"\x00" * 64)
    assert read_sound_candles(killed) == 8_000


def test_row_149_inodes_of_a_shared_folder_prove_nothing(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 254:0 / / rw,relatime shared:1 - 9p /dev/vda rw\n")
    shutil.copyfile(killed, tmp_path / "x.db")
    (tmp_path / "x.db").replace(killed)
    with pytest.raises(StoreReplaced):
        check_log_owner(killed)
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    check_log_owner(killed)


def test_the_marker_is_there_while_the_file_is_open_and_comes_back_with_the_next_write(
    closed: Path,
) -> None:
    marker = get_marker_path(closed)
    assert not marker.exists()
    with open_store(closed, create=False) as store:
        before = marker.read_bytes()
        assert [int(number) for number in before.split()][:3] == [
            closed.stat().st_dev,
            closed.stat().st_ino,
            Path(f"{closed}-wal").stat().st_ino,
        ]
        with open_store(closed, create=False):
            pass
        assert marker.read_bytes() == before
        marker.unlink()
        write_rows(store, 1, start=5_000)
        assert marker.read_bytes() == before
    assert [entry.name for entry in closed.parent.iterdir()] == [closed.name]


def test_a_marker_that_cannot_be_written_stops_no_program(closed: Path) -> None:
    get_marker_path(closed).mkdir()
    with open_store(closed, create=False) as store:
        write_rows(store, 1, start=5_000)
    assert read_sound_candles(closed) == 5_001


def test_the_check_of_a_log_keeps_the_locks_of_this_process(store: Store, path: Path) -> None:
    write_rows(store, 10)
    with store.write():
        check_log_owner(path)
        tried = subprocess.run(
            [sys.executable, "-I", "-S", "-c", TRY_LOCK, str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert "database is locked" in tried.stderr


def test_a_backup_that_replaces_an_open_one_leaves_no_log_behind(
    closed: Path, backup: Path, writers: Callable[[Path], Writer]
) -> None:
    writers(backup).kill()
    make_backup(closed, backup, replace=True)
    assert not Path(f"{backup}-wal").exists()
    assert read_sound_candles(backup) == 5_000


def test_row_149_opening_a_damaged_file_leaves_it_and_its_log_unchanged(killed: Path) -> None:
    spoil_a_page(killed)
    before = read_files(killed)
    with pytest.raises(StoreError, match="is damaged"):
        open_store(killed, create=False, whole=True)
    assert read_files(killed) == before


def test_row_149_closing_a_file_that_was_found_damaged_leaves_it_and_its_log_unchanged(
    killed: Path,
) -> None:
    spoil_a_page(killed)
    before = read_files(killed)
    with (
        pytest.raises(StoreDamaged, match="nothing was changed"),
        closing(open_store(killed, create=False)) as store,
        store.read() as connection,
    ):
        connection.execute("SELECT sum(close) FROM ohlcv_data").fetchall()
    assert read_files(killed) == before


def test_without_the_guard_the_old_log_changes_the_new_file(killed: Path, tmp_path: Path) -> None:
    """Failure mode 149, its guard off: SQLite itself does not notice."""
    move_over(tmp_path / "copy.db", killed)
    get_marker_path(killed).unlink()
    with closing(connect(killed)) as connection:
        assert connection.execute("PRAGMA quick_check(1)").get != "ok"
    with pytest.raises(StoreError, match="is damaged"):
        read_sound_candles(killed)
