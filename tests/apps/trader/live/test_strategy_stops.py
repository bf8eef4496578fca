"""Stops of a strategy with real orders: at the exchange, at the strategy's price, never lower."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec import structs

from bounded_run import run_bounded
from live_desk import BALANCE, QUICK, START_MS, LiveDesk, open_live_desk
from live_steps import BALANCE as SESSION_BALANCE
from live_steps import LIMITS
from onetape.core.trading import Decision, Order
from onetape.engine import ExitConfig
from onetape.execution.risk_limits import RiskLimits
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.price_moves import PriceMove
from onetape.simulator.server.simulator import Simulator
from onetape.store.ledger import insert_decision
from onetape.store.orders import insert_order
from session_harness import (
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)

Run = Callable[..., None]
StrategyFile = Callable[..., str]
#: The response to an order is lost; the exchange has taken the order.
LOST = Fault("reset", method="POST", path="/api/v3/order", count=1, when="after")
UNREAD = Fault("status", status=500, path="/api/v3/myTrades")
#: Open of the candle whose BUY leads to the entry, epoch seconds.
BOUGHT = START_MS // 1_000 // HOUR * HOUR - HOUR
#: BUY on the first hour of March; the stop of an hour is a part of that hour's close.
LADDER = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Ladder(Strategy):
    name: ClassVar[str] = "ladder"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        hour = (candles.timestamp - 1_709_251_200) // 3_600
        share = np.full(len(hour), np.nan)
        for known, part in {0: 0.90, 1: 0.93, 3: 0.91, 4: 0.94}.items():
            share[hour == known] = part
        first = candles.close[hour <= 0][-1]
        buy = (hour == 0).astype(np.int8)
        return Signals(buy, {}, stop=first * share, stop_mode="MODE")
"""


def decide(desk: LiveDesk, share: float) -> Order:
    """Store a BUY with a stop at a part of the price, and the intent of its order; send nothing."""
    indicators = {"stop at_entry": desk.price * share}
    session, now_ms = desk.context.session.session, desk.exchange.now_ms()
    decision = Decision(uuid4().hex, session, BOUGHT, 1, indicators, {}, "BUY", now_ms)
    insert_decision(desk.store, decision, None, desk.lease.fence)
    order = structs.replace(desk.order("buy", "market"), signal_timestamp=BOUGHT)
    insert_order(desk.store, order, desk.lease.fence)
    desk.executor.place(order, now_ms)
    return order


def price_of(one: LiveDesk | SteppedMarket) -> Decimal | None:
    """Return the price of the only stop that rests at the simulator; None: none rests."""
    resting = one.simulator.account.exchange.get_open_orders()
    assert len(resting) <= 1
    return Decimal(resting[0].request.stop).scaleb(-2) if resting else None


def is_near(price: Decimal | None, expected: float) -> bool:
    """Return whether a stop is at a price, rounded to the market's step of 0.01."""
    return price is not None and abs(float(price) - expected) < 0.011


def test_row_144_the_strategys_stop_rests_before_the_rules_have_the_position(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        decide(desk, 0.9)
        desk.turn()
        await desk.until(lambda: is_near(price_of(desk), desk.price * 0.9))
        assert desk.stop_state is not None

    run(scenario, stop_loss=None)


def test_row_144_of_two_stops_the_higher_one_rests_before_the_rules_have_the_position(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        decide(desk, 0.98)
        desk.turn()
        await desk.until(lambda: is_near(price_of(desk), desk.price * 0.98))

    run(scenario, stop_loss=0.05)


def test_row_144_a_restart_before_the_rules_have_the_position_keeps_the_strategys_stop(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path = tmp_path / "x.db"
            async with open_live_desk(path, simulator=simulator, stop_loss=None) as first:
                decide(first, 0.9)
                first.turn()
                await first.until(lambda: first.resting)
                await first.until(lambda: first.executor.stops[0].state.stage == "open")
                (stop,) = first.resting
            async with open_live_desk(path, simulator=simulator, number=2, stop_loss=None) as again:
                await again.until_read()
                await again.drive(0.3)
                assert again.resting == [stop]
                assert again.stop_state is not None
                assert again.stop_state.place == "exchange"

    asyncio.run(scenario())


def test_row_144_a_stop_that_rests_stays_while_the_rules_do_not_know_the_position(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        level = Decimal(repr(round(desk.price * 0.9, 2)))
        desk.executor.set_level_source(lambda: ("trailing_stop", level))
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        desk.executor.set_level_source(lambda: None, lambda: False)
        await desk.drive(0.3)
        assert price_of(desk) == level
        # Rules that know the position, and have no stop for it, cancel the stop.
        desk.executor.set_level_source(lambda: None)
        await desk.until(lambda: not desk.resting)

    run(scenario, stop_loss=None)


def test_row_144_an_entry_without_known_executions_gets_the_strategys_stop(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(LOST)
        desk.simulator.faults.add(UNREAD)
        decide(desk, 0.9)
        desk.turn()
        await desk.until(lambda: desk.states.has_problem("executions"))
        await desk.until(lambda: is_near(price_of(desk), desk.price * 0.9))
        assert desk.executor.position.is_flat

    run(scenario, stop_loss=None, baseline=BALANCE)


def test_row_144_an_entry_whose_own_stop_would_be_under_the_minimum_is_not_sent(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = decide(desk, 0.8)
        desk.turn()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        (reason,) = desk.query("SELECT reason FROM orders WHERE side = 'buy'")[0]
        assert "its stop would sell for" in reason

    # 20 % below the entry the value of a 6 USDT order is below the market's minimum value of 5.
    run(scenario, stop_loss=None, risk=RiskLimits(max_order=Decimal(6)))


async def enter(opened: SteppedMarket, trading: SessionHarness) -> float:
    """Enter in the second hour and wait for the stop; return the close of the first hour."""
    await trading.until_live(opened)
    await opened.go_to(1.02)
    await trading.until(lambda: price_of(opened) is not None)
    return opened.truth(MARCH, MARCH + HOUR)[MARCH].close


async def step(opened: SteppedMarket, trading: SessionHarness, hour: int) -> None:
    """Close the candle before an hour, and wait for the decision on it."""
    await opened.go_to(hour + 0.02)
    await trading.until_decided(hour - 1)


def stored_stops(trading: SessionHarness) -> list[float]:
    """Return the prices of all stops that were stored, in their order."""
    rows = trading.query("SELECT stop_price FROM orders WHERE is_protection ORDER BY decided_ms")
    return [float(row[0]) for row in rows]


def test_row_144_a_stop_of_each_candle_is_moved_up_by_one_request_and_kept_without_a_price(
    db: Path, strategy_file: StrategyFile
) -> None:
    strategy = strategy_file(LADDER.replace("MODE", "each_candle"), "ladder")

    async def scene() -> None:
        async with (
            open_market(0.25, balance=SESSION_BALANCE) as opened,
            open_session(
                opened, db, strategy=strategy, cash="10000", live=QUICK, risk=LIMITS
            ) as trading,
        ):
            # A stop that is cancelled first and placed again would leave the position without one.
            opened.simulator.faults.add(
                kind="status", when="before", method="DELETE", path="/api/v3/order", status=500
            )
            close = await enter(opened, trading)
            assert is_near(price_of(opened), close * 0.90)
            await step(opened, trading, 2)
            await trading.until(lambda: is_near(price_of(opened), close * 0.93))
            # No price, then a lower one.
            await step(opened, trading, 3)
            await step(opened, trading, 4)
            assert is_near(price_of(opened), close * 0.93)
            await step(opened, trading, 5)
            await trading.until(lambda: is_near(price_of(opened), close * 0.94))
            expected = [close * share for share in (0.90, 0.93, 0.94)]
            assert stored_stops(trading) == pytest.approx(expected, abs=0.011)
            assert not opened.simulator.faults.log

    run_bounded(scene(), 180.0)


def test_row_144_a_stop_at_the_entry_stays_where_later_candles_have_others(
    db: Path, strategy_file: StrategyFile
) -> None:
    strategy = strategy_file(LADDER.replace("MODE", "at_entry"), "ladder")

    async def scene() -> None:
        async with (
            open_market(0.25, balance=SESSION_BALANCE) as opened,
            open_session(
                opened, db, strategy=strategy, cash="10000", live=QUICK, risk=LIMITS
            ) as trading,
        ):
            close = await enter(opened, trading)
            for hour in (2, 3, 4, 5):
                await step(opened, trading, hour)
            assert is_near(price_of(opened), close * 0.90)
            assert stored_stops(trading) == pytest.approx([close * 0.90], abs=0.011)

    run_bounded(scene(), 180.0)


def test_row_144_a_live_stop_moves_to_break_even_once_the_profit_is_reached(
    db: Path, strategy_file: StrategyFile
) -> None:
    strategy = strategy_file(LADDER.replace("MODE", "at_entry"), "ladder")
    exits = ExitConfig(stop_loss=0.05, break_even=0.01)

    async def scene() -> None:
        async with (
            open_market(0.25, balance=SESSION_BALANCE) as opened,
            open_session(
                opened, db, strategy=strategy, exits=exits, cash="10000", live=QUICK, risk=LIMITS
            ) as trading,
        ):
            await enter(opened, trading)
            simulated = opened.simulator.market
            # A rise at the open: the candle's low is above the break-even price.
            rise = PriceMove(MARCH + 2 * HOUR, None, 1.03)
            simulated.add_move(simulated.get_symbol(KEY.symbol), rise)
            fills = trading.fills()
            paid = sum(one.price * one.amount for one in fills) / sum(one.amount for one in fills)
            assert is_near(price_of(opened), float(paid) * 0.95)
            await step(opened, trading, 2)
            even = float(paid) * trading.context.rules.exits.break_even_stop
            assert even > paid
            # The resting stop moves once the candle with the rise has closed.
            await step(opened, trading, 3)
            await trading.until(lambda: is_near(price_of(opened), even))

    run_bounded(scene(), 180.0)
