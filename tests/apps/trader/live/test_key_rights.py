"""Rights of the API key that change while a trader runs: states and stops."""

from collections.abc import Callable

from msgspec import structs

from live_desk import QUICK, LiveDesk
from onetape.simulator.faults.model import Fault
from trader.live.key_watch import KEY_PROBLEM, make_rights_watch
from trader.states import Problem

Run = Callable[..., None]
NAME = "simulator"
OFTEN = structs.replace(QUICK, key_rights=0.05, key_rights_again=0.05)
#: The exchange refuses every order but the first one.
NO_STOP = Fault(
    "status", method="POST", path="/api/v3/order", nth=2, count=1_000, status=400, code=-2010,
    text="no", when="before",
)  # fmt: skip
NEVER = structs.replace(QUICK, key_rights=3_600.0, key_rights_again=3_600.0)


def has_problem(desk: LiveDesk) -> bool:
    return desk.states.has_problem(KEY_PROBLEM)


def count_stop_cancels(desk: LiveDesk) -> int:
    """Return how many requests to cancel the stop are stored."""
    kind = "SELECT count(*) FROM order_events WHERE kind = 'cancel_requested'"
    return int(desk.query(kind)[0][0])


def test_a_key_that_gains_the_right_to_withdraw_stops_entries_and_no_exit(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        assert not has_problem(desk)
        keys = desk.simulator.account.keys
        keys.change(NAME, withdrawals=True)
        await desk.until(lambda: has_problem(desk))
        assert desk.states.state == "degraded"
        obstacle = desk.states.entry_obstacle
        assert obstacle is not None
        assert "the API key may move money out of simulator" in obstacle
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        keys.change(NAME, withdrawals=False)
        await desk.until(lambda: not has_problem(desk))
        assert desk.states.entry_obstacle is None

    run(scenario, times=OFTEN)


def test_a_key_that_may_not_trade_any_more_halts_until_it_may(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        keys = desk.simulator.account.keys
        keys.change(NAME, trading=False)
        await desk.until(lambda: has_problem(desk))
        assert desk.states.state == "halted"
        desk.leave()
        await desk.drive(0.3)
        assert count_stop_cancels(desk) == 0, "a cancel would be refused, again and again"
        # The stop stays where it is, or the coins would have neither.
        assert len(desk.resting) == 1
        keys.change(NAME, trading=True)
        await desk.until(lambda: not has_problem(desk))
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario, times=OFTEN)


def test_the_rights_are_read_when_an_order_is_refused_because_of_the_key(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.balance_is_known)
        keys = desk.simulator.account.keys
        keys.change(NAME, trading=False)
        await desk.drive(0.3)
        assert not has_problem(desk)
        desk.leave()
        await desk.until(lambda: has_problem(desk))
        refused = count_stop_cancels(desk)
        await desk.drive(1)
        assert count_stop_cancels(desk) == refused
        assert len(desk.resting) == 1
        keys.change(NAME, trading=True)
        rights = desk.executor.broker.key_rights
        assert rights is not None
        rights.read_soon()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario, times=NEVER)


def test_a_missing_stop_is_shown_as_none_while_the_key_may_not_trade(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")
        await desk.until(lambda: desk.executor.balance_is_known)
        keys = desk.simulator.account.keys
        keys.change(NAME, trading=False)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "none")
        assert desk.stop_state is not None
        assert "the API key may not trade" in desk.stop_state.reason
        keys.change(NAME, trading=True)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")

    run(scenario, NO_STOP, times=structs.replace(OFTEN, stop_again=600.0))


def test_row_69_a_key_that_is_revoked_leaves_no_level_watched_while_the_trader_runs(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")
        await desk.until(lambda: desk.executor.balance_is_known)
        keys = desk.simulator.account.keys
        key = keys.get_key(NAME)
        keys.revoke(NAME)
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "none")
        assert desk.states.state == "halted"
        assert "the API key is not accepted: " in (desk.states.entry_obstacle or "")
        keys.add(key)
        await desk.until(lambda: not has_problem(desk))
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")

    run(scenario, NO_STOP, times=structs.replace(NEVER, stop_again=600.0))


def test_row_69_a_key_that_is_revoked_leaves_no_level_watched_after_a_restart(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")
        desk.simulator.account.keys.revoke(NAME)
        desk.start()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "none")
        assert desk.stop_state is not None
        assert desk.stop_state.reason == "nothing is sold before the account is read"

    run(scenario, NO_STOP, times=structs.replace(NEVER, stop_again=600.0))


def test_row_69_a_key_that_may_not_trade_at_the_start_leaves_no_level_watched(run: Run) -> None:
    may_not = Problem("the API key may not trade", "nothing can be sent", "", is_final=True)
    may_withdraw = Problem("the API key may withdraw", "no entries", "")

    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "here")
        desk.simulator.account.keys.change(NAME, trading=False)
        client, broker = desk.client, desk.executor.broker
        assert make_rights_watch(client, may_withdraw) is None
        broker.key_rights = make_rights_watch(client, may_not)
        desk.start()
        await desk.until(lambda: has_problem(desk))
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "none")

    run(scenario, NO_STOP, times=structs.replace(NEVER, stop_again=600.0))


def test_row_69_a_stop_that_rests_is_shown_although_the_key_is_revoked_at_a_restart(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.stop_state and desk.stop_state.place == "exchange")
        desk.simulator.account.keys.revoke(NAME)
        desk.start()
        await desk.drive(0.3)
        assert desk.stop_state is not None
        assert desk.stop_state.place == "exchange"

    run(scenario, times=NEVER)


def test_rights_are_read_when_the_user_stream_is_back(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        broker = desk.executor.broker
        await desk.until(lambda: broker.stream_opened_ms is not None)
        await desk.drive(0.3)
        desk.simulator.account.keys.change(NAME, withdrawals=True)
        await desk.drive(0.3)
        assert not has_problem(desk)
        await desk.simulator.disconnect(0.2)
        await desk.until(lambda: has_problem(desk))

    run(scenario, times=NEVER, has_stream=True)


def test_rights_that_cannot_be_read_change_nothing(run: Run) -> None:
    path = "/sapi/v1/account/apiRestrictions"

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(Fault("status", status=500, path=path))
        await desk.drive(0.3)
        assert not has_problem(desk)
        assert desk.states.entry_obstacle is None

    run(scenario, times=OFTEN)
