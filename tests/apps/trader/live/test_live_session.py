"""A whole session with live orders: no event leaves a position unprotected."""

import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from bounded_run import run_bounded
from held_lock import hold_write_lock
from live_desk import QUICK
from live_steps import BALANCE, LIMITS, MOVING
from onetape.core.errors import StoreLocked
from onetape.core.trading import ExitObligation
from onetape.engine import ExitConfig
from onetape.store.controls import NewControl, insert_controls
from onetape.store.leases import make_lease_name
from onetape.store.obligations import add_obligation
from session_harness import (
    ACCOUNT,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from trader import command_file as files
from trader.command_file import get_command_file
from trader.exit_journal import ExitJournal

StrategyFile = Callable[..., str]

#: BUY after every candle.
BUYS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Buys(Strategy):
    name: ClassVar[str] = "buys"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles.timestamp), np.int8), {})
"""
EXITS = ExitConfig(stop_loss=0.2)


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trader.session.WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.session.END_WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.supervisor.LONGEST_DATABASE_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("trader.decision_loop.WARM_UP_TIMEOUT_SECONDS", 0.1)


def list_resting_types(opened: SteppedMarket) -> list[str]:
    """Return the types of the orders that rest at the simulator."""
    return [one.request.type for one in opened.simulator.account.exchange.get_open_orders(None)]


def list_filled_sides(opened: SteppedMarket) -> list[str]:
    """Return the sides of the orders that the simulator has filled, in the order of the fills."""
    fills = opened.simulator.account.exchange.fills
    return list(dict.fromkeys(one.side for one in fills))


async def enter(opened: SteppedMarket, trading: SessionHarness) -> None:
    """Wait until the order to buy is filled."""
    await trading.until_live(opened)
    await opened.go_to(1.02)
    await trading.until(lambda: opened.simulator.account.exchange.fills)


@pytest.mark.parametrize("name", ["", "-taken-0"])
def test_a_folder_in_place_of_a_command_file_stops_neither_entries_nor_stops(
    db: Path,
    strategy_file: StrategyFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(files, "UNFINISHED_SECONDS", -1.0)
    strategy = strategy_file(BUYS, "buys")

    async def scene() -> None:
        async with open_market(0.25, balance=BALANCE) as opened:
            db.parent.mkdir(parents=True)
            folder = get_command_file(db)
            folder.with_name(f"{folder.name}{name}").mkdir()
            async with open_session(
                opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK, risk=LIMITS
            ) as trading:
                await enter(opened, trading)
                await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])

    run_bounded(scene(), 180.0)
    printed = capsys.readouterr().out
    assert printed.count("cannot be read (it is not a file)") == 1
    assert "degraded" not in printed


def refuse(opened: SteppedMarket, **fault: object) -> int:
    """Let the simulator refuse requests; return the number of the fault."""
    return opened.simulator.faults.add(kind="status", when="before", **fault)


@pytest.mark.usefixtures("quick_pauses")
def test_stops_and_exits_go_on_after_a_database_error_while_no_candles_can_be_fetched(
    db: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = strategy_file(BUYS, "buys")
    printed: list[str] = []

    def is_printed(part: str) -> bool:
        printed.append(capsys.readouterr().out)
        return part in "".join(printed)

    async def scene() -> None:
        async with open_market(0.25, balance=BALANCE) as opened, AsyncExitStack() as stack:
            # The entry is the first order, also where it is sent before the trader is live.
            stops = refuse(
                opened, method="POST", path="/api/v3/order", nth=2, count=10_000, status=400,
                code=-2010, text="no",
            )  # fmt: skip
            trading = await stack.enter_async_context(
                open_session(
                    opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK,
                    risk=LIMITS,
                )
            )  # fmt: skip
            await trading.until_live(opened)
            await enter(opened, trading)
            await trading.until(trading.fills)
            refuse(opened, path="/api/v3/klines", status=403)
            with hold_write_lock(db):
                await trading.until(lambda: is_printed("locked"))
            assert list_resting_types(opened) == []
            opened.simulator.faults.remove(stops)
            await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])
            # Sent once and refused, the exit is pending.
            refuse(
                opened, method="POST", path="/api/v3/order", count=1, status=400, code=-2010,
                text="no",
            )  # fmt: skip
            command = NewControl(ACCOUNT, "exit", 0, "anna on host", KEY.symbol)
            insert_controls(trading.store, [command])
            await trading.until(lambda: list_filled_sides(opened) == ["BUY", "SELL"])

    run_bounded(scene(), 180.0)


@pytest.mark.usefixtures("quick_pauses")
@pytest.mark.parametrize("was_locked", [False, True], ids=["", "after a locked file"])
def test_row_145_stop_and_exit_go_on_although_the_session_cannot_be_built(
    db: Path, strategy_file: StrategyFile, *, was_locked: bool
) -> None:
    strategy = strategy_file(BUYS, "buys")
    errors = [StoreLocked("the file stayed locked")] if was_locked else []

    def fail(*_: object) -> None:
        raise errors.pop() if errors else RuntimeError("the rules cannot be built")

    async def scene() -> None:
        async with open_market(0.25, balance=BALANCE) as opened:
            trader = partial(
                open_session, opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK,
                risk=LIMITS,
            )  # fmt: skip
            async with trader() as trading:
                await enter(opened, trading)
                await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])
                (entry,) = trading.query("SELECT DISTINCT client_order_id FROM trades")[0]
            opened.simulator.account.cancel_by_hand("BTC/USDT")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("trader.session.RuleRunner", fail)
                async with trader(number=2) as trading:
                    await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])
                    pending = ExitObligation(
                        "exit of the test", ACCOUNT, "live", *KEY.names[:2], entry, "market", MARCH,
                        None, 0, "the test",
                    )  # fmt: skip
                    with trading.store.write() as connection:
                        assert add_obligation(connection, pending)
                    await trading.until(lambda: list_filled_sides(opened) == ["BUY", "SELL"])
                    await trading.until(lambda: not trading.query(MOVING))
            assert list_resting_types(opened) == []
            sold = [one for one in opened.simulator.account.exchange.fills if one.side == "SELL"]
            assert len({one.order_id for one in sold}) == 1

    run_bounded(scene(), 180.0)


def test_row_136_a_running_session_reads_the_limits_of_orders_again_and_exits_in_parts(
    db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.market_status.FETCH_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr("trader.market_status.CHECK_SECONDS", 0.05)
    strategy = strategy_file(BUYS, "buys")

    async def scene() -> None:
        async with (
            open_market(0.25, balance=BALANCE) as opened,
            open_session(
                opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK, risk=LIMITS
            ) as trading,
        ):
            await enter(opened, trading)
            await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])
            most = Decimal("0.1")
            opened.simulator.account.change_rules("BTC/USDT", max_market_quantity=most)
            command = NewControl(ACCOUNT, "exit", 0, "anna on host", KEY.symbol)
            insert_controls(trading.store, [command])
            account = opened.simulator.account
            await trading.until(lambda: "SELL" in list_filled_sides(opened))
            await trading.until(
                lambda: not trading.query(MOVING) and not list_resting_types(opened)
            )
            sold = [fill for fill in account.exchange.fills if fill.side == "SELL"]
            bought = [fill for fill in account.exchange.fills if fill.side == "BUY"]
            parts = {fill.order_id for fill in sold}
            assert len(parts) == -(-sum(one.quantity for one in bought) // 10_000) > 1
            ended = trading.query("SELECT end_reason FROM exit_obligations")
            assert ended == [("filled",)]

    run_bounded(scene(), 180.0)


def copy_database(db: Path) -> Path:
    """Copy the file of a session that has ended; return the copy."""
    return Path(shutil.copy(db, db.with_name("backup.db")))


def restore(backup: Path, db: Path) -> None:
    """Replace the database and its log by a copy."""
    for file in db.parent.glob(f"{db.name}-[ws][ha][lm]"):
        file.unlink()
    backup.replace(db)


def test_an_exit_of_the_journal_sells_a_position_that_the_restored_database_lacks(
    db: Path, strategy_file: StrategyFile
) -> None:
    strategy = strategy_file(BUYS, "buys")

    async def scene() -> None:
        async with open_market(0.25, balance=BALANCE) as opened:
            trader = partial(
                open_session, opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK,
                risk=LIMITS,
            )  # fmt: skip
            async with trader() as trading:
                await trading.until(lambda: trading.query("SELECT 1 FROM sessions"))
            backup = copy_database(db)
            async with trader(number=2) as trading:
                await enter(opened, trading)
                await trading.until(trading.fills)
                entry = trading.fills()[0].client_order_id
            restore(backup, db)
            journal = ExitJournal(db, make_lease_name(ACCOUNT, KEY.symbol))
            journal.add(
                ExitObligation(
                    "kept", ACCOUNT, "live", *KEY.names[:2], entry, "market", MARCH, None,
                    MARCH * 1_000, "the test",
                )
            )  # fmt: skip
            journal.close()
            async with trader(number=2) as trading:
                await trading.until(lambda: list_filled_sides(opened) == ["BUY", "SELL"])

    run_bounded(scene(), 180.0)


@pytest.mark.usefixtures("quick_pauses")
def test_a_stop_is_placed_although_each_comparison_of_the_account_raises_an_error(
    db: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy, printed = strategy_file(BUYS, "buys"), list[str]()

    def is_printed(part: str) -> bool:
        printed.append(capsys.readouterr().out)
        return part in "".join(printed)

    async def scene() -> None:
        async with open_market(0.25, balance=BALANCE) as opened:
            trader = partial(
                open_session, opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK,
                risk=LIMITS,
            )  # fmt: skip
            async with trader() as trading:
                await enter(opened, trading)
                await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])
                with trading.store.write() as connection:
                    # Another program has written what no comparison can read.
                    connection.execute(
                        "INSERT INTO account_differences (account, kind, subject, document, "
                        "seen_ms) VALUES (?, 'foreign order', '1', '[]', 0)",
                        (ACCOUNT,),
                    )
                await trading.until(lambda: is_printed("cannot be compared with the database"))
            opened.simulator.account.cancel_by_hand("BTC/USDT")
            assert list_resting_types(opened) == []
            async with trader(number=2) as trading:
                await trading.until(lambda: list_resting_types(opened) == ["STOP_LOSS"])
                await trading.until(lambda: is_printed("AttributeError"))
                sql = "SELECT place FROM stop_states"
                await trading.until(lambda: trading.query(sql) == [("exchange",)])
                with trading.store.write() as connection:
                    connection.execute("DELETE FROM account_differences")
                newest = "SELECT state FROM trader_states ORDER BY rowid DESC LIMIT 1"
                await trading.until(lambda: trading.query(newest) == [("trading",)])
                assert list_filled_sides(opened) == ["BUY"]

    run_bounded(scene(), 180.0)
    assert "a stop is placed for coins that were bought and are free" in "".join(printed)
