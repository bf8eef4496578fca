"""An entry whose open has passed while the stream was down is not made, on paper and live."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bounded_run import run_bounded
from live_desk import QUICK
from live_steps import BALANCE, LIMITS
from onetape.core.clock import SteppedClock
from onetape.engine import ExitConfig
from session_harness import (
    HOUR,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from strategy_sources import make_scripted_source
from trader.live.times import LiveTimes

StrategyFile = Callable[..., str]
#: Wall seconds that a signal may be old; a break of an hour and a half is longer.
ALLOWED_SECONDS = 1_000.0


def hold_second_hour(frame: dict[str, Any]) -> bool:
    """Return whether a frame is of no candle after the first hour of March."""
    candle: dict[str, int] | None = frame.get("k")
    return candle is None or candle["t"] < (MARCH + HOUR) * 1_000


def show_no_trade(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a frame; one of a candle after the first hour of March as before its first trade."""
    candle: dict[str, Any] | None = frame.get("k")
    if candle is None or candle["t"] < (MARCH + HOUR) * 1_000:
        return frame
    same = dict.fromkeys("ohlc", candle["o"])
    return frame | {"k": candle | same | {"v": "0", "q": "0", "n": 0}}


@asynccontextmanager
async def open_at_decision(
    db: Path, strategy: str, live: LiveTimes | None
) -> AsyncGenerator[tuple[SteppedMarket, SessionHarness]]:
    """Open a session that has decided to enter at 01:00, of which no frame has arrived yet."""
    async with (
        open_market(0.25, balance=BALANCE) as opened,
        open_session(
            opened, db, strategy=strategy, exits=ExitConfig(stop_loss=0.2), cash="10000",
            live=live, risk=LIMITS, max_signal_age_seconds=ALLOWED_SECONDS,
        ) as trading,
    ):  # fmt: skip
        await trading.until_live(opened)
        assert isinstance(opened.simulator.clock, SteppedClock)
        opened.simulator.clock.pace = 1.0
        opened.proxy.lets_pass = hold_second_hour
        await opened.go_to(1.01)
        await trading.until_decided(0)
        assert trading.query("SELECT side FROM orders") == [("buy",)]
        yield opened, trading


async def until_entry_is_over(trading: SessionHarness) -> list[str]:
    """Wait until the entry is filled or cancelled; return the reason of a cancelled one."""
    cancelled = "SELECT reason FROM orders WHERE reason LIKE '%market was not watched%'"
    await trading.until(lambda: trading.fills() or trading.query(cancelled))
    return [reason for (reason,) in trading.query(cancelled)]


@pytest.mark.parametrize(
    ("live", "limit"),
    [(None, None), (None, 1.1), (QUICK, None)],
    ids=["paper", "paper with a limit", "live"],
)
@pytest.mark.parametrize("is_watched", [True, False], ids=["watched", "during a break"])
def test_row_148_an_entry_whose_open_passed_during_a_break_is_not_made(
    db: Path,
    strategy_file: StrategyFile,
    live: LiveTimes | None,
    limit: float | None,
    is_watched: bool,
) -> None:
    strategy = strategy_file(make_scripted_source([0], [], limit=limit), "scripted")

    async def scene() -> None:
        async with open_at_decision(db, strategy, live) as (opened, trading):
            if not is_watched:
                opened.proxy.refuses_sockets = opened.proxy.rest_is_down = True
                opened.proxy.cut()
                await opened.go_to(1.6)
            opened.proxy.lets_pass = lambda _: True
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
            if is_watched:
                await opened.go_to(1.02)
            assert bool(await until_entry_is_over(trading)) == (not is_watched)
            assert bool(trading.fills()) == is_watched

    run_bounded(scene(), 180.0)


@pytest.mark.parametrize("live", [None, QUICK], ids=["paper", "live"])
def test_row_148_a_candle_without_a_trade_after_a_break_fills_the_entry_later(
    db: Path, strategy_file: StrategyFile, live: LiveTimes | None
) -> None:
    strategy = strategy_file(make_scripted_source([0], []), "scripted")

    async def scene() -> None:
        async with open_at_decision(db, strategy, live) as (opened, trading):
            opened.proxy.lets_pass, opened.proxy.change = (lambda _: True), show_no_trade
            opened.proxy.cut()
            hours = 1.02
            while trading.source(1) is None:
                hours = min(hours + 0.001, 1.5)
                await opened.go_to(hours)
                await asyncio.sleep(0.05)
            assert trading.fills() == []
            opened.proxy.change = lambda frame: frame
            await opened.go_to(1.6)
            assert await until_entry_is_over(trading) == []
            assert trading.fills()

    run_bounded(scene(), 180.0)


def test_row_148_candles_without_a_trade_that_the_exchange_leaves_out_are_no_break(
    db: Path, strategy_file: StrategyFile
) -> None:
    strategy = strategy_file(make_scripted_source([0], []), "scripted")

    async def scene() -> None:
        async with open_at_decision(db, strategy, None) as (opened, trading):
            left_out = {(MARCH + hour * HOUR) * 1_000 for hour in (1, 2)}
            opened.proxy.untraded_candles = left_out
            for hour in (1.5, 2.5, 3.5):
                await opened.go_to(hour)
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") not in left_out
            await opened.go_to(3.51)
            assert await until_entry_is_over(trading) == []
            assert trading.fills()

    run_bounded(scene(), 180.0)
