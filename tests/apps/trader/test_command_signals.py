"""Commands by signal are stored once, at any stage of the program."""

import asyncio
import os
import resource
import signal
from pathlib import Path

import pytest

from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from programs import Program
from traded_accounts import TradedAccount, compute_hour_ms
from trader import command_signals
from trader.command_signals import holding_command_signals, taking_command_signals

#: A trader that sends itself a signal at each module that it imports after its entry point, except
#: while its event loop takes the signals.
SIGNALLED = """
import os, signal, sys
class Signalling:
    def find_spec(self, name, path=None, target=None):
        handler = signal.getsignal(signal.NAME)
        is_taken = getattr(handler, "__module__", "") == "asyncio.unix_events"
        if name not in ("trader", "trader.start") and not is_taken:
            os.kill(os.getpid(), signal.NAME)
sys.meta_path.insert(0, Signalling())
from trader.start import run
run()
"""


class PrintedText:
    """All output of the session."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    async def until(self, part: str) -> None:
        async with asyncio.timeout(120):
            while part not in self.text:
                await asyncio.sleep(0.01)
                self.text += self._capsys.readouterr().out


def read_stored_verbs(account: TradedAccount) -> list[str]:
    with account.store.read() as connection:
        return [row[0] for row in connection.execute("SELECT verb FROM controls ORDER BY id")]


def test_a_command_by_signal_on_a_full_disk_is_stored_once_the_disk_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_signals, "RETRY_SECONDS", 0.05)
    printed = PrintedText(capsys)

    async def scenario(account: TradedAccount) -> None:
        path = account.store.path
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        full = path.with_name(f"{path.name}-wal").stat().st_size
        with taking_command_signals(path, account.name):
            resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))
            try:
                os.kill(os.getpid(), signal.SIGUSR2)
                await printed.until("SIGUSR2: the command flatten is not stored yet: ")
                assert read_stored_verbs(account) == []
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            await printed.until("SIGUSR2: command flatten stored")

    with TradedAccount(tmp_path / "x.db", "mine", cash="1000") as account:
        asyncio.run(scenario(account))
        assert read_stored_verbs(account) == ["flatten"]
    assert printed.text.count("not stored yet") == 1


def test_signals_before_the_event_loop_are_commands_and_those_at_the_end_kill_no_process(
    tmp_path: Path,
) -> None:
    async def until_stored(account: TradedAccount, count: int) -> None:
        async with asyncio.timeout(60):
            while True:
                if len(read_stored_verbs(account)) == count:
                    return
                await asyncio.sleep(0.01)

    async def scenario(account: TradedAccount) -> None:
        with taking_command_signals(account.store.path, account.name):
            await until_stored(account, 2)

    before = signal.getsignal(signal.SIGUSR1)
    with TradedAccount(tmp_path / "x.db", "mine", cash="1000") as account:
        with holding_command_signals():
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)
            asyncio.run(scenario(account))
            os.kill(os.getpid(), signal.SIGUSR1)
        assert sorted(read_stored_verbs(account)) == ["flatten", "pause"]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_command_by_signal_is_stored_once_a_first_start_has_stored_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_signals, "RETRY_SECONDS", 0.05)
    path = tmp_path / "x.db"
    printed = PrintedText(capsys)

    async def scenario() -> None:
        with taking_command_signals(path, "mine"):
            os.kill(os.getpid(), signal.SIGUSR1)
            await printed.until("the command pause is not stored yet: ")
            with TradedAccount(path, "other", cash="1000"):
                await printed.until("the command pause is not stored yet: no account 'mine'")
            with TradedAccount(path, "mine", cash="1000") as account:
                await printed.until("SIGUSR1: command pause stored")
                assert read_stored_verbs(account) == ["pause"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGUSR1, "paused by signal SIGUSR1 since "),
        (signal.SIGUSR2, "flatten by signal SIGUSR2: there is no position to close; no entries"),
    ],
)
def test_a_signal_during_any_import_of_the_program_is_a_command_and_ends_no_trader(
    tmp_path: Path, number: signal.Signals, line: str
) -> None:
    with TradedAccount(tmp_path / "data" / "simulator.db", "mine", exchange="simulator") as account:
        account.end(hours=2)
    script = SIGNALLED.replace("NAME", number.name)
    clock = make_clock(start_ms=compute_hour_ms(3))
    with (
        embedded_simulator(clock=clock) as simulator,
        Program(
            "python", "-c", script, "--exchange", "simulator", "--simulator-url", simulator.url,
            "--account", "mine", "--symbol", "BTC/USDT", "--timeframe", "1h", "--strategy", "rsi",
            "--cash", "1000", folder=tmp_path,
        ) as program,
    ):  # fmt: skip
        program.until(line)
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert program.errors == []
