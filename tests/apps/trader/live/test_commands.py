"""Commands and rules while the state of an entry at the exchange is unknown."""

from collections.abc import Callable, Generator
from decimal import Decimal

import numpy as np
import pytest
from msgspec import structs

from live_desk import ACCOUNT, KEY, START_MS, LiveDesk
from onetape.core.candles import Candle, Candles
from onetape.core.trading import Decision, Order
from onetape.engine import ExitConfig
from onetape.execution.events import FillReport, StatusReport
from onetape.simulator.faults.model import Fault
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.controls import NewControl, insert_controls
from onetape.store.ledger import insert_decision
from onetape.strategies import Signals
from trader.account_context import AccountContext, build_account_context
from trader.control_watch import ControlWatch
from trader.evaluator.messages import LoadedStrategy
from trader.exit_journal import ExitJournal
from trader.exit_orders import ExitOrders
from trader.gap_backfiller import GapBackfiller
from trader.rule_runner import RuleRunner
from trader.stream_recorder import StreamRecorder

Run = Callable[..., None]
HOUR = 3_600
NO_EXITS = ExitConfig()
#: The candle in which the entry is executed, epoch seconds.
ENTERED = START_MS // 1_000 // HOUR * HOUR


class RulesWithCommands:
    """The rules of a live symbol and the commands to it, as a session builds them."""

    def __init__(self, desk: LiveDesk, journal: ExitJournal, exits: ExitConfig) -> None:
        context = structs.replace(
            desk.context,
            rules=structs.replace(desk.context.rules, exits=exits),
            strategy=LoadedStrategy("test", 1, 0, (), {}, "0"),
        )
        account_context: AccountContext = build_account_context([context])
        recorder = StreamRecorder(context, desk.exchange, GapBackfiller(context, desk.exchange))
        executor, exchange, lease = desk.executor, desk.exchange, desk.lease
        self.orders = ExitOrders(context, exchange, executor, lease, recorder, journal)
        self.runner = RuleRunner(
            context, exchange, executor, self.orders, recorder, account_context.rules
        )
        self.commands = ControlWatch(
            context, exchange, self.orders, self.runner, desk.states, account_context
        )
        self._desk = desk

    async def look(self, verb: str | None = None) -> list[bool]:
        """Give a command, look for commands once, and return which of them are done."""
        desk = self._desk
        if verb is not None:
            row = NewControl(ACCOUNT, verb, START_MS, "anna on host", KEY.symbol)
            insert_controls(desk.store, [row])
        await self.commands.carry_out_commands()
        done = desk.query("SELECT done_ms IS NOT NULL FROM controls ORDER BY id")
        return [bool(one) for (one,) in done]

    async def until(self, holds: Callable[[], object]) -> None:
        """Drive the orders until a condition holds, and pass their results to the rules."""
        await self._desk.until(holds)
        self.runner.settle()


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., RulesWithCommands]]:
    """Return a function that builds the rules of a desk, which reads commands without a pause."""
    monkeypatch.setattr("trader.control_watch.CHECK_SECONDS", 0.0)
    journals: list[ExitJournal] = []

    def build(desk: LiveDesk, exits: ExitConfig = NO_EXITS) -> RulesWithCommands:
        journals.append(ExitJournal(desk.store.path, ACCOUNT))
        return RulesWithCommands(desk, journals[-1], exits)

    yield build
    for one in journals:
        one.close()


async def send_entry(desk: LiveDesk) -> Order:
    """Send an order to buy that is executed, and store nothing of its response."""
    insert_closed_rows(desk.store, KEY, [make_candle(-1)], source="rest", seen_ms=START_MS)
    replace_forming(desk.store, KEY, make_candle(0), seen_ms=START_MS)
    await desk.until(lambda: desk.executor.balance_is_known)
    order = desk.enter()
    await desk.until_sent(order)
    return order


def make_candle(hour: int) -> Candle:
    """Return the candle a number of hours after that of the entry."""
    return Candle(ENTERED + hour * HOUR, 33_000.0, 33_000.0, 33_000.0, 33_000.0, 1.0)


@pytest.mark.parametrize("verb", ["flatten", "exit"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_command_closes_a_position_whose_entry_was_in_flight_once_it_is_known(
    run: Run,
    rules: Callable[..., RulesWithCommands],
    capsys: pytest.CaptureFixture[str],
    verb: str,
    is_restarted: bool,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = await send_entry(desk)
        trading = rules(desk)
        assert await trading.look(verb) == [False]
        assert await trading.look() == [False]
        if is_restarted:
            desk.start()
            trading = rules(desk)
            assert await trading.look() == [False]
        await trading.until(lambda: desk.state_of(order.client_order_id) == "closed")
        assert desk.executor.entry_order_id == order.client_order_id
        assert await trading.look() == [True]
        await trading.until(lambda: desk.executor.position.is_flat)
        assert await trading.look() == [True]
        assert desk.resting == []
        desk.assert_ledgers_equal()

    run(scenario)
    lines = capsys.readouterr().out
    waits = f"{verb} by anna on host: coins of the order to buy are sold once its fills are known"
    assert lines.count(waits) == 1 + is_restarted
    assert "there is no position to close" not in lines


def test_a_command_after_the_first_part_of_an_entry_sells_all_parts(
    run: Run, rules: Callable[..., RulesWithCommands]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = await send_entry(desk)
        executor, trading = desk.executor, rules(desk)
        # The response to the order names both executions; the second one comes later here.
        found = await desk.next_reports()
        number = next(n for n, one in enumerate(found) if isinstance(one.event, FillReport))
        for one in found[: number + 1]:
            desk.report(one)
        executor.drive(desk.exchange.now_ms())
        trading.runner.settle()
        assert len(desk.fills) == 1
        assert await trading.look("flatten") == [False]
        assert not desk.has_pending_exit
        for one in found[number + 1 :]:
            desk.report(one)
        await trading.until(lambda: desk.state_of(order.client_order_id) == "expired")
        desk.simulator.faults.clear()
        bought = executor.position.base
        assert await trading.look() == [True]
        await trading.until(lambda: executor.position.is_flat)
        assert bought - desk.sold < Decimal("0.00001")
        assert [one.side for one in desk.fills].count("buy") == 2

    # Two offers of 0.01 BTC on each side: an order for 2,000 USDT takes both and expires.
    run(scenario, Fault("thin_book", levels=2, amount=0.01, ticks=50))


def test_a_command_to_close_ends_once_the_entry_was_refused(
    run: Run, rules: Callable[..., RulesWithCommands], capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.enter()
        trading = rules(desk)
        assert await trading.look("flatten") == [False]
        await trading.until(lambda: desk.state_of(order.client_order_id) == "rejected")
        assert await trading.look() == [True]

    refusal = Fault(
        "status", method="POST", path="/api/v3/order", count=1, status=400, code=-2010, text="no",
        when="before",
    )  # fmt: skip
    run(scenario, refusal)
    assert "flatten by anna on host: there is no position to close" in capsys.readouterr().out


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_halt_reports_an_order_that_was_sent_once_and_cancels_nothing(
    run: Run, rules: Callable[..., RulesWithCommands], capsys: pytest.CaptureFixture[str], side: str
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = await send_entry(desk)
        if side == "sell":
            await desk.until(lambda: desk.resting)
            order = desk.leave()
            await desk.until(lambda: order.client_order_id in desk.taken)
        trading = rules(desk)
        assert desk.state_of(order.client_order_id) == "sent"
        for _ in range(3):
            await trading.look("halt")
        await desk.until(lambda: desk.state_of(order.client_order_id) == "closed")

    run(scenario)
    lines = capsys.readouterr().out
    sent = f"the order to {side} was sent already and cannot be taken back; it is looked up"
    assert lines.count(sent) == 1
    assert "is cancelled: halted" not in lines


def test_a_halt_cancels_an_order_that_was_not_sent_and_prints_that_once(
    run: Run, rules: Callable[..., RulesWithCommands], capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.intend_entry()
        trading = rules(desk)
        for _ in range(2):
            await trading.look("halt")
        assert desk.state_of(order.client_order_id) == "absent"
        assert desk.taken == []

    run(scenario)
    assert capsys.readouterr().out.count("the order to buy is cancelled: halted by anna") == 1


@pytest.mark.parametrize("is_stored_late", [False, True])
def test_the_rules_sell_a_position_that_was_found_after_the_first_decision(
    run: Run, rules: Callable[..., RulesWithCommands], is_stored_late: bool
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = await send_entry(desk)
        # The process is killed here, and the next one starts one candle later.
        await desk.pass_time(HOUR)
        store, now_ms = desk.store, desk.exchange.now_ms()
        desk.start()
        trading = rules(desk, ExitConfig(time_stop_bars=1))
        runner = trading.runner
        runner.watch_closed(ENTERED - HOUR)
        runner.decide(*make_window(ENTERED - HOUR), 0, can_enter=False, levels=None)
        await trading.until(lambda: desk.executor.open_order is None)
        assert desk.executor.entry_order_id == order.client_order_id
        if is_stored_late:
            # Nothing is known of the candle that filled the entry.
            with store.write() as connection:
                connection.execute("DELETE FROM ohlcv_data WHERE timestamp = ?", (ENTERED,))
            runner.watch_closed(ENTERED - HOUR)
        insert_closed_rows(store, KEY, [make_candle(0)], source="rest", seen_ms=now_ms)
        replace_forming(store, KEY, make_candle(1), seen_ms=now_ms)
        runner.watch_forming(ENTERED)
        leaving = desk.executor.open_order
        assert leaving is not None
        assert (leaving.side, leaving.type) == ("sell", "time_stop")
        await trading.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario)


def make_window(timestamp: int) -> tuple[Candles, Signals]:
    """Return the window of a strategy with lookback 1, and its signal HOLD."""
    price = np.array([33_000.0])
    times = np.array([timestamp], np.int64)
    candles = Candles.from_columns(times, price, price, price, price, price)
    return candles, Signals(np.array([0], np.int8), {})


def test_a_sell_during_an_entry_in_flight_sells_once_the_entry_is_known(
    run: Run, rules: Callable[..., RulesWithCommands]
) -> None:
    unknown = (
        Fault("reset", method="POST", path="/api/v3/order", count=1, when="after"),
        Fault("status", method="GET", path="/api/v3/order", status=503, when="before"),
    )

    async def scenario(desk: LiveDesk) -> None:
        store, now_ms = desk.store, desk.exchange.now_ms()
        insert_closed_rows(store, KEY, [make_candle(-1)], source="rest", seen_ms=now_ms)
        replace_forming(store, KEY, make_candle(0), seen_ms=now_ms)
        await desk.until(lambda: desk.executor.balance_is_known)
        for fault in unknown:
            desk.simulator.faults.add(fault)
        trading = rules(desk, ExitConfig(take_profit=0.5))
        runner = trading.runner
        runner.watch_closed(ENTERED - HOUR)
        order = desk.intend_entry()
        desk.quote()
        runner.decide(*make_window(ENTERED - HOUR), 1, can_enter=True, levels=None)
        runner.watch_forming(ENTERED - HOUR)
        await trading.until(lambda: desk.state_of(order.client_order_id) == "unknown")
        # The candle of the entry closes with a SELL before it is known what the order has become.
        await desk.pass_time(HOUR)
        now_ms = desk.exchange.now_ms()
        insert_closed_rows(store, KEY, [make_candle(0)], source="rest", seen_ms=now_ms)
        replace_forming(store, KEY, make_candle(1), seen_ms=now_ms)
        runner.watch_closed(ENTERED)
        runner.decide(*make_window(ENTERED), -1, can_enter=False, levels=None)
        runner.watch_forming(ENTERED)
        assert desk.executor.position.is_flat
        desk.simulator.faults.clear()
        await trading.until(lambda: desk.executor.entry_order_id == order.client_order_id)
        await trading.until(lambda: desk.executor.open_order is None)
        runner.watch_forming(ENTERED)
        assert desk.has_pending_exit
        await trading.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        causes = desk.query("SELECT cause, end_reason FROM exit_obligations")
        assert causes == [("market", "filled")]
        desk.assert_ledgers_equal()

    run(scenario)


@pytest.mark.parametrize("newest", ["SELL", "BUY after it", "SELL held back", "SELL at a loss"])
def test_a_sell_from_before_a_restart_sells_a_position_that_is_found_later(
    run: Run, rules: Callable[..., RulesWithCommands], newest: str
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = await send_entry(desk)
        store = desk.store
        # It was decided on while it was not known what the order had become.
        gates = {"candles": "missing" if newest == "SELL held back" else "ok"}
        insert_decision(store, make_decision(desk, ENTERED, -1, gates), None, desk.lease.fence)
        if newest == "BUY after it":
            later = make_decision(desk, ENTERED + HOUR, 1, gates)
            insert_decision(store, later, None, desk.lease.fence)
        await desk.pass_time(HOUR)
        insert_closed_rows(
            store, KEY, [make_candle(0)], source="rest", seen_ms=desk.exchange.now_ms()
        )
        replace_forming(store, KEY, make_candle(1), seen_ms=desk.exchange.now_ms())
        desk.start()
        # It was bought over 33,000, the close of the candle with the SELL.
        exits = ExitConfig(exit_profit_offset=0.0 if newest == "SELL at a loss" else None)
        trading = rules(desk, exits)
        trading.runner.watch_forming(ENTERED)
        assert desk.executor.position.is_flat
        await trading.until(lambda: desk.executor.entry_order_id == order.client_order_id)
        await trading.until(lambda: desk.executor.open_order is None)
        trading.runner.watch_forming(ENTERED)
        assert desk.has_pending_exit == (newest == "SELL")
        if newest == "SELL":
            await trading.until(lambda: desk.executor.position.is_flat)
            desk.assert_ledgers_equal()

    run(scenario)


def make_decision(desk: LiveDesk, timestamp: int, signal: int, gates: dict[str, str]) -> Decision:
    """Return the decision on a candle that led to no order."""
    session = desk.context.session.session
    return Decision(
        decision=f"on {timestamp}", session=session, timestamp=timestamp, signal=signal,
        indicators={}, gates=gates, action="HOLD", decided_ms=desk.exchange.now_ms(),
    )  # fmt: skip


def test_a_restart_ends_no_exit_of_a_position_whose_entry_is_partly_unknown(
    run: Run, rules: Callable[..., RulesWithCommands]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await send_entry(desk)
        for one in await desk.next_reports():
            if not isinstance(one.event, StatusReport):
                desk.report(one)
        # All executions are known, and that there are no more is not.
        desk.simulator.faults.add(
            Fault("status", method="GET", path="/api/v3/order", status=503, when="before")
        )
        await desk.until(lambda: desk.fills)
        desk.leave()
        await desk.until(lambda: desk.has_exit("closed"))
        assert desk.executor.position.is_flat
        desk.start()
        rules(desk)
        pending = "SELECT count(*) FROM exit_obligations WHERE ended_ms IS NULL"
        assert desk.query(pending) == [(1,)]
        desk.simulator.faults.clear()
        await desk.until(lambda: desk.query(pending) == [(0,)])

    run(scenario, Fault("thin_book", levels=1, amount=0.01, ticks=50))
