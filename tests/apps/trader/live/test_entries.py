"""Entries at an exchange: sent once, resolved by look-ups, booked by the exchange's trade ids."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from live_desk import QUICK, LiveDesk
from onetape.core.errors import SafetyRefusal
from onetape.core.trading import Order
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]


def make_order_fault(kind: str, **settings: Any) -> Fault:
    """Return a fault of the first order that is sent."""
    return Fault(kind, method="POST", path="/api/v3/order", count=1, **settings)


#: The order is taken, and its response does not arrive or cannot be used.
LOST_ANSWERS = {
    "timeout": make_order_fault("timeout", when="after", seconds=2),
    "reset": make_order_fault("reset", when="after"),
    "cut body": make_order_fault("cut_body", part=0.5),
    "html": make_order_fault("wrong_body", shape="html", when="after"),
    "null": make_order_fault("wrong_body", shape="null", when="after"),
    "504": make_order_fault("status", status=504, when="after"),
    "-1006": make_order_fault("status", status=400, code=-1006, text="x", when="after"),
    "-1007": make_order_fault("status", status=408, code=-1007, text="x", when="after"),
}


def test_an_entry_is_bought_booked_and_protected(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.resting)
        assert desk.taken[0] == order.client_order_id
        position = desk.executor.position
        assert position.entry_order_id == order.client_order_id
        (fill,) = desk.fills
        assert position.base == fill.amount - fill.fee
        assert fill.fee_currency == "BTC"
        (stop,) = desk.resting
        assert (stop.side, stop.request.type) == ("SELL", "STOP_LOSS")
        amount = Decimal(stop.quantity).scaleb(-5)
        assert position.base - Decimal("0.00001") < amount <= position.base
        assert stop.request.stop == pytest.approx(float(fill.price) * 0.95 * 100, abs=1)
        desk.assert_ledgers_equal()

    run(scenario)


@pytest.mark.parametrize("fault", LOST_ANSWERS.values(), ids=LOST_ANSWERS)
def test_row_56_an_order_whose_response_is_lost_is_found_and_sent_once(
    run: Run, fault: Fault
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.executor.entry_order_id)
        await desk.until(lambda: desk.resting)
        assert desk.taken.count(order.client_order_id) == 1
        assert len(desk.taken) == len(desk.resting) + 1
        desk.assert_ledgers_equal()

    run(scenario, fault, timeout_ms=300 if fault.kind == "timeout" else 20_000)


def test_row_56_an_order_is_found_by_its_id_while_the_account_cannot_be_read(run: Run) -> None:
    """A reading of the account would find the order too."""

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        for one in (LOST_ANSWERS["reset"], Fault("status", path="/api/v3/openOrders", status=500)):
            desk.simulator.faults.add(one)
        order = desk.enter()
        await desk.until(lambda: desk.executor.entry_order_id == order.client_order_id)
        assert desk.taken.count(order.client_order_id) == 1

    run(scenario)


def test_an_order_that_never_arrived_is_absent_after_two_complete_responses(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        status = "SELECT status FROM orders WHERE client_order_id = ?"
        await desk.until(lambda: desk.query(status, order.client_order_id) == [("unknown",)])
        # Its deadline has not passed by the exchange's time: no response counts.
        await desk.drive(0.3)
        assert desk.query(status, order.client_order_id) == [("unknown",)]
        assert desk.executor.open_order is not None
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 4_000)
        await desk.until(lambda: desk.query(status, order.client_order_id) == [("absent",)])
        assert desk.taken == []
        assert desk.query("SELECT count(*) FROM reservations") == [(0,)]

    run(scenario, make_order_fault("reset", when="before"))


def test_an_unknown_order_keeps_its_reservation(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.query("SELECT 1 FROM orders WHERE status = 'unknown'"))
        assert desk.query("SELECT count(*) FROM reservations") == [(1,)]

    run(scenario, make_order_fault("reset", when="before"))


def test_responses_within_the_first_minute_prove_no_absence(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.query("SELECT 1 FROM orders WHERE status = 'unknown'"))
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 4_000)
        one = desk.executor.orders[order.client_order_id]
        await desk.until(lambda: len(one.absences) > 3)
        assert one.state.stage == "unknown"

    # On a stepped clock no time passes on the wall clock: the minute is never over.
    times = structs.replace(QUICK, absent=60.0)
    run(scenario, make_order_fault("reset", when="before"), times=times)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", method="GET", path="/api/v3/order"),
        Fault("status", status=503, method="GET", path="/api/v3/order"),
        Fault("wrong_body", shape="html", method="GET", path="/api/v3/myTrades"),
        Fault("wrong_body", shape="empty_object", method="GET", path="/api/v3/account"),
    ],
)
def test_row_59_failed_look_ups_leave_an_order_unknown(run: Run, fault: Fault) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(fault)
        order = desk.enter()
        await desk.until(lambda: desk.query("SELECT 1 FROM orders WHERE status = 'unknown'"))
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 100_000)
        await desk.drive(0.5)
        assert desk.executor.orders[order.client_order_id].state.stage == "unknown"

    run(scenario, make_order_fault("reset", when="before"))


def test_a_refused_entry_ends_and_frees_its_money(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        rejected = "SELECT reason FROM orders WHERE status = 'rejected' AND client_order_id = ?"
        await desk.until(lambda: desk.query(rejected, order.client_order_id))
        assert "(-2010)" in desk.query(rejected, order.client_order_id)[0][0]
        assert desk.executor.open_order is None
        assert desk.query("SELECT count(*) FROM reservations") == [(0,)]
        assert desk.taken == []

    refusal = make_order_fault("status", status=400, code=-2010, text="no", when="before")
    run(scenario, refusal)


def test_row_64_an_order_of_a_killed_process_is_resolved_by_the_next_one(run: Run) -> None:
    """The send is stored; whether it left, only the exchange shows."""

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.enter()
        # The process ends here: the response is never stored.
        await desk.until_sent(order)
        desk.start()
        await desk.until(lambda: desk.executor.entry_order_id == order.client_order_id)
        await desk.until(lambda: desk.resting)
        assert desk.taken.count(order.client_order_id) == 1
        desk.assert_ledgers_equal()

    run(scenario)


def test_row_64_a_send_is_stored_before_its_request_leaves(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        broker, stored = desk.executor.broker, list[str]()
        submit = broker.submit

        def submit_after_look(order: Order, timestamp_ms: int, **options: Any) -> None:
            stored.append(desk.state_of(order.client_order_id))
            submit(order, timestamp_ms, **options)

        monkeypatch.setattr(broker, "submit", submit_after_look)
        desk.enter()
        await desk.until(lambda: desk.resting)
        assert stored == ["sent", "sent"]

    run(scenario)


def test_row_64_an_intent_that_was_never_sent_is_dropped_by_the_next_process(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.intend_entry()
        desk.start()
        await desk.drive(0.2)
        assert desk.taken == []
        status = "SELECT status FROM orders WHERE client_order_id = ?"
        assert desk.query(status, order.client_order_id) == [("absent",)]

    run(scenario)


def test_no_request_leaves_after_the_lease_was_lost(run: Run) -> None:
    """A process that was suspended between intent and send, while another took over."""

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.intend_entry()
        with desk.store.write() as connection:
            connection.execute("UPDATE leases SET token = token + 1")
        with pytest.raises(SafetyRefusal):
            desk.turn()
        assert desk.taken == []

    run(scenario)


def test_a_late_send_of_a_suspended_process_is_refused(run: Run) -> None:
    """Its time is from before the send was stored, so the exchange takes it for too old."""

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.intend_entry()
        # The process is suspended right after the send was stored: it leaves 4 s later.
        submit = desk.executor.broker.submit

        def submit_late(order: Order, timestamp_ms: int, **options: Any) -> None:
            submit(order, timestamp_ms - 4_000, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(desk.executor.broker, "submit", submit_late)
            desk.turn()
        rejected = "SELECT reason FROM orders WHERE client_order_id = ? AND status = 'rejected'"
        await desk.until(lambda: desk.query(rejected, order.client_order_id))
        assert "(-1021)" in desk.query(rejected, order.client_order_id)[0][0]
        assert desk.taken == []

    run(scenario, is_stepped=False)


def test_fees_in_a_third_currency_are_booked_in_it_and_not_taken_from_the_coins(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.simulator.account.exchange.fees.in_bnb = True
        await desk.hold()
        (fill,) = desk.fills
        assert fill.fee_currency == "BNB"
        assert desk.executor.position.base == fill.amount
        desk.assert_ledgers_equal()

    run(scenario, balance={"USDT": Decimal(50_000), "BTC": Decimal(2), "BNB": Decimal(50)})


def test_an_acknowledgement_without_fills_leads_to_a_look_up_and_is_not_unknown(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: order.client_order_id not in desk.executor.orders)
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        stages = {row[0] for row in desk.query("SELECT kind FROM order_events")}
        assert "unanswered" not in stages
        desk.assert_ledgers_equal()

    run(scenario, Fault("ack_only"))
