"""A SELL on a candle whose evaluation was late is returned by the next evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostile_strategies import let_others_be_slow
from session_harness import HOUR, MARCH, SessionHarness, SteppedMarket, open_market, open_session

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

#: BUY on the candle of one hour, SELL on that of another, whose first evaluation does not end.
HANGS = f"""
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Hangs(Strategy):
    name: ClassVar[str] = "hangs"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        while candles.timestamp[-1] == {MARCH} + SELL * {HOUR}:
            pass
        hour = (candles.timestamp - {MARCH}) // {HOUR}
        signal = np.where(hour == BUY, 1, np.where(hour == SELL, -1, 0))
        return Signals(signal.astype(np.int8), {{}})
"""


def make_hanging_source(buy: int, sell: int) -> str:
    return HANGS.replace("BUY", str(buy)).replace("SELL", str(sell))


def list_fill_sides(trading: SessionHarness) -> list[str]:
    return [trade.side for trade in trading.fills()]


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order("buy")


def test_a_sell_from_a_late_evaluation_is_filled_after_the_next_one(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_others_be_slow(monkeypatch, MARCH + 2 * HOUR)
    name = strategy_file(make_hanging_source(0, 2), "hangs")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, strategy_timeout_seconds=1.0) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 4))
            assert list_fill_sides(trading) == ["buy"]
            await step_to(opened, trading, range(4, 5))
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert trading.query("SELECT end_reason FROM exit_obligations") == [("filled",)]

    run(scene())


def test_a_late_sell_from_before_a_restart_is_filled_after_the_restart(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_others_be_slow(monkeypatch, MARCH + 2 * HOUR)
    name = strategy_file(make_hanging_source(0, 2), "hangs")

    async def scene() -> None:
        async with open_market(0.25) as opened:
            async with open_session(
                opened, db, strategy=name, strategy_timeout_seconds=1.0
            ) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 4))
                assert list_fill_sides(trading) == ["buy"]
            await opened.go_to(4.1)
            async with open_session(
                opened, db, strategy=name, number=2, strategy_timeout_seconds=1.0
            ) as trading:
                await trading.until_live(opened)
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])

    run(scene())


def test_a_late_sell_neither_cancels_nor_exits_an_entry_that_was_decided_after_it(
    run: Run, db: Path, strategy_file: StrategyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_others_be_slow(monkeypatch, MARCH)
    name = strategy_file(make_hanging_source(1, 0), "hangs")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, strategy_timeout_seconds=1.0) as trading,
        ):
            await trading.until_live(opened)
            await opened.go_to(1.1)
            await trading.until_decided(0)
            # The candle has closed, and the next one has no trade yet: the order to buy waits.
            opened.proxy.lets_pass = lambda frame: (
                frame.get("k", {}).get("t") != (MARCH + 2 * HOUR) * 1_000
            )
            await opened.go_to(2.1)
            await trading.until_decided(1)
            waiting = "SELECT side FROM orders WHERE status = 'open'"
            await trading.until(lambda: trading.query(waiting) == [("buy",)])
            reviewed = "SELECT correction FROM decisions WHERE correction IS NOT NULL"
            await trading.until(lambda: trading.query(reviewed))
            opened.proxy.lets_pass = lambda _: True
            await step_to(opened, trading, range(3, 5))
            assert trading.query(reviewed) == [("signal HOLD -> SELL: nothing is ordered",)]
            assert list_fill_sides(trading) == ["buy"]

    run(scene())
