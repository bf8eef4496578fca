"""The command file next to a database: each line is stored once."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from onetape.core.errors import StoreError
from traded_accounts import TradedAccount
from trader import command_file as files
from trader.command_file import CommandFiles, get_command_file, list_taken_files

#: Takes the command file of a database, and is killed where it would remove the file.
KILLED = """
import os, signal, sys
from pathlib import Path
from onetape.store.database import open_store
from trader import command_file as files
files.SETTLED_SECONDS = 0.0
Path.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with open_store(Path(sys.argv[1]), create=False) as store:
    files.CommandFiles(store).take()
    files.CommandFiles(store).take()
"""


@pytest.fixture
def account(tmp_path: Path) -> Generator[TradedAccount]:
    with TradedAccount(tmp_path / "data" / "onetape.db", cash="1000") as opened:
        yield opened


def read_stored_verbs(account: TradedAccount) -> list[str]:
    with account.store.read() as connection:
        return [row[0] for row in connection.execute("SELECT verb FROM controls ORDER BY id")]


def test_lines_added_while_the_file_is_read_are_stored_once(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = get_command_file(account.store.path)
    monkeypatch.setattr(files, "SETTLED_SECONDS", 3_600.0)
    with file.open("a", encoding="utf-8") as open_before:
        print("pause", file=open_before, flush=True)
        assert CommandFiles(account.store).take() == []
        assert not file.exists()
        print("halt", file=open_before)
    file.write_text("resume\n", encoding="utf-8")
    assert CommandFiles(account.store).take() == []
    assert read_stored_verbs(account) == []
    # Who had the file open has had the time to write.
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    name = file.name
    taken = CommandFiles(account.store).take()
    assert taken == [f"{name}: pause", f"{name}: halt", f"{name}: resume"]
    assert CommandFiles(account.store).take() == []
    assert read_stored_verbs(account) == ["pause", "halt", "resume"]
    assert not file.exists()
    assert list_taken_files(account.store.path) == []


def test_a_file_that_was_renamed_by_a_process_that_ended_is_read_by_the_next(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    path = account.store.path
    # The second name is the one that an earlier version gave.
    for name, verb in (("-commands-taken-0a", "pause"), ("-commands-taken", "halt")):
        path.with_name(f"{path.name}{name}").write_text(f"{verb}\n", encoding="utf-8")
    CommandFiles(account.store).take()
    assert sorted(read_stored_verbs(account)) == ["halt", "pause"]
    assert list_taken_files(path) == []


def test_commands_whose_commit_fails_are_stored_once_the_disk_has_room(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    path = account.store.path
    get_command_file(path).write_text("flatten\n", encoding="utf-8")
    assert CommandFiles(account.store).take() == []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = path.with_name(f"{path.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))
    try:
        with pytest.raises(StoreError):
            CommandFiles(account.store).take()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_stored_verbs(account) == []
    CommandFiles(account.store).take()
    assert read_stored_verbs(account) == ["flatten"]
    assert list_taken_files(path) == []


def test_a_process_that_is_killed_between_commit_and_removal_stores_commands_once(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    path = account.store.path
    get_command_file(path).write_text("exit BTC/USDT\npause\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert read_stored_verbs(account) == ["exit", "pause"]
    assert len(list_taken_files(path)) == 1
    assert CommandFiles(account.store).take() == []
    assert read_stored_verbs(account) == ["exit", "pause"]
    assert list_taken_files(path) == []
    # The same command in another file is another command.
    get_command_file(path).write_text("pause\n", encoding="utf-8")
    CommandFiles(account.store).take()
    CommandFiles(account.store).take()
    assert read_stored_verbs(account) == ["exit", "pause", "pause"]


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [make_folder, make_pipe, make_loop])
@pytest.mark.parametrize("name", ["-commands", "-commands-taken-0"])
def test_a_command_file_that_cannot_be_read_is_printed_once_and_others_are_stored(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], name: str
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(files, "UNFINISHED_SECONDS", -1.0)
    path = account.store.path
    unread = path.with_name(f"{path.name}{name}")
    make(unread)
    path.with_name(f"{path.name}-commands-taken-1").write_text("pause\n", encoding="utf-8")
    taking = CommandFiles(account.store)
    printed = taking.take()
    assert printed[0] == f"{path.name}-commands: pause"
    assert f"{unread} cannot be read (" in printed[1]
    assert "its commands are not carried out; make it a file that" in printed[1]
    assert len(printed) == 2
    assert taking.take() == []
    assert read_stored_verbs(account) == ["pause"]
    assert unread.is_symlink() or unread.exists()
    if unread.is_dir():
        unread.rmdir()
    else:
        unread.unlink()
    unread.write_text("halt\n", encoding="utf-8")
    assert f"{path.name}-commands: halt" in taking.take() + taking.take()
    assert read_stored_verbs(account) == ["pause", "halt"]


def test_a_command_file_that_cannot_be_renamed_is_printed_once(tmp_path: Path) -> None:
    # Its name has room for what is added at first, and none for the name of a taken file.
    with TradedAccount(tmp_path / ("x" * 220), cash="1000") as account:
        file = get_command_file(account.store.path)
        file.write_text("pause\n", encoding="utf-8")
        taking = CommandFiles(account.store)
        (printed,) = taking.take()
        assert "cannot be renamed (" in printed
        assert taking.take() == []
        assert read_stored_verbs(account) == []
        assert file.exists()


def test_a_line_cut_off_by_the_size_limit_is_not_read(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    first = "pause\n" + "#" * (files.MOST_BYTES - 11) + "\n"
    # Cut after the verb, the last line would be a command for every account.
    get_command_file(account.store.path).write_text(
        f"{first}halt --account other\n", encoding="utf-8"
    )
    taking = CommandFiles(account.store)
    assert taking.take() == []
    assert any("4,096 bytes is not read" in line for line in taking.take())
    assert read_stored_verbs(account) == ["pause"]
