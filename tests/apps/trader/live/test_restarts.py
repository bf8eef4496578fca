"""A restart with a position takes over its stop, and compares the account before any order."""

from collections.abc import Callable

from live_desk import LiveDesk
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]


def test_row_65_a_restart_with_a_position_takes_over_its_stop(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        stop = desk.resting[0].client_id
        held = desk.executor.position
        desk.start()
        assert desk.executor.position == held
        await desk.drive(0.4)
        assert [one.client_id for one in desk.resting] == [stop]
        assert len(desk.taken) == 2
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario)


def test_a_stop_that_fired_while_no_process_ran_is_booked_at_the_start(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.let_stop_fire()
        desk.start()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario, stop_loss=0.001)


def test_row_65_a_stop_that_was_cancelled_while_no_process_ran_is_set_again(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        desk.simulator.account.cancel_by_hand("BTC/USDT")
        await desk.pass_time(3_600)
        desk.start()
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "exchange")
        assert "protection" not in desk.problems
        assert len(desk.taken) == 3

    run(scenario)


def test_row_65_a_restart_sends_nothing_before_the_account_is_compared(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        # The file lacks the stop, which rests: a backup was restored. The account is not readable.
        with desk.store.write() as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("DROP TRIGGER order_events_are_not_deleted")
            stop = "SELECT client_order_id FROM orders WHERE is_protection"
            connection.execute(f"DELETE FROM order_events WHERE client_order_id IN ({stop})")
            connection.execute("DELETE FROM orders WHERE is_protection")
        number = desk.simulator.faults.add(Fault("status", path="/api/v3/account", status=503))
        desk.start()
        desk.enter()
        await desk.drive(0.4)
        assert len(desk.taken) == 2
        assert desk.executor.stops == []
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.stops)
        await desk.drive(0.2)
        # The stop is taken over, and no second one is placed.
        assert len(desk.resting) == 1
        assert len([one for one in desk.taken if one == desk.resting[0].client_id]) == 1

    run(scenario)
