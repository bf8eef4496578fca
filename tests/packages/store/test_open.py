"""Opening a database: permissions, refusals, and that a refusal changes nothing."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from onetape.core.errors import ConfigurationError, StoreError
from onetape.store.database import open_if_exists, open_store
from onetape.store.migrations import NEWEST_VERSION
from unprivileged import make_unprivileged_command

#: Opens a database in a folder that it may not write.
OPEN_LOCKED = """
import sys
from pathlib import Path
from onetape.core.errors import OnetapeError
from onetape.store.database import open_store
try:
    open_store(Path(sys.argv[1]), create=True)
except OnetapeError as error:
    print(type(error).__name__, error)
"""


def read_content(path: Path) -> bytes:
    return path.read_bytes()


def get_open_error(path: Path) -> str:
    """Return why a file is refused, having checked that it stays as it was."""
    before = read_content(path)
    with pytest.raises(StoreError) as caught:
        open_store(path, create=True)
    assert read_content(path) == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_new_database_is_private(path: Path) -> None:
    with open_store(path, create=True) as store:
        with store.write() as connection:
            connection.execute("INSERT INTO store_kind (only_row, simulated) VALUES (1, 0)")
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = ("onetape.db", "onetape.db-wal", "onetape.db-shm", "onetape.db-wal-owner")
    assert modes == dict.fromkeys(files, 0o600)


def test_a_link_to_a_file_that_is_not_there_yet_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "disk" / "real.db", tmp_path / "link.db"
    target.parent.mkdir()
    link.symlink_to(target)
    open_store(link, create=True).close()
    assert link.is_symlink()
    assert target.is_file()
    assert list(target.parent.iterdir()) == [target]


def test_a_missing_database_is_not_made_unless_requested(path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist; fill it first"):
        open_store(path, create=False)
    assert open_if_exists(path) is None
    assert not path.parent.exists()


def test_a_closed_database_leaves_one_file(path: Path) -> None:
    open_store(path, create=True).close()
    assert [entry.name for entry in path.parent.iterdir()] == ["onetape.db"]


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 500)
    assert "is not a SQLite database" in get_open_error(path)


def test_a_file_of_0_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    assert "is empty (0 bytes)" in get_open_error(path)


def test_a_truncated_database_is_refused(path: Path) -> None:
    open_store(path, create=True).close()
    os.truncate(path, path.stat().st_size // 2)
    assert "is damaged" in get_open_error(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a file"):
        open_store(tmp_path, create=True)


@pytest.mark.parametrize("version", [0, 1, 70])
def test_a_database_of_another_program_is_refused_and_stays_as_it_was(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "places.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.execute(f"PRAGMA user_version = {version}")
    other.close()
    assert "is a database of another program" in get_open_error(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    with open_store(path, create=True) as store, store.write() as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST_VERSION + 1}")
    assert f"has schema {NEWEST_VERSION + 1}" in get_open_error(path)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="choose another file with --db"):
        open_store(tmp_path / ("x" * 300), create=True)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ConfigurationError, match="cannot create"):
        open_store(blocker / "data" / "onetape.db", create=True)


def test_a_folder_that_is_not_writable_is_refused(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    done = subprocess.run(
        make_unprivileged_command([sys.executable, "-c", OPEN_LOCKED, str(folder / "onetape.db")]),
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert done.stdout.startswith("ConfigurationError cannot create")
    assert "make the folder writable" in done.stdout
    assert list(folder.iterdir()) == []
