"""`trader halt` and the end of the program: positions keep a stop, no other order is sent."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from live_desk import QUICK, LiveDesk
from onetape.simulator.faults.model import Fault
from trader.live import executors
from trader.live.executors import settle_orders

Run = Callable[..., None]
HALT = "halted by anna"
#: The entry is accepted, and each stop after it is refused.
REFUSED_STOPS = Fault(
    "status", method="POST", path="/api/v3/order", nth=2, count=1_000, status=400, code=-2010,
    text="no", when="before",
)  # fmt: skip


def raise_level(desk: LiveDesk) -> Decimal:
    """Raise the level of the stop by the rules; return it."""
    level = Decimal(repr(round(desk.price * 0.97, 2)))
    desk.executor.set_level_source(lambda: ("trailing_stop", level))
    return level


def test_row_71_a_halt_moves_no_stop_and_sends_no_order(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        stop, sent = desk.resting[0].client_id, len(desk.taken)
        desk.executor.halt = HALT
        raise_level(desk)
        await desk.drive(0.3)
        assert [one.client_id for one in desk.resting] == [stop]
        desk.leave()
        await desk.drive(0.3)
        assert [one.client_id for one in desk.resting] == [stop]
        assert len(desk.taken) == sent
        desk.executor.halt = None
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario)


def test_what_an_entry_fills_after_a_halt_gets_its_stop(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.enter()
        await desk.until_sent(order)
        desk.executor.halt = HALT
        await desk.until(lambda: desk.resting)
        later = desk.intend_entry()
        desk.turn()
        await desk.until(lambda: desk.executor.open_order is None)
        assert later.client_order_id not in desk.taken

    run(scenario)


def test_an_exit_that_has_cancelled_the_stop_places_it_again_after_a_halt(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        desk.executor.halt = HALT
        desk.executor.cancel(desk.exchange.now_ms(), HALT)
        await desk.until(lambda: desk.resting)
        assert exit_.client_order_id not in desk.taken
        assert desk.sold == 0

    run(scenario)


def test_a_stop_cancelled_by_hand_is_not_set_again_before_a_resume(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        desk.executor.halt = HALT
        desk.simulator.account.cancel_by_hand("BTC/USDT")
        await desk.until(lambda: "protection" in desk.problems)
        await desk.drive(0.3)
        assert desk.resting == []
        desk.executor.halt = None
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: "protection" not in desk.problems)

    run(scenario)


@pytest.mark.parametrize("is_exit", [False, True])
def test_row_68_the_end_of_the_program_leaves_no_position_without_a_stop(
    run: Run, is_exit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "SETTLE_SECONDS", 60.0)

    async def scenario(desk: LiveDesk) -> None:
        if is_exit:
            await desk.hold()
            await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
            await desk.drive(0.05)
            desk.leave()
            # The stop is cancelled, and the sell waits for the account to be read.
            await desk.until(lambda: not desk.resting)
        else:
            await desk.until(lambda: desk.executor.balance_is_known)
            await desk.until_sent(desk.enter())
        assert await settle_orders(desk.executor, desk.exchange, desk.lease)
        assert desk.executor.position.is_flat == is_exit
        assert len(desk.resting) == (not is_exit)
        desk.assert_ledgers_equal()

    run(scenario)


def test_row_68_the_end_of_the_program_sends_no_entry_that_waits(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        # It waits for the first reading of the account.
        order = desk.enter()
        desk.executor.note_ending()
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.drive(0.3)
        assert desk.taken == []
        assert desk.state_of(order.client_order_id) == "intent"

    run(scenario)


def test_row_68_a_start_that_is_ended_at_once_places_a_missing_stop(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "SETTLE_SECONDS", 60.0)

    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        # On a busy machine the problem may be reported while a stop is still on its way.
        await desk.until(lambda: "protection" in desk.problems and not desk.executor.stops)
        desk.simulator.faults.clear()
        # Nothing of the account was read before the signal.
        desk.start()
        assert await settle_orders(desk.executor, desk.exchange, desk.lease)
        assert len(desk.resting) == 1

    run(scenario, REFUSED_STOPS)


@pytest.mark.parametrize("is_lasting", [False, True])
def test_row_68_a_refused_stop_is_tried_once_more_before_the_program_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch, is_lasting: bool
) -> None:
    monkeypatch.setattr(executors, "SETTLE_SECONDS", 60.0)

    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems and not desk.executor.stops)
        before = len(desk.simulator.faults.log)
        if not is_lasting:
            desk.simulator.faults.clear()
        is_settled = await settle_orders(desk.executor, desk.exchange, desk.lease)
        assert is_settled == (not is_lasting)
        assert len(desk.resting) == (not is_lasting)
        assert len(desk.simulator.faults.log) - before == is_lasting

    run(scenario, REFUSED_STOPS, times=replace(QUICK, stop_again=600.0))
