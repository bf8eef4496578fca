"""A stop that follows its level is moved by one request and protected whatever the response."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from live_desk import BALANCE, QUICK, LiveDesk
from onetape.core.trading import Order
from onetape.execution.broker import OrderReport
from onetape.execution.events import Acknowledged, FillReport
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]
REPLACE: dict[str, Any] = {"method": "POST", "path": "/api/v3/order/cancelReplace"}


async def move(desk: LiveDesk, *faults: Fault) -> Decimal:
    """Hold a position with its stop, then let its level rise; return the higher level."""
    await desk.hold()
    await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
    for one in faults:
        desk.simulator.faults.add(one)
    level = Decimal(repr(round(desk.price * 0.97, 2)))
    desk.executor.set_level_source(lambda: ("trailing_stop", level))
    return level


def read_stops(desk: LiveDesk) -> list[tuple[Any, ...]]:
    """Return status of every stop that is stored, and whether its cancel was sent."""
    return desk.query("SELECT status, is_cancel_requested FROM orders WHERE is_protection")


def get_stop_price(desk: LiveDesk) -> Decimal | None:
    """Return the price of the only stop that rests; None where none does."""
    assert len(desk.resting) <= 1
    return Decimal(desk.resting[0].request.stop).scaleb(-2) if desk.resting else None


def assert_covered(desk: LiveDesk) -> None:
    """Check that stops never held more than was bought, by the simulator's own ledger."""
    fills = desk.simulator.account.exchange.fills
    bought = sum(Decimal(one.quantity).scaleb(-5) for one in fills if one.side == "BUY")
    held = [Decimal(one.quantity).scaleb(-5) for one in desk.resting]
    assert sum(held) + desk.sold <= bought
    assert desk.sold == 0


def test_a_level_that_rises_moves_the_stop_by_one_request(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        level = await move(desk)
        await desk.until(lambda: get_stop_price(desk) == level and not desk.executor.stops[1:])
        await desk.drive(0.1)
        assert sorted(read_stops(desk)) == [("canceled", 1), ("open", 0)]
        assert desk.stop_state is not None
        assert desk.stop_state.unprotected_ms == 0
        assert "protection" not in desk.problems
        assert_covered(desk)

    run(scenario)


def test_the_old_stop_is_placed_again_if_the_higher_one_is_refused_after_the_cancel(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        first = get_stop_price(desk)
        # The trader does not have the price: the exchange cancels, then refuses a stop over it.
        above = Decimal(repr(round(desk.price * 1.01, 2)))
        desk.executor.set_level_source(lambda: ("trailing_stop", above))
        with desk.store.write() as connection:
            connection.execute("DELETE FROM ticker_data")
        await desk.until(lambda: len(desk.taken) >= 3)
        assert get_stop_price(desk) == first
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        refused = desk.query("SELECT status FROM orders WHERE status = 'rejected'")
        assert refused
        assert_covered(desk)

    run(scenario, Fault("status", path="/api/v3/ticker/24hr", status=503, when="before"))


def test_a_stop_whose_cancel_is_refused_stays_one_and_is_looked_up(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        text = "Unknown order sent."
        refusal = Fault(
            "status", count=1, status=400, code=-2011, text=text, when="before", **REPLACE
        )
        level = await move(desk, refusal)
        await desk.drive(0.1)
        assert get_stop_price(desk) not in (None, level)
        assert "protection" not in desk.problems
        # It is moved after a pause.
        await desk.until(lambda: get_stop_price(desk) == level)
        assert_covered(desk)

    run(scenario)


def test_a_stop_that_is_cancelled_by_hand_while_it_is_moved_is_set_again(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        level = await move(desk)
        desk.simulator.account.cancel_by_hand("BTC/USDT")
        await desk.until(lambda: desk.resting and desk.executor.stops[0].state.stage == "open")
        await desk.until(lambda: get_stop_price(desk) == level)
        assert_covered(desk)

    run(scenario)


@pytest.mark.parametrize(("kind", "when"), [("reset", "after"), ("status", "before")])
def test_row_56_a_move_without_a_response_is_looked_up_and_leaves_one_stop(
    run: Run, kind: str, when: str
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        extra: dict[str, Any] = {"status": 504} if kind == "status" else {}
        fault = Fault(kind, count=1, when=when, **REPLACE, **extra)
        level = await move(desk, fault)
        await desk.until(lambda: len(read_stops(desk)) == 2)
        await desk.drive(0.05)
        assert len(desk.resting) == 1
        assert_covered(desk)
        # After its deadline a stop that never arrived is proven absent, and the next is sent.
        await desk.pass_time(4)
        await desk.until(lambda: get_stop_price(desk) == level)
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        assert_covered(desk)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        desk.assert_ledgers_equal()

    run(scenario)


def test_row_61_the_new_stop_is_known_before_the_end_of_the_old_one_and_both_are_kept(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        # The account's event of the new stop comes while the response is lost, and that of the old
        # one never; look-ups of the old one fail for a while.
        level = await move(desk, Fault("timeout", count=1, when="after", **REPLACE))
        old = desk.executor.stops[0].identity
        await desk.until(lambda: len(desk.executor.stops) == 2)
        new = desk.executor.stops[1]
        await desk.until(lambda: desk.taken.count(new.identity))
        one = next(one for one in desk.resting if one.client_id == new.identity)
        desk.report(OrderReport(new.identity, Acknowledged(str(one.id))))
        await desk.drive(0.3)
        assert old in desk.executor.orders
        assert get_stop_price(desk) == level
        assert_covered(desk)

    run(scenario)


def test_a_late_move_of_a_suspended_process_is_refused_and_the_stop_stays(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        first, replace_stop = get_stop_price(desk), desk.executor.broker.replace_stop

        def replace_late(order: Order, timestamp_ms: int, old: str, **options: Any) -> None:
            replace_stop(order, timestamp_ms - 4_000, old, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(desk.executor.broker, "replace_stop", replace_late)
            level = Decimal(repr(round(desk.price * 0.97, 2)))
            desk.executor.set_level_source(lambda: ("trailing_stop", level))
            refused = "SELECT reason FROM orders WHERE status = 'rejected'"
            await desk.until(lambda: desk.query(refused))
        assert "(-1021)" in desk.query(refused)[0][0]
        assert get_stop_price(desk) == first
        assert "protection" not in desk.problems
        assert_covered(desk)

    run(scenario, is_stepped=False)


def test_an_exit_while_a_stop_is_moved_waits_for_both_ends(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await move(desk, Fault("reset", count=1, when="after", **REPLACE))
        await desk.until(lambda: len(read_stops(desk)) == 2)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert desk.resting == []
        assert desk.coins >= 0
        desk.assert_ledgers_equal()

    run(scenario)


#: The exchange refuses both halves of each move: the stop that rests stays.
NO_MOVES = Fault("status", status=400, code=-2010, text="no", when="before", **REPLACE)


def count_refused_moves(desk: LiveDesk) -> int:
    """Return how many moves the exchange has refused."""
    return sum("cancelReplace" in one.on for one in desk.simulator.faults.log)


def test_a_stop_that_may_not_grow_is_not_tried_again_before_a_pause(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        entry = desk.enter()
        await desk.until_sent(entry)
        # The second execution of the entry is reported once the stop for the first one rests.
        found = await desk.next_reports()
        number = next(n for n, one in enumerate(found) if isinstance(one.event, FillReport))
        for one in found[: number + 1]:
            desk.report(one)
        hidden = desk.simulator.faults.add(Fault("visibility_delay", seconds=3_600, shape="fills"))
        await desk.until(lambda: desk.executor.stops)
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        desk.simulator.faults.add(NO_MOVES)
        desk.simulator.faults.remove(hidden)
        for one in found[number + 1 :]:
            desk.report(one)
        await desk.until(lambda: count_refused_moves(desk))
        await desk.drive(0.5)
        assert count_refused_moves(desk) == 1
        assert [Decimal(one.quantity).scaleb(-5) for one in desk.resting] == [Decimal("0.00999")]
        # It covers a part: that is shown, and nothing is entered.
        await desk.until(lambda: "protection" in desk.problems)
        assert desk.stop_state is not None
        assert (desk.stop_state.place, desk.stop_state.reason) == (
            "exchange", "for 0.00999 of 0.01998 BTC",
        )  # fmt: skip

    thin = Fault("thin_book", levels=2, amount=0.01, ticks=50)
    lost = Fault("status", method="GET", path="/api/v3/order", count=3, status=503, when="before")
    run(scenario, thin, lost, times=structs.replace(QUICK, stop_again=600.0))


def test_a_stop_for_more_than_is_held_is_cancelled_where_it_cannot_be_replaced(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        desk.simulator.faults.add(NO_MOVES)
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.02"))
        await desk.until(lambda: "coins" in desk.problems)
        left = desk.coins

        def is_smaller() -> bool:
            return any(Decimal(one.quantity).scaleb(-5) <= left for one in desk.resting)

        await desk.until(is_smaller)
        assert len(desk.resting) == 1
        assert count_refused_moves(desk) == 1

    run(scenario, baseline=BALANCE, times=structs.replace(QUICK, stop_again=600.0))


def test_moves_that_were_refused_long_ago_do_not_lengthen_the_pause(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        for rise in ("0.96", "0.97"):
            number = desk.simulator.faults.add(NO_MOVES)
            refused = count_refused_moves(desk)
            if not desk.resting:
                await desk.hold()
            level = (Decimal(repr(desk.price)) * Decimal(rise)).quantize(Decimal("0.01"))
            desk.executor.set_level_source(lambda level=level: ("trailing_stop", level))
            await desk.until(lambda refused=refused: count_refused_moves(desk) > refused)
            desk.simulator.faults.remove(number)
            await desk.until(lambda level=level: get_stop_price(desk) == level)
            await desk.until(lambda: desk.executor.stops[0].state.stage == "open")

    run(scenario, times=structs.replace(QUICK, stop_again=1.0))
    # Of a second refusal in a row it would be 2 s.
    assert capsys.readouterr().out.count("it is moved again in 1 s at the earliest") == 2
