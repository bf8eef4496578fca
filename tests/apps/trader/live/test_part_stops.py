"""Coins of the position are locked by an order of another program: the stop covers the free ones.

The stop is cancelled and the order placed at one moment, so that no stop can rest for all.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from live_desk import BALANCE, QUICK, LiveDesk
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]
CASH = {"USDT": Decimal(50_000)}
STEP = Decimal("0.00001")
PART = Decimal("0.02")
#: A stop that was refused is not tried again, as long as nothing has changed.
ONCE = structs.replace(QUICK, stop_again=600.0)
REFUSED = "SELECT count(*) FROM orders WHERE is_protection AND status = 'rejected'"


def stop_of(desk: LiveDesk) -> Any:
    """Return the only stop of the trader that rests at the simulator, or None."""
    found = [one for one in desk.resting if one.client_id != "web_1"]
    assert len(found) <= 1
    return found[0] if found else None


def stop_amount(desk: LiveDesk) -> Decimal:
    """Return the amount of the resting stop; 0 without one."""
    found = stop_of(desk)
    return Decimal(0) if found is None else Decimal(found.quantity).scaleb(-5)


def lock(desk: LiveDesk, amount: Decimal) -> None:
    """Cancel the stop, and lock coins by an order, both by hand."""
    desk.simulator.account.cancel_by_hand("BTC/USDT")
    desk.place_by_hand(amount)


def unlock(desk: LiveDesk) -> None:
    desk.simulator.account.cancel_by_hand("BTC/USDT", client_id="web_1")


@pytest.mark.parametrize("balance", [CASH, BALANCE], ids=["no baseline", "baseline"])
def test_a_stop_covers_what_is_free_and_grows_once_the_rest_is(
    run: Run, balance: dict[str, Decimal]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        held, whole = desk.executor.position.open_amount, stop_amount(desk)
        lock(desk, PART + balance.get("BTC", Decimal(0)))
        await desk.until(lambda: stop_amount(desk))
        assert held - PART - STEP < stop_amount(desk) <= held - PART
        await desk.until(lambda: "protection" in desk.problems)
        # Both numbers, and what to do.
        shown = f"for {stop_amount(desk).normalize():f} of {held.normalize():f} BTC"
        await desk.until(lambda: desk.stop_state and desk.stop_state.reason == shown)
        assert desk.stop_state is not None
        assert desk.stop_state.place == "exchange"
        assert "BTC are locked, and not by this program" in (desk.states.entry_obstacle or "")
        assert desk.query(REFUSED) == [(1,)]
        await desk.drive(0.3)
        assert desk.query(REFUSED) == [(1,)]
        unlock(desk)
        await desk.until(lambda: stop_amount(desk) == whole)
        await desk.until(lambda: "protection" not in desk.problems)
        assert desk.sold == 0
        assert desk.query(REFUSED) == [(1,)]

    run(scenario, times=ONCE, balance=balance, baseline=balance)


def test_a_stop_for_a_part_is_moved_for_that_part_and_kept_over_a_restart(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        lock(desk, PART)
        await desk.until(lambda: stop_amount(desk))
        part, first = stop_amount(desk), stop_of(desk).client_id
        level = Decimal(repr(round(desk.price * 0.97, 2)))
        desk.executor.set_level_source(lambda: ("trailing_stop", level))
        await desk.until(lambda: stop_of(desk) and stop_of(desk).client_id != first)
        assert stop_amount(desk) == part
        moved = stop_of(desk).client_id
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        desk.start()
        desk.executor.set_level_source(lambda: ("trailing_stop", level))
        await desk.drive(0.5)
        assert stop_of(desk).client_id == moved
        assert desk.query(REFUSED) == [(1,)]

    run(scenario, times=ONCE, balance=CASH, baseline=CASH)


def test_a_level_is_watched_while_all_coins_are_locked_and_the_stop_returns_after_it(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        whole = stop_amount(desk)
        lock(desk, whole)
        await desk.until(lambda: "protection" in desk.problems)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")
        assert stop_of(desk) is None
        unlock(desk)
        await desk.until(lambda: stop_amount(desk) == whole)
        assert desk.sold == 0

    run(scenario, balance=CASH, baseline=CASH)


def test_a_stop_refused_for_another_reason_is_tried_again_only_after_its_pause(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.simulator.faults.add(
            Fault("status", method="POST", path="/api/v3/order", status=400, code=-2010,
                  text="Order would trigger immediately.", when="before")
        )  # fmt: skip
        lock(desk, PART)
        # One for all and one for the part that is free: then nothing is known to be different.
        await desk.until(lambda: desk.query(REFUSED) == [(2,)])
        await desk.drive(0.5)
        assert desk.query(REFUSED) == [(2,)]

    run(scenario, times=ONCE, balance=CASH, baseline=CASH)
