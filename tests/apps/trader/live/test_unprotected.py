"""A position without a stop at the exchange: measured, shown, reported, and sold at its level."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec import structs

from live_desk import ACCOUNT, BALANCE, KEY, QUICK, LiveDesk
from onetape.core.digits import Digits
from onetape.simulator.faults.model import Fault
from onetape.store.accounts import AccountSeries
from onetape.store.stop_states import read_unprotected_time
from trader.commands.status_record import read_status
from trader.rendering.status import format_stop_place

Run = Callable[..., None]
#: The exchange refuses every order but the first one, until the fault is removed.
NO_STOPS = Fault(
    "status", method="POST", path="/api/v3/order", nth=2, count=1_000, status=400,
    code=-2010, text="Order would trigger immediately.", when="before",
)  # fmt: skip
NO_PRICE = Fault("status", path="/api/v3/ticker/24hr", status=503, when="before")


def sell_at_levels(desk: LiveDesk) -> list[tuple[Any, ...]]:
    """Let the desk send the exit of a passed level once; return the requests."""
    requested: list[tuple[Any, ...]] = []

    def leave(kind: Any, *rest: Any) -> None:
        if not requested:
            requested.append((kind, *rest))
            desk.leave(kind)

    desk.executor.set_level_exit(leave)
    return requested


def forget_stream_prices(desk: LiveDesk) -> None:
    """Delete the prices of the stream, as while it is down."""
    with desk.store.write() as connection:
        connection.execute("DELETE FROM ticker_data")


def format_stop_status(desk: LiveDesk) -> str:
    """Return the line of `trader status` about the stop."""
    account = AccountSeries(ACCOUNT, "live", *KEY.names, "test", "USDT", Decimal(10_000), 0)
    found = read_status(desk.store, account).stop_place
    return format_stop_place(found, Digits(2, 5, 2))


def test_the_time_without_a_stop_is_stored_for_each_position(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems and not desk.executor.stops)
        await desk.pass_time(7)
        await desk.drive(0.1)
        assert "watched locally" in format_stop_status(desk)
        assert "Order would trigger immediately" in format_stop_status(desk)
        desk.simulator.faults.clear()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "exchange")
        state = desk.stop_state
        assert state is not None
        assert 7_000 <= state.unprotected_ms < 8_000
        assert "on the exchange" in format_stop_status(desk)
        assert "7.0 s without one" in format_stop_status(desk)
        await desk.pass_time(50)
        desk.start()
        await desk.drive(0.2)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.drive(0.05)
        time = read_unprotected_time(desk.store, ACCOUNT)
        assert time is not None
        assert (time.positions, time.longest_ms) == (1, time.total_ms)
        # A restart with the stop at the exchange adds nothing, neither does a stepped clock.
        assert 7_000 <= time.total_ms < 8_000

    run(scenario, NO_STOPS)


def test_row_65_a_position_whose_stop_was_removed_from_the_settings_is_shown_without_a_stop(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: "on the exchange" in format_stop_status(desk))
        exits = structs.replace(desk.context.rules.exits, stop_loss=None)
        rules = structs.replace(desk.context.rules, exits=exits)
        desk.context = structs.replace(desk.context, rules=rules)
        desk.start()
        await desk.until(lambda: not desk.resting and not desk.executor.stops)
        await desk.drive(0.1)
        assert "NONE (the rules have no stop)" in format_stop_status(desk)
        await desk.pass_time(7)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.drive(0.05)
        time = read_unprotected_time(desk.store, ACCOUNT)
        assert time is not None
        assert time.longest_ms >= 7_000

    run(scenario)


def test_a_level_without_a_fresh_price_is_reported_as_no_protection(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems)
        forget_stream_prices(desk)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "none")
        assert "NONE" in format_stop_status(desk)
        assert "no price for over 30 s" in (desk.states.entry_obstacle or "")
        assert desk.sold == 0

    run(scenario, NO_STOPS, NO_PRICE)


def test_a_refused_stop_sells_nothing_and_a_passed_level_sells_without_the_stream(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        requested = sell_at_levels(desk)
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems)
        forget_stream_prices(desk)
        await desk.drive(0.3)
        assert desk.sold == 0
        assert requested == []
        desk.simulator.faults.clear()
        desk.simulator.faults.add(
            Fault("status", method="POST", path="/api/v3/order", count=1_000,
                  status=400, code=-2010, text="no", when="before")
        )  # fmt: skip
        await desk.move_price(0.9)
        await desk.until(lambda: requested)
        desk.simulator.faults.clear()
        await desk.until(lambda: desk.executor.position.is_flat)
        assert [one[:2] for one in requested] == [("stop_loss", Decimal("31618.16"))]
        desk.assert_ledgers_equal()

    run(scenario, NO_STOPS)


def test_a_stop_without_a_response_is_reported_after_some_seconds(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems)
        assert "not acknowledged yet" in (desk.states.entry_obstacle or "")
        desk.simulator.faults.clear()
        await desk.pass_time(4)
        await desk.until(lambda: "protection" not in desk.problems)
        assert len(desk.resting) == 1

    run(
        scenario,
        Fault("reset", method="POST", path="/api/v3/order", nth=2, count=1, when="before"),
        Fault("status", method="GET", path="/api/v3/order", status=503, when="before"),
    )


def refuse_orders(desk: LiveDesk) -> int:
    """Let the exchange refuse every order from now on; return the number of the fault."""
    return desk.simulator.faults.add(
        Fault("status", method="POST", path="/api/v3/order", status=400, code=-2010, text="no",
              when="before")
    )  # fmt: skip


async def wait_for_no_protection(desk: LiveDesk, reason: str) -> None:
    """Wait until the stop is NONE for a reason, and check the status line."""
    await desk.until(lambda: desk.stop_state and desk.stop_state.place == "none")
    await desk.until(lambda: desk.stop_state and reason in desk.stop_state.reason)
    assert "NONE" in format_stop_status(desk)
    await desk.until(lambda: reason in (desk.states.entry_obstacle or ""))


def test_a_refused_stop_during_a_halt_is_no_protection_because_nothing_is_sold(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems)
        assert "watched locally" in format_stop_status(desk)
        desk.executor.halt = "halted by anna"
        await wait_for_no_protection(desk, "(-2010); halted by anna")
        desk.executor.halt = None
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")

    run(scenario, NO_STOPS)


def test_a_position_sold_by_hand_is_without_protection_before_the_answer(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        stop = Decimal(desk.resting[0].quantity).scaleb(-5)
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=stop)
        await desk.until(lambda: "coins" in desk.problems)
        await desk.until(lambda: not desk.resting)
        await wait_for_no_protection(desk, "coins of the position are missing")
        # No level and no exit sells coins of the account's own.
        sell_at_levels(desk)
        await desk.move_price(0.9)
        await desk.drive(0.5)
        assert len(desk.taken) == 3
        assert "coins of the position are missing" in format_stop_status(desk)

    run(scenario, baseline=BALANCE)


def test_a_refused_exit_and_stop_are_no_protection_until_the_next_attempt(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        number = refuse_orders(desk)
        desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        await wait_for_no_protection(desk, "the exit could not be made")
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "exchange")

    times = structs.replace(QUICK, exit_again=600.0, stop_again=2.0)
    run(scenario, times=times)


def test_an_exit_without_a_response_is_no_protection_while_it_is_looked_up(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.simulator.faults.add(
            Fault("reset", method="POST", path="/api/v3/order", count=1, when="before")
        )
        desk.leave()
        # Before its deadline it may arrive: no stop is put back, and nothing else is sold.
        await wait_for_no_protection(desk, "it is not known what the exit has sold")
        await desk.pass_time(4)
        await desk.until(lambda: desk.executor.position.is_flat)

    run(scenario)


def test_a_stop_limit_whose_lowest_price_was_passed_is_not_shown_as_protection(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        settings = structs.replace(desk.context.settings, stop_limit=0.01)
        desk.context = structs.replace(desk.context, settings=settings)
        desk.start()
        await desk.hold()
        await desk.until(lambda: "on the exchange" in format_stop_status(desk))
        forget_stream_prices(desk)
        await desk.move_price(0.9)
        await desk.until(lambda: "protection" in desk.problems)
        assert len(desk.resting) == 1
        assert "has jumped over the lowest price" in format_stop_status(desk)
        assert "on the exchange" not in format_stop_status(desk)

    run(scenario)


def test_the_stop_of_a_position_does_not_wait_because_an_earlier_one_was_refused(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: "protection" in desk.problems)
        desk.simulator.faults.clear()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        await desk.hold()

    run(scenario, NO_STOPS, times=structs.replace(QUICK, stop_again=600.0))


def test_an_unknown_stop_is_no_protection_because_nothing_is_sold_meanwhile(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await wait_for_no_protection(desk, "it is not acknowledged yet")
        desk.leave()
        await desk.drive(0.3)
        assert desk.sold == 0
        assert "NONE" in format_stop_status(desk)
        desk.simulator.faults.clear()
        await desk.pass_time(4)
        await desk.until(lambda: desk.executor.position.is_flat)

    run(
        scenario,
        Fault("reset", method="POST", path="/api/v3/order", nth=2, count=1, when="before"),
        Fault("status", method="GET", path="/api/v3/order", status=503, when="before"),
        baseline=BALANCE,
    )
