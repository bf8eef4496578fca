"""Commands that come as signals: stored once, also where the disk is full at that moment."""

import asyncio
import os
import resource
import signal
from pathlib import Path

import pytest

from traded_accounts import TradedAccount
from trader import command_signals
from trader.command_signals import holding_command_signals, taking_command_signals


def stored(account: TradedAccount) -> list[str]:
    with account.store.read() as connection:
        return [row[0] for row in connection.execute("SELECT verb FROM controls ORDER BY id")]


def test_a_command_by_signal_on_a_full_disk_is_stored_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_signals, "AGAIN_SECONDS", 0.05)
    printed = ""

    async def until_printed(text: str) -> None:
        nonlocal printed
        async with asyncio.timeout(60):
            while text not in printed:
                await asyncio.sleep(0.01)
                printed += capsys.readouterr().out

    async def scenario(account: TradedAccount) -> None:
        path = account.store.path
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        full = path.with_name(f"{path.name}-wal").stat().st_size
        with taking_command_signals(path, account.name):
            resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))
            try:
                os.kill(os.getpid(), signal.SIGUSR2)
                await until_printed("SIGUSR2: the command flatten is not stored yet: ")
                assert stored(account) == []
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            await until_printed("SIGUSR2: command flatten stored")

    with TradedAccount(tmp_path / "x.db", "mine", cash="1000") as account:
        asyncio.run(scenario(account))
        assert stored(account) == ["flatten"]
    assert printed.count("not stored yet") == 1


def test_signals_before_the_event_loop_runs_are_commands_and_those_at_the_end_kill_nothing(
    tmp_path: Path,
) -> None:
    async def until_stored(account: TradedAccount, count: int) -> None:
        async with asyncio.timeout(60):
            while True:
                if len(stored(account)) == count:
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
        assert sorted(stored(account)) == ["flatten", "pause"]
    assert signal.getsignal(signal.SIGUSR1) is before
