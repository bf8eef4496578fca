"""The file of commands beside a database: each line is stored once, whenever it was added."""

from collections.abc import Generator
from pathlib import Path

import pytest

from traded_accounts import TradedAccount
from trader import command_file as files
from trader.command_file import command_file, renamed_file, take_command_file


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
    assert take_command_file(account.store) == [f"{name}: pause", f"{name}: halt"]
    assert take_command_file(account.store) == [f"{name}: resume"]
    assert take_command_file(account.store) == []
    assert stored(account) == ["pause", "halt", "resume"]
    assert not file.exists()
    assert not renamed_file(account.store.path).exists()


def test_a_file_that_was_renamed_by_a_process_that_ended_is_read_by_the_next(
    account: TradedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    renamed_file(account.store.path).write_text("pause\n", encoding="utf-8")
    take_command_file(account.store)
    assert stored(account) == ["pause"]
