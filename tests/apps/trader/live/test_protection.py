"""Stops at the exchange and exits: never long without a stop, never more sold than bought."""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from live_desk import QUICK, LiveDesk
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]


def make_order_fault(kind: str, **settings: Any) -> Fault:
    """Return a fault of one order that is sent: the second one unless `nth` is another."""
    return Fault(kind, method="POST", path="/api/v3/order", count=1, **settings)


def next_order(desk: LiveDesk, kind: str, **settings: Any) -> None:
    """Let a fault happen to the next order that is sent."""
    desk.simulator.faults.add(make_order_fault(kind, **settings))


async def cancel_by_hand(desk: LiveDesk) -> None:
    """Cancel the stop that rests, as a person does on the exchange's page."""
    await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
    (stop,) = desk.resting
    desk.simulator.account.exchange.cancel(stop, desk.simulator.clock.now_ms())


def test_an_exit_cancels_the_stop_first_and_sells_all_but_the_reported_dust(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        assert desk.resting == []
        bought = desk.fills[0].amount - desk.fills[0].fee
        assert bought - Decimal("0.00001") < desk.sold <= bought
        assert desk.coins >= 0
        desk.assert_ledgers_equal()
        assert desk.query("SELECT end_reason FROM exit_obligations") == [("filled",)]
        assert f"left as dust: {desk.coins:f} BTC" in capsys.readouterr().out

    run(scenario)


def test_a_stop_that_fires_closes_the_position(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.let_stop_fire()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        assert desk.fills[-1].side == "sell"
        assert desk.resting == []
        desk.assert_ledgers_equal()

    run(scenario, stop_loss=0.001)


def test_an_exit_after_a_stop_that_fired_unseen_sells_no_baseline_coin(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        # What is free is known: coins of the user's own would be enough.
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.let_stop_fire()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        assert desk.coins >= 0
        assert len([one for one in desk.taken if one]) == 2
        desk.assert_ledgers_equal()
        ended = desk.query("SELECT end_reason FROM exit_obligations")
        assert ended == [("the position is closed",)]

    run(scenario, stop_loss=0.001)


def test_an_exit_at_the_level_of_the_stop_lets_the_stop_fire(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        began = time.monotonic()
        desk.leave("stop_loss")
        # It does not fire in time: the position is sold at the market.
        await desk.until(lambda: not desk.resting)
        assert time.monotonic() - began >= QUICK.stop_fires
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario)


def test_a_stop_is_placed_again_within_seconds_if_the_sell_is_refused(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        first = desk.resting[0].client_id
        next_order(desk, "status", status=400, code=-2010, text="no", when="before")
        desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        await desk.until(lambda: desk.resting and desk.resting[0].client_id != first)
        # The exit is pending, and sent again after a pause.
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        desk.assert_ledgers_equal()
        assert desk.coins >= 0

    run(scenario)


def test_a_stop_is_placed_again_if_the_sell_has_no_response_and_the_coins_are_there(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        first = desk.resting[0].client_id
        next_order(desk, "reset", when="before")
        order = desk.leave()
        await desk.until(lambda: desk.query("SELECT 1 FROM orders WHERE status = 'unknown'"))
        # Before the deadline of the sell it may still arrive: no stop may hold the same coins.
        await desk.drive(0.6)
        assert desk.resting == []
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 4_000)
        await desk.until(lambda: desk.resting and desk.resting[0].client_id != first)
        # Once it is proven absent, the exit is sent again, once.
        await desk.until(lambda: desk.executor.position.is_flat)
        assert order.client_order_id not in desk.taken
        desk.assert_ledgers_equal()

    run(scenario)


def test_a_stop_is_placed_again_within_seconds_and_not_only_once_absence_is_proven(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        next_order(desk, "reset", when="before")
        exit_ = desk.leave()
        await desk.until(lambda: desk.query("SELECT 1 FROM orders WHERE status = 'unknown'"))
        assert desk.resting == []
        await desk.pass_time(4)
        await desk.until(lambda: desk.resting)
        assert desk.executor.exit is not None
        assert desk.executor.exit.identity == exit_.client_order_id
        assert desk.executor.exit.state.stage == "unknown"

    run(scenario, times=structs.replace(QUICK, absent=3_600.0))


def test_no_stop_covers_baseline_coins_while_a_sell_is_not_visible(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        # The sell is executed; its response, the order and its fills are not seen for a while. The
        # account has two baseline coins, which are free.
        for one in (
            make_order_fault("reset", when="after"),
            Fault("visibility_delay", seconds=60, shape="orders"),
            Fault("visibility_delay", seconds=60, shape="fills"),
            Fault("events", shape="lost"),
        ):
            desk.simulator.faults.add(one)
        desk.leave()
        await desk.until(lambda: desk.query("SELECT 1 FROM orders WHERE status = 'unknown'"))
        await desk.pass_time(4)
        await desk.drive(0.8)
        assert desk.sold > 0
        assert desk.resting == []
        desk.simulator.faults.clear()
        await desk.until(lambda: desk.executor.position.is_flat)
        assert desk.coins >= 0
        desk.assert_ledgers_equal()

    run(scenario)


def test_a_sell_whose_response_is_lost_is_found_and_nothing_is_sold_twice(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        next_order(desk, "reset", when="after")
        order = desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        assert desk.taken.count(order.client_order_id) == 1
        assert desk.resting == []
        assert desk.coins >= 0
        desk.assert_ledgers_equal()

    run(scenario)


def test_a_refused_stop_sells_nothing_is_reported_and_tried_again(run: Run) -> None:
    refusal = make_order_fault("status", status=400, code=-2010, text="stop", when="before", nth=2)

    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems)
        assert desk.sold == 0
        assert desk.states.entry_obstacle is not None
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: "protection" not in desk.problems)
        assert desk.sold == 0

    run(scenario, refusal)


def test_a_stop_whose_response_is_lost_is_not_placed_twice(run: Run) -> None:
    lost = make_order_fault("reset", when="after", nth=2)

    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        await desk.drive(0.5)
        assert len(desk.taken) == 2

    run(scenario, lost)


def test_a_stop_that_is_cancelled_by_hand_is_placed_again_once(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await cancel_by_hand(desk)
        await desk.until(lambda: desk.resting)
        await cancel_by_hand(desk)
        await desk.until(lambda: "protection" in desk.problems)
        await desk.drive(0.3)
        assert desk.resting == []
        assert desk.sold == 0
        assert desk.states.entry_obstacle is not None
        assert desk.stop_state is not None
        assert desk.stop_state.place == "none"

    run(scenario)


def test_a_stop_that_the_exchange_expires_repeatedly_is_placed_again_once(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        for _ in range(2):
            await desk.until(lambda: desk.resting and desk.executor.stops[0].state.stage == "open")
            books = vars(desk.simulator.account.exchange)["_books"]
            books.end(desk.resting[0], "EXPIRED", desk.simulator.clock.now_ms())
        await desk.until(lambda: "protection" in desk.problems)
        await desk.drive(0.3)
        assert desk.resting == []
        assert len(desk.taken) == 3

    run(scenario)


def test_a_raised_level_moves_the_stop_and_never_leaves_two(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        level = Decimal(repr(round(desk.price * 0.97, 2)))
        desk.executor.set_level_source(lambda: ("trailing_stop", level))
        await desk.until(
            lambda: desk.resting and Decimal(desk.resting[0].request.stop).scaleb(-2) == level
        )
        assert len(desk.resting) == 1

    run(scenario)


#: No time passes on the wall clock of a stepped market: no order is ever proven absent.
NEVER_ABSENT = structs.replace(QUICK, absent=60.0)


def test_a_stop_that_the_exchange_does_not_show_is_placed_again_before_it_is_proven_absent(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (first,) = desk.executor.stops
        await desk.until(lambda: first.state.stage == "unknown")
        # Before its deadline it may still arrive.
        await desk.drive(0.3)
        assert desk.resting == []
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 4_000)
        await desk.until(lambda: desk.resting)
        assert first.state.stage == "unknown"
        assert len(desk.resting) == 1
        assert first.identity not in desk.taken

    run(scenario, make_order_fault("reset", when="before", nth=2), times=NEVER_ABSENT)


def test_an_exit_does_not_wait_for_a_stop_that_the_exchange_does_not_show(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (first,) = desk.executor.stops
        await desk.until(lambda: first.state.stage == "unknown")
        desk.leave()
        await desk.drive(0.3)
        assert desk.sold == 0
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 4_000)
        await desk.until(lambda: desk.executor.position.is_flat)
        assert first.state.stage == "unknown"
        assert desk.coins >= 0
        desk.assert_ledgers_equal()

    run(scenario, make_order_fault("reset", when="before", nth=2), times=NEVER_ABSENT)


def test_a_stop_that_is_hidden_but_locks_its_coins_is_waited_for(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        hidden = Fault("visibility_delay", seconds=30, shape="orders")
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 60_000)
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(hidden)
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (first,) = desk.executor.stops
        await desk.until(lambda: first.state.stage == "unknown")
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 5_000)
        await desk.drive(0.5)
        assert not first.is_nowhere
        assert len(desk.taken) == 2

    # The account's events would show the stop.
    lost = Fault("events", shape="lost")
    run(scenario, make_order_fault("reset", when="after", nth=2), lost, times=NEVER_ABSENT)


def test_an_own_cancel_whose_response_is_lost_is_not_taken_for_a_foreign_cancel(run: Run) -> None:
    """The HTTP client sends the cancel again by itself, and gets the response that it is gone."""

    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        # Two exits are refused, and the stop is put back after each. A fault counts no request that
        # another one was for.
        for nth in (1, 2):
            desk.simulator.faults.add(
                Fault(
                    "reset", method="DELETE", path="/api/v3/order", nth=nth, count=1, when="after"
                )
            )
            next_order(desk, "status", nth=nth, status=400, code=-2010, text="no", when="before")
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        stops = "SELECT status, is_cancel_requested FROM orders WHERE is_protection"
        assert desk.query(stops) == [("canceled", 1)] * 3
        desk.assert_ledgers_equal()

    run(scenario)
