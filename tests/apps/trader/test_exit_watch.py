"""A SELL decided while the database is locked survives the end of the process."""

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from held_lock import hold_write_lock
from onetape.core.trading import ExitObligation
from onetape.store.controls import NewControl, insert_controls
from onetape.store.database import open_store
from onetape.store.leases import make_lease_name
from programs import Program
from session_harness import (
    ACCOUNT,
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from strategy_sources import make_scripted_source
from trader.exit_journal import ExitJournal

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
KEPT = "stored in the journal until the database can be written"


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


async def trade_until_bought(opened: SteppedMarket, trading: SessionHarness) -> None:
    await trading.until_live(opened)
    await opened.go_to(1.1)
    await trading.until(lambda: list_fill_sides(trading) == ["buy"])


def list_fill_sides(trading: SessionHarness) -> list[str]:
    return [trade.side for trade in trading.fills()]


def read_sell_orders(trading: SessionHarness) -> list[tuple[Any, ...]]:
    return trading.query("SELECT type, status, signal_timestamp FROM orders WHERE side = 'sell'")


@pytest.mark.parametrize(
    ("higher", "informative"),
    [((), ()), (("4h",), ()), ((), ("ETH/USDT",))],
    ids=["one timeframe", "a higher one too", "another market too"],
)
@pytest.mark.usefixtures("quick_pauses")
def test_a_sell_decided_while_the_database_is_locked_is_filled_once_after_the_lock(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    capsys: pytest.CaptureFixture[str],
    higher: tuple[str, ...],
    informative: tuple[str, ...],
) -> None:
    lines = PrintedText(capsys)

    async def scene() -> None:
        source = make_scripted_source([0], [3], higher_timeframes=higher, informative=informative)
        name = strategy_file(source, "scripted")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trade_until_bought(opened, trading)
            with hold_write_lock(db):
                await trading.until(lambda: lines.have("degraded: "))
                for hour in range(2, 5):
                    await opened.go_to(hour + 0.1)
                    await asyncio.sleep(0.1)
                await trading.until(lambda: lines.have(KEPT))
                assert list_fill_sides(trading) == ["buy"]
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            await opened.go_to(5.1)
            await trading.until_decided(4)
            assert read_sell_orders(trading) == [("market", "closed", MARCH + 3 * HOUR)]

    run(scene())
    assert f"SELL on the candle of 2024-03-01 03:00: {KEPT}" in lines.text
    assert lines.have("exit from the journal, pending now: SELL on the candle of 2024-03-01 03:00")


@pytest.mark.usefixtures("quick_pauses")
def test_an_exit_in_the_journal_ends_with_its_position(
    run: Run, db: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        name = strategy_file(make_scripted_source([0, 3], [1]), "scripted")
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trade_until_bought(opened, trading)
                entry = trading.fills()[0].client_order_id
                for hour in range(2, 5):
                    await opened.go_to(hour + 0.1)
                    await trading.until_decided(hour - 1)
                    await trading.until_no_open_order()
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell", "buy"])
            journal = ExitJournal(db, make_lease_name(ACCOUNT, KEY.symbol))
            journal.add(
                ExitObligation(
                    "kept", ACCOUNT, "paper", "simulator", KEY.symbol, entry, "market",
                    MARCH + HOUR, None, 7, "SELL",
                )
            )  # fmt: skip
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await opened.go_to(5.1)
                await trading.until_decided(4)
                assert list_fill_sides(trading) == ["buy", "sell", "buy"]
            assert journal.read_entries() == []
            journal.close()

    run(scene())
    assert "pending now" not in capsys.readouterr().out


#: BUY in every sixth minute; SELL four candles later, where it sells at all.
SIXTHS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Sixths(Strategy):
    name: ClassVar[str] = "sixths"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        place = candles.timestamp // 60 % 6
        sell = np.where((place >= 4) & SELLS, -1, 0)
        return Signals(np.where(place == 0, 1, sell).astype(np.int8), {})
"""


def test_a_sell_decided_while_the_database_is_locked_survives_a_kill(tmp_path: Path) -> None:
    own = tmp_path / "user" / "strategies"
    own.mkdir(parents=True)
    path, db = own / "sixths.py", tmp_path / "data" / "simulator.db"

    def trader(url: str) -> Program:
        return Program(
            "trader", "--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m",
            "--strategy", "sixths", folder=tmp_path,
        )  # fmt: skip

    # A busy machine may take long to lock the file.
    is_locked = tmp_path / "is locked"
    sells = f"__import__('os').path.exists({str(is_locked)!r})"
    path.write_text(SIXTHS.replace("SELLS", sells), encoding="utf-8")
    arguments = ("--port", "0", "--speed", "150", "--start", "2024-03-01T00:00:20")
    with Program("simulator", *arguments, folder=tmp_path) as simulator:
        url = re.findall(r"http://[\d.:]+\d", simulator.until("simulator:"))[0]
        with trader(url) as program:
            program.until("", inside="bought ")
            with hold_write_lock(db):
                is_locked.touch()
                kept = program.until("SELL on the candle of ", inside=KEPT)
                program.send(signal.SIGKILL)
                assert program.ends() == -signal.SIGKILL
        # The next session's strategy never sells: what was decided is done anyway.
        path.write_text(SIXTHS.replace("SELLS", "False"), encoding="utf-8")
        with trader(url) as program:
            pending = program.until("exit from the journal, pending now: ")
            program.until("", inside="sold ")
            program.send(signal.SIGTERM)
            assert program.ends() == 0
    assert kept.split(": ")[0] in pending
    with open_store(db, create=False) as store, store.read() as connection:
        rows = connection.execute("SELECT side FROM trades ORDER BY id").fetchall()
        ended = connection.execute("SELECT cause, end_reason FROM exit_obligations").fetchall()
    assert rows[:2] == [("buy",), ("sell",)]
    assert ended == [("market", "filled")]


@pytest.mark.usefixtures("quick_pauses")
def test_an_exit_by_command_is_filled_after_a_lock_while_no_candles_can_be_fetched(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trader.rest_price.AFTER_SECONDS", 0.1)
    lines = PrintedText(capsys)

    async def scene() -> None:
        name = strategy_file(make_scripted_source([0], []), "scripted")
        async with open_market(0.25) as opened, open_session(opened, db, strategy=name) as trading:
            await trade_until_bought(opened, trading)
            opened.simulator.faults.add(
                kind="status", when="before", path="/api/v3/klines", status=403
            )
            with hold_write_lock(db):
                await trading.until(lambda: lines.have("degraded: "))
            command = NewControl(ACCOUNT, "exit", 0, "anna on host", KEY.symbol)
            insert_controls(trading.store, [command])
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])

    run(scene())
