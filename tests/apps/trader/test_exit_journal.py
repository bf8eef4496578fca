"""The exit journal: exits that the database cannot take are stored in a file and sold later."""

import asyncio
import contextlib
import os
import subprocess
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from held_lock import hold_write_lock
from onetape.core.trading import ExitObligation
from onetape.engine import ExitConfig
from session_harness import MARCH, OFTEN, SessionHarness, SteppedMarket, open_market, open_session
from trader.exit_journal import SLOT_BYTES, SLOTS, ExitJournal

Run = Callable[[Any], Any]
BUYS = OFTEN.replace("-rose.astype(np.int8)", f"(candles.timestamp >= {MARCH}).astype(np.int8)")


def make_entry(number: int, reason: str = "stop loss at 9.5") -> ExitObligation:
    return ExitObligation(
        f"id-{number}", "a", "paper", "simulator", "BTC/USDT", "entry", "stop_loss", MARCH,
        Decimal("9.5"), 7, reason,
    )  # fmt: skip


def test_the_journal_returns_its_exits_also_to_the_next_process(tmp_path: Path) -> None:
    journal = ExitJournal(tmp_path / "x.db", "a")
    journal.add(make_entry(1))
    journal.close()
    again = ExitJournal(tmp_path / "x.db", "a")
    assert again.read_entries() == [make_entry(1)]
    again.clear()
    assert again.read_entries() == []
    assert ExitJournal(tmp_path / "x.db", "another").path != again.path
    again.close()


def test_the_journal_never_grows_and_keeps_the_newest(tmp_path: Path) -> None:
    journal = ExitJournal(tmp_path / "x.db", "a")
    size = journal.path.stat().st_size
    for number in range(20):
        journal.add(make_entry(number, "x" * 10_000))
    kept = {one.obligation for one in journal.read_entries()}
    assert kept == {f"id-{number}" for number in range(20 - SLOTS, 20)}
    assert journal.path.stat().st_size == size == SLOTS * SLOT_BYTES
    journal.close()


def test_a_partly_written_slot_is_left_out(tmp_path: Path) -> None:
    journal = ExitJournal(tmp_path / "x.db", "a")
    journal.add(make_entry(1))
    journal.add(make_entry(2))
    with journal.path.open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    assert journal.read_entries() == [make_entry(2)]
    journal.close()


def test_an_exit_of_another_version_is_left_out_with_the_reason(tmp_path: Path) -> None:
    journal = ExitJournal(tmp_path / "x.db", "a")
    journal.add(make_entry(1))
    text = b'{"unknown": 1}'
    head = len(text).to_bytes(4, "big") + zlib.crc32(text).to_bytes(4, "big")
    with journal.path.open("r+b") as file:
        file.seek(SLOT_BYTES)
        file.write(head + text)
    assert journal.read_entries() == [make_entry(1)]
    assert "another version" in journal.fault
    journal.close()


def test_an_exit_that_is_still_needed_is_not_overwritten_by_later_ones(tmp_path: Path) -> None:
    journal = ExitJournal(tmp_path / "x.db", "a")
    for number in (1, 2):
        journal.add(make_entry(number))
    journal.remove(make_entry(1).obligation)
    journal.close()
    journal = ExitJournal(tmp_path / "x.db", "a")
    for number in range(3, 2 + SLOTS):
        journal.add(make_entry(number))
    assert {one.obligation for one in journal.read_entries()} == {
        make_entry(number).obligation for number in range(2, 2 + SLOTS)
    }
    journal.close()


def test_a_journal_that_cannot_be_made_has_the_reason(tmp_path: Path) -> None:
    journal = ExitJournal(tmp_path / "absent" / "x.db", "a")
    journal.add(make_entry(1))
    assert journal.read_entries() == []
    assert "No such file or directory" in journal.fault


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """Return the folder of a file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (it takes root)")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def fill_file_system(folder: Path) -> Generator[None]:
    """Let the file system of a folder be full while the block lasts."""
    rest = folder / "rest"
    with rest.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4_096):
            pass
    yield
    rest.unlink()


def test_an_exit_is_stored_on_a_full_disk(small_disk: Path) -> None:
    journal = ExitJournal(small_disk / "x.db", "a")
    with fill_file_system(small_disk):
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "more").write_bytes(b"x")
        journal.add(make_entry(1))
        assert journal.fault == ""
        assert journal.read_entries() == [make_entry(1)]
    journal.close()


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trader.session.WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.session.END_WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.supervisor.LONGEST_DATABASE_PAUSE_SECONDS", 0.1)


class PrintedText:
    """What the session has printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def have(self, part: str) -> bool:
        self.text += self._capsys.readouterr().out
        return part in self.text


async def pass_the_stop(opened: SteppedMarket, trading: SessionHarness, lines: PrintedText) -> None:
    """Let the price fall under the stop while the file is locked."""
    await trading.until(lambda: lines.have("degraded: "))
    for hundredth in range(5, 96, 5):
        await opened.go_to(1 + hundredth / 100)
        await asyncio.sleep(0.02)
    await trading.until(lambda: lines.have("stored in the journal until the database"))


@pytest.mark.parametrize("how", ["the lock ends", "the trader is started again"])
@pytest.mark.usefixtures("quick_pauses")
def test_a_stop_that_is_passed_while_the_database_is_locked_sells_after_the_lock(
    run: Run,
    db: Path,
    strategy_file: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    lines = PrintedText(capsys)
    name = strategy_file(BUYS, "buys")
    exits = ExitConfig(stop_loss=0.002)

    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name, exits=exits) as trading:
                await trade_until_bought(opened, trading)
                with hold_write_lock(db):
                    await pass_the_stop(opened, trading, lines)
                    if how == "the trader is started again":
                        trading.stop.request("the test")
                        await asyncio.wait({trading.task})
                if how == "the lock ends":
                    await trade_until_sold(opened, trading)
            if how == "the trader is started again":
                async with open_session(
                    opened, db, strategy=name, exits=exits, number=2
                ) as trading:
                    await trade_until_sold(opened, trading)

    run(scene())
    assert lines.have("exit from the journal, pending now: stop loss at ")


@pytest.mark.usefixtures("quick_pauses")
def test_a_stop_that_is_passed_while_the_disk_is_full_sells_once_there_is_space(
    run: Run,
    small_disk: Path,
    strategy_file: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines, name = PrintedText(capsys), strategy_file(BUYS, "buys")
    db = small_disk / "x.db"

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, exits=ExitConfig(stop_loss=0.002)) as trading,
        ):
            await trade_until_bought(opened, trading)
            with fill_file_system(small_disk):
                await pass_the_stop(opened, trading, lines)
            await trade_until_sold(opened, trading)

    run(scene())
    assert lines.have("the disk is full; no entries meanwhile")
    assert lines.have("exit from the journal, pending now: stop loss at ")


async def trade_until_bought(opened: SteppedMarket, trading: SessionHarness) -> None:
    await trading.until_live(opened)
    await opened.go_to(1.01)
    await trading.until(lambda: len(trading.fills()) == 1)


async def trade_until_sold(opened: SteppedMarket, trading: SessionHarness) -> None:
    hour = 2.0
    while len(trading.fills()) < 2:
        hour += 0.02
        await opened.go_to(hour)
        await asyncio.sleep(0.05)
        if trading.task.done():
            trading.task.result()
    ((kind, ended),) = trading.query("SELECT cause, ended_ms > 0 FROM exit_obligations")
    assert (kind, ended) == ("stop_loss", 1)
    assert trading.fills()[1].side == "sell"
