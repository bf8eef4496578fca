"""A whole session with real orders: what happens beside them leaves no position unprotected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from desk import Desk, Market, desk, market
from live_desk import QUICK
from live_steps import BALANCE, LIMITS
from onetape.engine import ExitConfig
from trader import command_file as files
from trader.command_file import command_file
from watched import run_watched

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


def resting(opened: Market) -> list[str]:
    """Return the types of the orders that rest at the simulator."""
    return [one.request.type for one in opened.simulator.account.exchange.open_orders(None)]


async def enter(opened: Market, trading: Desk) -> None:
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
        async with market(0.25, balance=BALANCE) as opened:
            db.parent.mkdir(parents=True)
            folder = command_file(db)
            folder.with_name(f"{folder.name}{name}").mkdir()
            async with desk(
                opened, db, strategy=strategy, exits=EXITS, cash="10000", live=QUICK, risk=LIMITS
            ) as trading:
                await enter(opened, trading)
                await trading.until(lambda: resting(opened) == ["STOP_LOSS"], 20)

    run_watched(scene(), 60.0)
    printed = capsys.readouterr().out
    assert printed.count("cannot be read (it is not a file)") == 1
    assert "degraded" not in printed
