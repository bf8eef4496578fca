"""An entry whose open has passed while the stream was down is not made, on paper and live."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bounded_run import run_bounded
from live_desk import QUICK
from live_steps import BALANCE, LIMITS
from onetape.core.clock import SteppedClock
from onetape.engine import ExitConfig
from session_harness import HOUR, MARCH, open_market, open_session
from strategy_sources import make_scripted_source
from trader.live.times import LiveTimes

StrategyFile = Callable[..., str]
#: Wall seconds that a signal may be old; a break of an hour and a half is longer.
ALLOWED_SECONDS = 1_000.0


def hold_second_hour(frame: dict[str, Any]) -> bool:
    """Return whether a frame is of no candle after the first hour of March."""
    candle: dict[str, int] | None = frame.get("k")
    return candle is None or candle["t"] < (MARCH + HOUR) * 1_000


@pytest.mark.parametrize("live", [None, QUICK], ids=["paper", "live"])
@pytest.mark.parametrize("is_watched", [True, False], ids=["watched", "during a break"])
def test_row_148_an_entry_whose_open_passed_during_a_break_is_not_made(
    db: Path, strategy_file: StrategyFile, live: LiveTimes | None, is_watched: bool
) -> None:
    strategy = strategy_file(make_scripted_source([0], []), "scripted")

    async def scene() -> None:
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
            if not is_watched:
                opened.proxy.refuses_sockets = opened.proxy.rest_is_down = True
                opened.proxy.cut()
                await opened.go_to(1.6)
            opened.proxy.lets_pass = lambda _: True
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
            if is_watched:
                await opened.go_to(1.02)
                await trading.until(trading.fills)
                return
            (order,) = trading.query("SELECT client_order_id FROM orders")[0]
            finished = "SELECT reason FROM orders WHERE client_order_id = ? AND status <> 'intent'"
            await trading.until(
                lambda: any(
                    "while the market was not watched" in reason
                    for (reason,) in trading.query(finished, order)
                )
            )
            assert trading.fills() == []

    run_bounded(scene(), 180.0)
