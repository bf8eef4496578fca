"""Backups of a database in use, and their restore."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minute_rows import read_sound_candles, spoil_a_page, write_rows
from old_stores import make_old_store, read_all_rows, read_version
from onetape.core.errors import ConfigurationError, SafetyRefusal, StoreError
from onetape.store.backup import make_backup, restore
from onetape.store.database import Store, open_store
from onetape.store.leases import acquire_lease
from onetape.store.migrations import NEWEST_VERSION
from store_kills import KEPT, kill_everywhere

WRITERS = 8
#: Writes without a pause, and names each row that was acknowledged.
WRITE = """
import sys
from itertools import count
from pathlib import Path
from onetape.store.database import open_store
from onetape.store.market_data import BestPrices, insert_ticker
with open_store(Path(sys.argv[1]), create=False) as store:
    for moment in count():
        insert_ticker(store, "binance", sys.argv[2], BestPrices(moment, 1.0, None, None))
        print(moment, flush=True)
"""
#: Opens a file and waits.
HOLD = """
import sys
from pathlib import Path
from onetape.store.database import open_store
with open_store(Path(sys.argv[1]), create=False) as store:
    print("open", flush=True)
    sys.stdin.read()
"""


class Writers:
    """Processes that write; `newest` is what each has acknowledged last."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        """Start them, and wait until each has written something."""
        self.newest = dict.fromkeys((f"C{number}/USDT" for number in range(WRITERS)), -1)
        self._children = {
            symbol: subprocess.Popen(
                [sys.executable, "-c", WRITE, str(path), symbol],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for symbol in self.newest
        }
        self._readers = [
            threading.Thread(target=self._listen, args=(symbol,)) for symbol in self.newest
        ]
        for reader in self._readers:
            reader.start()
        self.wait_for_more()

    def wait_for_more(self) -> None:
        """Wait until each has written 20 rows more."""
        wanted = {symbol: moment + 20 for symbol, moment in self.newest.items()}
        deadline = time.monotonic() + 60
        while any(self.newest[symbol] < moment for symbol, moment in wanted.items()):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self) -> None:
        """End them where they are."""
        for child in self._children.values():
            child.kill()
        for reader in self._readers:
            reader.join()
        for child in self._children.values():
            child.wait()
            assert child.stdout is not None
            child.stdout.close()

    def _listen(self, symbol: str) -> None:
        output = self._children[symbol].stdout
        assert output is not None
        for line in output:
            self.newest[symbol] = int(line)


def find_missing_rows(path: Path, acknowledged: dict[str, int]) -> dict[str, int]:
    """Return the symbols of which a file lacks an acknowledged row, with the rows that it has."""
    with open_store(path, create=False) as store, store.read() as connection:
        assert connection.execute("PRAGMA quick_check").get == "ok"
        rows = dict(
            connection.execute(
                "SELECT symbol, count(*) FROM ticker_data GROUP BY symbol"
            ).fetchall()
        )
    return {
        symbol: rows.get(symbol, 0)
        for symbol, newest in acknowledged.items()
        if rows.get(symbol, 0) < newest + 1
    }


def test_a_restore_drill_finds_every_row_that_was_acknowledged_before_the_backup(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    path, kept, elsewhere = tmp_path / "a.db", tmp_path / "kept.db", tmp_path / "there" / "b.db"
    with open_store(path, create=True) as store:
        write_rows(store, 20_000)
    writers = Writers(path, child_environment)
    acknowledged = dict(writers.newest)
    make_backup(path, kept)
    writers.wait_for_more()
    writers.kill()
    restore(kept, elsewhere)
    assert find_missing_rows(elsewhere, acknowledged) == {}
    assert find_missing_rows(path, writers.newest) == {}
    assert read_sound_candles(elsewhere) == 20_000


def test_a_backup_has_the_rows_of_the_log_and_a_copy_of_the_file_does_not(
    tmp_path: Path,
) -> None:
    """Failure mode 52."""
    path, copied, kept = (tmp_path / name for name in ("a.db", "copied.db", "kept.db"))
    with open_store(path, create=True) as store:
        write_rows(store, 2_000)
        # In a separate process: closing a plain handle on an open database drops its locks.
        subprocess.run(["cp", str(path), str(copied)], check=True)
        make_backup(path, kept)
    assert read_sound_candles(kept) == 2_000
    assert read_sound_candles(copied) < 2_000


def test_a_backup_is_private_and_needs_no_second_file(store: Store, tmp_path: Path) -> None:
    write_rows(store, 10)
    target = tmp_path / "backups" / "kept.db"
    report = make_backup(store.path, target)
    assert (report.path, report.size_bytes) == (target, target.stat().st_size)
    assert [entry.name for entry in target.parent.iterdir()] == ["kept.db"]
    modes = [stat.S_IMODE(entry.stat().st_mode) for entry in (target, target.parent)]
    assert modes == [0o600, 0o700]


def test_a_backup_replaces_a_file_only_when_allowed(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "kept.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        make_backup(store.path, target)
    assert target.read_text() == "precious"
    make_backup(store.path, target, replace=True)
    assert read_version(target) == NEWEST_VERSION


def test_a_damaged_database_gives_no_backup(path: Path, tmp_path: Path) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 5_000)
    spoil_a_page(path)
    with pytest.raises(StoreError, match=f"{path} is damaged"):
        make_backup(path, tmp_path / "kept.db")
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_the_partial_file_of_a_killed_backup_is_deleted_by_the_next_one(
    store: Store, tmp_path: Path
) -> None:
    old, young, other = (tmp_path / name for name in (".b.db.x.new", ".b.db.y.new", ".c.db.x.new"))
    for draft in (old, young, other):
        draft.write_bytes(b"half")
    before = time.time() - 7_200
    for draft in (old, other):
        os.utime(draft, (before, before))
    make_backup(store.path, tmp_path / "b.db")
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_a_backup_over_the_database_itself_is_refused(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="is the database itself"):
        make_backup(store.path, store.path, replace=True)


def test_a_restore_saves_the_replaced_file(path: Path, tmp_path: Path) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 10)
        make_backup(path, tmp_path / "kept.db")
        write_rows(store, 5, start=10)
    replaced = restore(tmp_path / "kept.db", path)
    assert replaced is not None
    assert replaced.name.startswith("onetape.db.replaced-")
    assert (read_sound_candles(path), read_sound_candles(replaced)) == (10, 15)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restore_to_a_new_path_creates_the_folder(store: Store, tmp_path: Path) -> None:
    make_backup(store.path, tmp_path / "kept.db")
    target = tmp_path / "new" / "onetape.db"
    assert restore(tmp_path / "kept.db", target) is None
    assert read_sound_candles(target) == 0


def test_a_restore_through_a_link_replaces_the_target(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    with open_store(path, create=True) as store:
        write_rows(store, 10)
        make_backup(path, tmp_path / "kept.db")
        write_rows(store, 5, start=10)
    link.symlink_to(path)
    restore(tmp_path / "kept.db", link)
    assert link.is_symlink()
    assert (read_sound_candles(link), read_sound_candles(path)) == (10, 10)


def test_a_log_left_by_a_killed_process_is_moved_with_its_file(path: Path, tmp_path: Path) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 10)
        make_backup(path, tmp_path / "kept.db")
        write_rows(store, 5, start=10)
        crashed = tmp_path / "crashed"
        subprocess.run(["cp", "-r", str(path.parent), str(crashed)], check=True)
    assert Path(f"{crashed / path.name}-wal").stat().st_size > 0
    replaced = restore(tmp_path / "kept.db", crashed / path.name)
    assert replaced is not None
    assert (read_sound_candles(crashed / path.name), read_sound_candles(replaced)) == (10, 15)


def test_a_restore_is_refused_while_a_trader_holds_a_lease(path: Path, tmp_path: Path) -> None:
    with open_store(path, create=True) as store:
        make_backup(path, tmp_path / "kept.db")
        acquire_lease(store, "paper/a", "process 17", now_ms=time.time_ns() // 10**6, seconds=60)
    with pytest.raises(SafetyRefusal, match="paper/a is traded by process 17"):
        restore(tmp_path / "kept.db", path)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_restore_is_refused_while_another_process_has_the_file_open(
    path: Path, tmp_path: Path, child_environment: dict[str, str], damaged: bool
) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 10)
        make_backup(path, tmp_path / "kept.db")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    if damaged:
        with path.open("r+b") as file:
            file.write(b"no database header")
    before = sorted(entry.name for entry in path.parent.iterdir())
    with pytest.raises(SafetyRefusal, match="is open in another process"):
        restore(tmp_path / "kept.db", path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == before
    holder.communicate(timeout=180)


def test_a_restore_replaces_a_damaged_file_and_saves_it_too(path: Path, tmp_path: Path) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 10)
        make_backup(path, tmp_path / "kept.db")
    path.write_text("no database header")
    replaced = restore(tmp_path / "kept.db", path)
    assert read_sound_candles(path) == 10
    assert replaced is not None
    assert replaced.read_text() == "no database header"


def test_a_restore_that_is_killed_anywhere_leaves_the_old_file_or_the_new_one(path: Path) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 10)
        make_backup(path, path.with_name(KEPT))
        write_rows(store, 5, start=10)
    copies = kill_everywhere(path, "restore_older", seed=52)
    assert {read_sound_candles(copy.path) for copy in copies} <= {10, 15}


@pytest.mark.parametrize("fault", ["missing", "damaged", "empty", "of another program"])
def test_an_unsound_backup_is_refused_and_changes_nothing(
    path: Path, tmp_path: Path, fault: str
) -> None:
    kept = tmp_path / "kept.db"
    with open_store(path, create=True) as store:
        write_rows(store, 5_000)
        if fault == "damaged":
            make_backup(path, kept)
            spoil_a_page(kept)
    if fault == "empty":
        kept.touch()
    if fault == "of another program":
        subprocess.run(
            [sys.executable, "-c", OTHER, str(kept)],
            check=True,
        )
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    with pytest.raises(StoreError, match=str(kept)):
        restore(kept, path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


OTHER = """
import sqlite3, sys
sqlite3.connect(sys.argv[1], isolation_level=None).execute("CREATE TABLE bookmarks (url TEXT)")
"""


def test_a_backup_of_an_older_version_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    old = make_old_store(tmp_path / "old.db")
    before = read_all_rows(old)
    restore(old, tmp_path / "new" / "onetape.db")
    open_store(tmp_path / "new" / "onetape.db", create=False).close()
    assert read_all_rows(tmp_path / "new" / "onetape.db") == before
    assert read_version(old) == 1


def test_a_backup_that_does_not_fit_on_the_disk_leaves_nothing(
    path: Path, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    with open_store(path, create=True) as store:
        write_rows(store, 5_000)
    script = f"""
import resource
from pathlib import Path
from onetape.core.errors import OnetapeError
from onetape.store.backup import make_backup
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    make_backup(Path({str(path)!r}), Path({str(tmp_path / "kept.db")!r}))
except OnetapeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=180,
    )
    assert "kept.db could not be read or written" in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    assert read_sound_candles(path) == 5_000
