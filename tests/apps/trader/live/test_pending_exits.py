"""A session whose exit was refused and is pending, while its strategy goes on."""

from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from bounded_run import run_bounded
from live_desk import BALANCE, QUICK
from onetape.engine import ExitConfig
from onetape.simulator.faults.model import Fault
from session_harness import SessionHarness, SteppedMarket, open_market, open_session
from strategy_sources import make_scripted_source

#: The exit: the order after the entry and its stop.
REFUSED = Fault(
    "status", method="POST", path="/api/v3/order", nth=3, count=1, when="before", status=400,
    code=-2010, text="no",
)  # fmt: skip
PENDING = "SELECT cause, end_reason FROM exit_obligations"


async def enter_and_fail_to_leave(opened: SteppedMarket, trading: SessionHarness) -> None:
    """Buy on the first candle, and let the exchange refuse the order of the next candle's SELL."""
    await trading.until_live(opened)
    await opened.go_to(1.1)
    await trading.until(lambda: trading.query("SELECT 1 FROM stop_states WHERE place='exchange'"))
    await opened.go_to(2.1)
    await trading.until(lambda: trading.query("SELECT 1 FROM orders WHERE status = 'rejected'"))


def test_a_sell_while_an_exit_waits_for_its_next_attempt_changes_nothing(
    db: Path, strategy_file: Callable[..., str]
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25, balance=BALANCE, faults=[REFUSED]) as opened,
            open_session(
                opened,
                db,
                strategy=strategy_file(make_scripted_source([0], [1, 2]), "scripted"),
                exits=ExitConfig(stop_loss=0.05),
                cash="1000",
                live=structs.replace(QUICK, exit_again=600.0),
            ) as trading,
        ):
            await enter_and_fail_to_leave(opened, trading)
            await opened.go_to(3.1)
            await trading.until_decided(2)
            assert trading.query(PENDING) == [("market", None)]
            reasons = trading.query("SELECT reason FROM trader_states")
            assert not [reason for (reason,) in reasons if "constraint" in reason]
            exits = "SELECT DISTINCT obligation FROM orders WHERE side='sell' AND NOT is_protection"
            assert len(trading.query(exits)) == 1

    run_bounded(scene(), 180.0)
