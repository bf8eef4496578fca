"""The file of commands beside a database: each line is stored once, whenever it was added."""

import resource
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from onetape.core.errors import StoreError
from traded_accounts import TradedAccount
from trader import command_file as files
from trader.command_file import command_file, take_command_file, taken_files

#: Takes the command file of a database, and is killed where it would remove the file.
KILLED = """
import os, signal, sys
from pathlib import Path
from onetape.store.database import open_store
from trader import command_file as files
files.SETTLED_SECONDS = 0.0
Path.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with open_store(Path(sys.argv[1]), create=False) as store:
    files.take_command_file(store)
    files.take_command_file(store)
"""


@pytest.fixture
def account(tmp_path: Path) -> Generator[TradedAccount]:
    with TradedAccount(tmp_path / "data" / "onetape.db", cash="1000") as opened:
        yield opened


def stored(account: TradedAccount) -> list[str]:
    with account.store.read() as connection:
        return [row[0] for row in connection.execute("SELECT verb FROM controls ORDER BY id")]


def test_lines_that_are_added_while_the_file_is_taken_are_stored_once(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = command_file(account.store.path)
    monkeypatch.setattr(files, "SETTLED_SECONDS", 3_600.0)
    with file.open("a", encoding="utf-8") as open_before:
        print("pause", file=open_before, flush=True)
        assert take_command_file(account.store) == []
        assert not file.exists()
        print("halt", file=open_before)
    file.write_text("resume\n", encoding="utf-8")
    assert take_command_file(account.store) == []
    assert stored(account) == []
    # Who had the file open has had the time to write.
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    name = file.name
    taken = take_command_file(account.store)
    assert taken == [f"{name}: pause", f"{name}: halt", f"{name}: resume"]
    assert take_command_file(account.store) == []
    assert stored(account) == ["pause", "halt", "resume"]
    assert not file.exists()
    assert taken_files(account.store.path) == []


def test_a_file_that_was_renamed_by_a_process_that_ended_is_read_by_the_next(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    path = account.store.path
    # The second name is the one that an earlier version gave.
    for name, verb in (("-commands-taken-0a", "pause"), ("-commands-taken", "halt")):
        path.with_name(f"{path.name}{name}").write_text(f"{verb}\n", encoding="utf-8")
    take_command_file(account.store)
    assert sorted(stored(account)) == ["halt", "pause"]
    assert taken_files(path) == []


def test_commands_whose_commit_fails_are_stored_once_the_disk_has_room(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    path = account.store.path
    command_file(path).write_text("flatten\n", encoding="utf-8")
    assert take_command_file(account.store) == []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = path.with_name(f"{path.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))
    try:
        with pytest.raises(StoreError):
            take_command_file(account.store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert stored(account) == []
    take_command_file(account.store)
    assert stored(account) == ["flatten"]
    assert taken_files(path) == []


def test_a_process_that_is_killed_between_commit_and_removal_stores_commands_once(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    path = account.store.path
    command_file(path).write_text("exit BTC/USDT\npause\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert stored(account) == ["exit", "pause"]
    assert len(taken_files(path)) == 1
    assert take_command_file(account.store) == []
    assert stored(account) == ["exit", "pause"]
    assert taken_files(path) == []
    # The same command in another file is another command.
    command_file(path).write_text("pause\n", encoding="utf-8")
    take_command_file(account.store)
    take_command_file(account.store)
    assert stored(account) == ["exit", "pause", "pause"]
