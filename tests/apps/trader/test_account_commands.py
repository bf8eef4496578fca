"""Commands of a person: one printed line, one row, executed within a second in each process."""

import itertools
import statistics
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from held_lock import hold_write_lock
from onetape.cli.events import Event, handle_events
from onetape.engine import AccountConfig
from onetape.store.controls import NewControl, insert_controls
from onetape.store.database import Store, open_store
from session_harness import ACCOUNT, HOUR, MARCH, OFTEN, SteppedMarket, open_market, open_session
from symbol_desk import SymbolDesk, run_symbol_sessions
from traded_accounts import TradedAccount
from trader.account_commands import AccountCommands

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]
VERBS = ("pause", "resume", "halt", "exit", "flatten")
#: Each symbol finds money for its entry.
SMALL = AccountConfig(sizing="quote_amount", quote_amount=500.0)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


@pytest.fixture
def events() -> Generator[list[Event]]:
    """Return a list to which the events of the trader are added."""
    seen: list[Event] = []
    with handle_events(seen.append):
        yield seen


@pytest.fixture
def holds_long(strategy_file: StrategyFile) -> str:
    """Return a strategy that buys on each candle and never sells."""
    rule = "np.sign(candles.close - candles.open)"
    source = OFTEN.replace(rule, "-np.ones(len(candles.close))")
    assert source != OFTEN
    return strategy_file(source, "often")


def list_command_lines(events: list[Event], giver: str) -> list[Event]:
    """Return the lines about the command of a person; others may name it as the reason."""
    return [
        one
        for one in events
        if one.event == "control" and one.text.partition(" by ")[2].startswith(giver)
    ]


def store_command(store: Store, verb: str, giver: str, symbol: str | None = None) -> int:
    """Store a command with the computer's time; return that time, epoch milliseconds."""
    at_ms = time.time_ns() // 1_000_000
    insert_controls(store, [NewControl(ACCOUNT, verb, at_ms, giver, symbol)])
    return at_ms


def test_commands_in_any_order_print_one_line_and_store_a_row_with_its_time_each(
    run: Run, db: Path, holds_long: str, events: list[Event]
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=holds_long) as trading,
        ):
            await trading.until_live(opened)
            undone = "SELECT count(*) FROM controls WHERE done_ms IS NULL"
            for number, pair in enumerate(itertools.product(VERBS, VERBS)):
                for part, verb in enumerate((*pair, "resume")):
                    giver = f"person {number}.{part}."
                    store_command(trading.store, verb, giver)
                    await trading.until(lambda: trading.query(undone) == [(0,)])
                    await trading.until(lambda giver=giver: list_command_lines(events, giver))
            for number in range(len(VERBS) ** 2):
                for part in range(3):
                    assert len(list_command_lines(events, f"person {number}.{part}.")) == 1, number

    run(scene())
    # Of the first pair, a pause after a pause: the second one names the first.
    assert "nothing changes, because it is paused by person 0.0." in (
        list_command_lines(events, "person 0.1.")[0].text
    )
    halted = VERBS.index("halt")
    assert list_command_lines(events, f"person {halted}.1.")[0].text.startswith("halted by")


def test_a_command_that_came_while_no_trader_ran_is_shown_at_the_start(
    run: Run, db: Path, holds_long: str, events: list[Event]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=holds_long) as trading:
                await trading.until_live(opened)
            with open_store(db, create=False) as store:
                store_command(store, "pause", "anna")
                store_command(store, "halt", "bert")
            async with open_session(opened, db, strategy=holds_long, number=2) as trading:
                await trading.until(lambda: list_command_lines(events, "bert"))
                undone = "SELECT count(*) FROM controls WHERE done_ms IS NULL"
                await trading.until(lambda: trading.query(undone) == [(0,)])

    run(scene())
    (line,) = (one.text for one in events if one.event == "control")
    assert line.startswith("halted by bert since ")


async def wait_until_bought(opened: SteppedMarket, *desks: SymbolDesk) -> None:
    """Go to the first hour, and wait until each symbol has decided and bought."""
    for one in desks:
        await one.until_decided(MARCH - HOUR)
        await one.first.until(lambda one=one: one.first.is_live)
    await opened.go_to(1.1)
    for one in desks:
        await one.until_decided(MARCH)
        for symbol in one.desks:
            await one.first.until(lambda one=one, symbol=symbol: one.made(symbol))


def test_in_a_process_of_three_symbols_each_acts_within_a_second_of_a_command(
    run: Run, db: Path, holds_long: str, events: list[Event]
) -> None:
    delays: dict[str, list[int]] = {"pause": [], "exit": [], "halt": [], "resume": []}

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            run_symbol_sessions(
                opened, db, dict.fromkeys(SYMBOLS, holds_long), account=SMALL
            ) as trading,
        ):
            first = trading.first
            await wait_until_bought(opened, trading)
            # A busy machine may delay one of them; a trader that looks too seldom delays most.
            for number in range(5):
                for verb in delays:
                    giver = f"person {number} {verb}."
                    symbols = SYMBOLS if verb == "exit" else (None,)
                    given_ms = min(
                        [store_command(first.store, verb, giver, one) for one in symbols]
                    )
                    await first.until(
                        lambda giver=giver: len(list_command_lines(events, giver)) == len(SYMBOLS)
                    )
                    shown = list_command_lines(events, giver)
                    assert {one.fields["symbol"] for one in shown} == set(SYMBOLS)
                    delays[verb].append(max(one.at_ms for one in shown) - given_ms)
            assert all(trading.made(symbol)[-1][0] == "command" for symbol in SYMBOLS)

    run(scene())
    assert max(statistics.median(found) for found in delays.values()) <= 1_000, delays


def test_commands_are_handled_while_a_session_waits_to_be_rebuilt(
    run: Run, db: Path, holds_long: str, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 3_600.0)
    monkeypatch.setattr("trader.supervisor.LONGEST_DATABASE_PAUSE_SECONDS", 3_600.0)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=holds_long) as trading,
        ):
            await trading.until_live(opened)
            with hold_write_lock(db):
                await trading.until(lambda: any("degraded: " in one.text for one in events))
            for verb, giver in (("pause", "anna"), ("halt", "bert"), ("exit", "carl")):
                store_command(trading.store, verb, giver)
                await trading.until(lambda giver=giver: list_command_lines(events, giver))
            (line,) = (one.text for one in list_command_lines(events, "carl"))
            assert line.endswith("the position is sold once everything is built again")
            assert trading.query("SELECT done_ms FROM controls WHERE verb = 'exit'") == [(None,)]

    run(scene())


def test_a_row_is_read_once_for_all_symbols_of_a_process(tmp_path: Path) -> None:
    with TradedAccount(tmp_path / "x.db", ACCOUNT, cash="1000") as account:
        commands = AccountCommands(account.store, ACCOUNT, SYMBOLS)
        store_command(account.store, "pause", "anna")
        commands.read(max_age_seconds=0)
        # What was read is not read again, so that a change of it is not seen.
        with account.store.write() as connection:
            connection.execute("UPDATE controls SET verb = 'resume'")
        commands.read(max_age_seconds=0)
        assert commands.state.pause is not None
        store_command(account.store, "halt", "anna")
        commands.read(max_age_seconds=600)
        assert commands.state.halt is None
        commands.read(max_age_seconds=0)
        assert commands.state.halt is not None
        for symbol in SYMBOLS:
            assert [one.control.verb for one in commands.take_new(symbol)] == ["halt"]
            assert not commands.take_new(symbol)
