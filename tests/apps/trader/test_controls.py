"""Commands of a person reach a running trader, survive a restart, and are carried out once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desk import ACCOUNT, Desk, Market, desk, market
from onetape.store.controls import insert_control

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


def give(trading: Desk, verb: str) -> None:
    insert_control(trading.store, ACCOUNT, verb, at_ms=1_709_251_200_000, given_by="anna on host")


def sides(trading: Desk) -> list[str]:
    return [trade.side for trade in trading.trades()]


def done(trading: Desk) -> list[tuple[Any, ...]]:
    return trading.query("SELECT verb, done_ms IS NOT NULL FROM controls ORDER BY id")


async def step_to(opened: Market, trading: Desk, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order("buy")


def gates_of_newest(trading: Desk) -> str:
    return trading.query("SELECT gates FROM decisions ORDER BY timestamp DESC LIMIT 1")[0][0]


def test_an_exit_sells_the_position_once_at_the_newest_price_and_entries_go_on(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with market(0.25) as opened, desk(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 2))
            assert sides(trading) == ["buy"]
            give(trading, "exit")
            await trading.until(lambda: sides(trading) == ["buy", "sell"])
            price = trading.query("SELECT close FROM ohlcv_data ORDER BY timestamp DESC LIMIT 1")
            assert float(trading.trades()[-1].price) == price[0][0]
            assert done(trading) == [("exit", 1)]
            assert trading.query("SELECT cause, end_reason FROM exit_obligations") == [
                ("command", "filled")
            ]
            await step_to(opened, trading, range(2, 4))
            assert sides(trading) == ["buy", "sell", "buy"]

    run(scene())
    lines = capsys.readouterr().out
    assert "exit by anna on host: the position is sold at the newest price" in lines
    assert "late by" not in lines


def test_a_flatten_sells_and_enters_nothing_until_a_resume_also_after_a_restart(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with market(0.25) as opened:
            async with desk(opened, db, strategy=buys) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 2))
                give(trading, "flatten")
                await trading.until(lambda: sides(trading) == ["buy", "sell"])
            async with desk(opened, db, strategy=buys, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(2, 4))
                assert sides(trading) == ["buy", "sell"]
                assert "paused by anna on host" in gates_of_newest(trading)
                give(trading, "resume")
                await trading.until(lambda: "resumed" in capsys.readouterr().out)
                await step_to(opened, trading, range(4, 6))
                assert sides(trading) == ["buy", "sell", "buy"]

    run(scene())


def test_a_pause_keeps_the_position_and_an_exit_without_one_closes_nothing(
    run: Run, db: Path, buys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with market(0.25) as opened, desk(opened, db, strategy=buys) as trading:
            await trading.until_live(opened)
            give(trading, "exit")
            await trading.until(lambda: done(trading) == [("exit", 1)])
            await step_to(opened, trading, range(1, 2))
            give(trading, "pause")
            await step_to(opened, trading, range(2, 4))
            assert sides(trading) == ["buy"]

    run(scene())
    assert "exit by anna on host: there is no position to close" in capsys.readouterr().out
