"""The state of an order after any events equals that of the exchange."""

from decimal import Decimal
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from onetape.execution.events import (
    Acknowledged,
    CancelRefused,
    CancelRequested,
    FillReport,
    Intended,
    OrderEvent,
    ProvenAbsent,
    ReportedStatus,
    StatusReport,
    Submitted,
    UnclearResponse,
    decode_event,
    encode_event,
    get_event_kind,
)
from onetape.execution.orders import (
    Effect,
    FetchFills,
    FinishedAndBooked,
    LookUp,
    OrderState,
    StoreFill,
    Warn,
    advance,
    fold,
)

ONE = Decimal(1)


class OrderHistory(Struct, frozen=True):
    """What an exchange did with an order."""

    amount: Decimal
    fills: list[FillReport]
    final: ReportedStatus

    @property
    def filled(self) -> Decimal:
        """Return the amount that it filled."""
        return sum((fill.amount for fill in self.fills), Decimal(0))

    def events(self) -> list[OrderEvent]:
        """Return each event that it sends, in the right order."""
        if self.final == "rejected":
            return [StatusReport("rejected", reason="too small")]
        sent: list[OrderEvent] = [Acknowledged("x1"), StatusReport("open")]
        filled = Decimal(0)
        for fill in self.fills:
            filled += fill.amount
            sent += [fill, StatusReport("open", filled)]
        return [*sent, StatusReport(self.final, filled)]

    def snapshot(self) -> list[OrderEvent]:
        """Return the result of a look-up after all events."""
        return [StatusReport(self.final, self.filled), *self.fills]


@st.composite
def draw_histories(draw: st.DrawFn) -> OrderHistory:
    parts = draw(st.lists(st.integers(1, 50), min_size=1, max_size=4))
    amount = Decimal(sum(parts))
    final = draw(st.sampled_from(["closed", "canceled", "expired", "rejected"]))
    count = {"closed": len(parts), "rejected": 0}.get(final, len(parts) - 1)
    fills = [
        FillReport(f"t{number}", Decimal(100 + number), Decimal(part), Decimal("0.1"), "USDT")
        for number, part in enumerate(parts[:count])
    ]
    return OrderHistory(amount, fills, cast("ReportedStatus", final))


def run(state: OrderState, events: list[OrderEvent]) -> tuple[OrderState, list[Effect]]:
    done: list[Effect] = []
    for event in events:
        before = state
        state, effects = advance(state, event)
        assert state.filled >= before.filled
        assert state.booked >= before.booked
        done += effects
    return state, done


#: What the trader itself adds to the exchange's events, at any moment.
OWN = [Submitted(), UnclearResponse("reset"), CancelRequested("stop"), CancelRefused("too late")]


@given(draw_histories(), st.data())
def test_duplicate_lost_and_late_events_end_in_the_state_of_the_exchange(
    history: OrderHistory, data: st.DataObject
) -> None:
    events = history.events()
    arrived = data.draw(st.lists(st.sampled_from([*events, *OWN]), max_size=2 * len(events)))
    state, effects = run(OrderState(history.amount), [Intended(), Submitted(), *arrived])
    state, more = run(state, history.snapshot())
    outcome = "filled" if history.final == "closed" else history.final
    assert (state.stage, state.outcome) == ("done", outcome)
    assert state.filled == state.booked == history.filled
    assert state.is_finished_and_booked
    booked = [effect.fill for effect in [*effects, *more] if isinstance(effect, StoreFill)]
    assert sorted(booked, key=lambda fill: fill.trade_id) == history.fills
    assert FinishedAndBooked() in [*effects, *more]


@given(draw_histories(), st.data())
def test_the_same_events_in_any_order_lead_to_the_same_state(
    history: OrderHistory, data: st.DataObject
) -> None:
    events = history.events()
    shuffled = data.draw(st.permutations(events))
    doubled = [*shuffled, *data.draw(st.lists(st.sampled_from(events), max_size=4))]
    assert fold(doubled, history.amount) == fold(events, history.amount)


#: Reports that contradict each other, and what the trader itself adds.
MIXED: list[OrderEvent] = [
    *OWN,
    ProvenAbsent("looked up twice"),
    Acknowledged("x1"),
    StatusReport("open", Decimal(2)),
    StatusReport("closed", Decimal(3)),
    StatusReport("canceled", Decimal(1)),
    StatusReport("expired"),
    StatusReport("rejected"),
    FillReport("t1", Decimal(100), ONE, Decimal(0), "USDT"),
    FillReport("t2", Decimal(101), Decimal(2), Decimal(0), "USDT"),
]


@given(st.lists(st.sampled_from(MIXED), max_size=12), st.data())
def test_events_that_contradict_each_other_lead_to_the_same_state_in_any_order(
    events: list[OrderEvent], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events))
    assert fold(shuffled, Decimal(3)) == fold(events, Decimal(3))


@given(draw_histories(), st.data())
def test_the_stage_never_goes_backwards(history: OrderHistory, data: st.DataObject) -> None:
    stages = ["intended", "sent", "unknown", "open", "done"]
    state = OrderState(history.amount)
    for event in data.draw(st.lists(st.sampled_from([*history.events(), *OWN]))):
        after, _ = advance(state, event)
        assert stages.index(after.stage) >= stages.index(state.stage)
        state = after


def test_an_order_without_a_response_is_unknown_and_is_looked_up() -> None:
    state, effects = advance(OrderState(ONE, "sent"), UnclearResponse("reset"))
    assert (state.status, effects) == ("unknown", (LookUp("reset"),))


def test_a_response_lost_after_the_order_arrived_changes_nothing() -> None:
    state = fold([Submitted(), Acknowledged("x1")], ONE)
    assert advance(state, UnclearResponse("reset")) == (state, ())


def test_a_refused_cancel_leads_to_a_look_up_and_does_not_end_the_order() -> None:
    state = fold([Submitted(), Acknowledged("x1"), CancelRequested("stop")], ONE)
    assert advance(state, CancelRefused("unknown order")) == (state, (LookUp("unknown order"),))


def test_a_final_status_waits_for_its_fills() -> None:
    state, effects = advance(OrderState(ONE, "open"), StatusReport("closed", ONE))
    assert (state.is_done, state.is_finished_and_booked, effects) == (True, False, (FetchFills(),))
    fill = FillReport("t1", Decimal(100), ONE, Decimal(0), "USDT")
    after, effects = advance(state, fill)
    assert (after.is_finished_and_booked, effects) == (True, (StoreFill(fill), FinishedAndBooked()))


def test_an_order_reported_as_filled_without_an_amount_waits_for_its_fills() -> None:
    state, effects = advance(OrderState(stage="open"), StatusReport("closed"))
    assert (state.is_done, state.is_finished_and_booked, effects) == (True, False, (FetchFills(),))
    fill = FillReport("t1", Decimal(100), ONE, Decimal(0), "USDT")
    after, effects = advance(state, fill)
    assert (after.is_finished_and_booked, effects) == (True, (StoreFill(fill), FinishedAndBooked()))


def test_a_fill_of_an_order_taken_for_absent_is_booked_and_reported() -> None:
    state = fold([Submitted(), UnclearResponse("reset"), ProvenAbsent("looked up twice")], ONE)
    assert (state.status, state.is_finished_and_booked) == ("absent", True)
    fill = FillReport("t1", Decimal(100), ONE, Decimal(0), "USDT")
    after, effects = advance(state, fill)
    assert (after.status, after.booked) == ("closed", ONE)
    assert StoreFill(fill) in effects
    assert any(isinstance(effect, Warn) for effect in effects)


def test_absence_is_not_accepted_for_an_order_that_was_seen() -> None:
    state = fold([Submitted(), Acknowledged("x1")], ONE)
    assert advance(state, ProvenAbsent("looked up twice")) == (state, ())


@given(draw_histories())
def test_an_event_comes_back_from_its_document(history: OrderHistory) -> None:
    events: list[OrderEvent] = [
        Intended(), *OWN, ProvenAbsent("looked up twice"), *history.events()
    ]  # fmt: skip
    assert [decode_event(encode_event(event)) for event in events] == events
    assert get_event_kind(StatusReport("open")) == "status"
