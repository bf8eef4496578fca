"""Commands of a person reach a running trader, survive a restart, and are executed once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.engine import AccountConfig, ExitConfig
from onetape.store.controls import NewControl, insert_controls
from session_harness import (
    ACCOUNT,
    HOUR,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from trader.command_file import get_command_file
from trader.control_watch import ControlWatch

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

#: BUY on every even hour after March 2024, HOLD on the others.
BUYS_OFTEN = """
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
        hour = (candles.timestamp - 1_709_251_200) // 3_600
        return Signals((hour % 2 == 0).astype(np.int8), {})
"""


@pytest.fixture
def buys(strategy_file: StrategyFile) -> str:
    return strategy_file(BUYS_OFTEN, "buys")


def store_command(trading: SessionHarness, verb: str) -> None:
    row = NewControl(ACCOUNT, verb, 1_709_251_200_000, "anna on host")
    insert_controls(trading.store, [row])


def list_fill_sides(trading: SessionHarness) -> list[str]:
    return [trade.side for trade in trading.fills()]


def read_commands(trading: SessionHarness) -> list[tuple[Any, ...]]:
    return trading.query("SELECT verb, done_ms IS NOT NULL FROM controls ORDER BY id")


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order("buy")


def read_newest_gates(trading: SessionHarness) -> str:
    return trading.query("SELECT gates FROM decisions ORDER BY timestamp DESC LIMIT 1")[0][0]


def test_an_exit_command_sells_the_position_once_at_the_newest_price_and_entries_go_on(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 2))
            assert list_fill_sides(trading) == ["buy"]
            store_command(trading, "exit")
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            price = trading.query("SELECT close FROM ohlcv_data ORDER BY timestamp DESC LIMIT 1")
            assert float(trading.fills()[-1].price) == price[0][0]
            assert read_commands(trading) == [("exit", 1)]
            assert trading.query("SELECT cause, end_reason FROM exit_obligations") == [
                ("command", "filled")
            ]
            await step_to(opened, trading, range(2, 4))
            assert list_fill_sides(trading) == ["buy", "sell", "buy"]

    run(scene())
    lines = capsys.readouterr().out
    assert "exit by anna on host: the position is sold at the newest price" in lines
    assert "late by" not in lines


def test_a_flatten_sells_and_enters_nothing_until_a_resume_also_after_a_restart(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=buys) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 2))
                store_command(trading, "flatten")
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            async with open_session(opened, db, strategy=buys, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(2, 4))
                assert list_fill_sides(trading) == ["buy", "sell"]
                assert "paused by anna on host" in read_newest_gates(trading)
                store_command(trading, "resume")
                await trading.until(lambda: "resumed" in capsys.readouterr().out)
                await step_to(opened, trading, range(4, 6))
                assert list_fill_sides(trading) == ["buy", "sell", "buy"]

    run(scene())


def test_a_pause_keeps_the_position_and_an_exit_without_one_closes_nothing(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            store_command(trading, "exit")
            await trading.until(lambda: read_commands(trading) == [("exit", 1)])
            await step_to(opened, trading, range(1, 2))
            store_command(trading, "pause")
            await step_to(opened, trading, range(2, 4))
            assert list_fill_sides(trading) == ["buy"]

    run(scene())
    assert "exit by anna on host: there is no position to close" in capsys.readouterr().out


@pytest.mark.parametrize("first", ["pause", "flatten"])
def test_a_halt_after_a_pause_is_printed_and_forbids_orders_of_any_kind(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            store_command(trading, first)
            shown = "paused by anna" if first == "pause" else "flatten by anna"
            await trading.until(lambda: shown in capsys.readouterr().out)
            store_command(trading, "halt")
            await trading.until(
                lambda: (
                    "halted by anna on host" in (text := capsys.readouterr().out)
                    and "no order of any kind" in text
                )
            )
            store_command(trading, "resume")
            await trading.until(lambda: "resumed by " in capsys.readouterr().out)

    run(scene())


@pytest.mark.parametrize("verb", ["flatten", "halt", "exit"])
def test_a_command_while_a_buy_is_due_cancels_it_or_prints_that_it_is_sent(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    next_ms = (MARCH + HOUR) * 1_000

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            # The order waits for the first trade of a candle that does not come.
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") != next_ms
            opened.proxy.hidden_candles = {next_ms}
            await opened.go_to(1.1)
            await trading.until_decided(0)
            assert trading.query("SELECT side, status FROM orders") == [("buy", "open")]
            store_command(trading, verb)
            if verb == "exit":
                await trading.until(lambda: read_commands(trading) == [("exit", 1)])
            else:
                await trading.until(
                    lambda: trading.query("SELECT status FROM orders")[0][0] != "open"
                )
            opened.proxy.lets_pass = lambda frame: True
            opened.proxy.hidden_candles = set()
            await opened.go_to(2.1)
            await trading.until_decided(1)
            await trading.until_no_open_order()
            assert list_fill_sides(trading) == (["buy"] if verb == "exit" else [])

    run(scene())
    lines = capsys.readouterr().out
    if verb == "exit":
        assert "no position to close; the order to buy that waits goes on" in lines
    else:
        assert lines.count("the order to buy is cancelled: ") == 1


def test_a_halt_sends_no_order_also_after_a_restart_and_what_became_due_is_sold_after_it(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exits = ExitConfig(time_stop_bars=1)

    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=buys, exits=exits) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 2))
                store_command(trading, "halt")
                await trading.until(lambda: "halted by anna" in capsys.readouterr().out)
                await step_to(opened, trading, range(2, 4))
                assert list_fill_sides(trading) == ["buy"]
                pending = "SELECT cause, ended_ms FROM exit_obligations"
                await trading.until(lambda: trading.query(pending))
                assert trading.query(pending) == [("time_stop", None)]
                assert trading.query("SELECT count(*) FROM orders") == [(1,)]
            async with open_session(opened, db, strategy=buys, exits=exits, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(4, 6))
                assert trading.query("SELECT count(*) FROM orders") == [(1,)]
                assert "halted by anna on host" in read_newest_gates(trading)
                store_command(trading, "resume")
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])

    run(scene())
    assert "pending exit, sent now: time stop" in capsys.readouterr().out


def test_commands_of_a_file_are_stored_once_and_invalid_lines_are_printed(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 2))
            file = get_command_file(db)
            file.write_text("# in a hurry\npuase\nexit BTC/USDT\npause\n", encoding="utf-8")
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            await trading.until(lambda: not file.exists())
            await trading.until(lambda: read_commands(trading) == [("exit", 1), ("pause", 1)])

    run(scene())
    lines = capsys.readouterr().out
    assert "-commands: 'puase' is not a command; did you mean 'pause'?" in lines
    assert "paused by the file" in lines


def test_after_a_restart_a_halt_holds_before_the_first_look_for_commands(
    run: Run,
    db: Path,
    buys: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exits = ExitConfig(time_stop_bars=1)
    look = ControlWatch.carry_out_commands

    async def scene() -> None:
        may_look = asyncio.Event()

        async def look_later(watch: ControlWatch) -> None:
            await may_look.wait()
            await look(watch)

        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=buys, exits=exits) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 2))
                store_command(trading, "halt")
                await trading.until(lambda: "halted by anna" in capsys.readouterr().out)
                await step_to(opened, trading, range(2, 4))
                await trading.until(lambda: trading.query("SELECT 1 FROM exit_obligations"))
            monkeypatch.setattr(ControlWatch, "carry_out_commands", look_later)
            async with open_session(opened, db, strategy=buys, exits=exits, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(4, 5))
                assert trading.query("SELECT count(*) FROM orders") == [(1,)]

    run(scene())


@pytest.mark.parametrize(("signals", "bought_again"), [("BUY", False), ("BUY, HOLD, BUY", True)])
def test_an_exit_by_command_is_not_followed_by_an_entry_on_the_same_run_of_signals(
    run: Run, db: Path, strategy_file: StrategyFile, signals: str, bought_again: bool
) -> None:
    rule = "np.ones(len(hour))" if signals == "BUY" else "hour != 2"
    always = strategy_file(BUYS_OFTEN.replace("(hour % 2 == 0)", f"({rule})"), "always")
    account = AccountConfig(reentry="while_signal")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=always, account=account) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 2))
            store_command(trading, "exit")
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            await step_to(opened, trading, range(2, 5))
            expected = ["buy", "sell", *(["buy"] if bought_again else [])]
            assert list_fill_sides(trading) == expected
            if not bought_again:
                assert "run of BUYs was under way" in read_newest_gates(trading)

    run(scene())
