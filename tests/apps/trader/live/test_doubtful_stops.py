"""Stops at a start when others may have sold the position and baseline coins exist."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from live_desk import ACCOUNT, BALANCE, KEY, QUICK, START_MS, LiveDesk, open_live_desk
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.orders import insert_order
from onetape.store.sessions import start_session
from trader.live.times import LiveTimes

#: The history is not read: the first page of executions is of the reading.
LATE = Fault("latency", seconds=600.0, path="/api/v3/myTrades", nth=2)


@asynccontextmanager
async def start_after_change(
    path: Path, *, sold: str = "0", withdrawn: str = "0", is_cancelled: bool = False,
    times: LiveTimes = QUICK, withdrawn_before: str = "0",
) -> AsyncGenerator[LiveDesk]:  # fmt: skip
    """Open a position, end the program, change the account by hand, and start again.

    Args:
        path: Of the database.
        sold: What a person sells of the coins that are free, BTC.
        withdrawn: What a person withdraws, BTC.
        is_cancelled: Whether the person cancels the stop before that.
        times: Time limits after the start.
        withdrawn_before: What a person withdraws before the program ends, BTC.
    """
    clock = make_clock(start_ms=START_MS, stepped=True)
    async with Simulator(clock=clock, balance=BALANCE) as simulator:
        baseline = BALANCE if Decimal(withdrawn_before) else None
        async with open_live_desk(path, simulator=simulator, baseline=baseline) as desk:
            await desk.hold()
            await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
            if Decimal(withdrawn_before):
                simulator.account.withdraw("BTC", Decimal(withdrawn_before))
                await desk.until(lambda: desk.query("SELECT * FROM compared_balances"))
            await desk.pass_time(3_600)
        if is_cancelled:
            simulator.account.cancel_by_hand("BTC/USDT")
        if Decimal(sold):
            simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal(sold))
        if Decimal(withdrawn):
            simulator.account.withdraw("BTC", Decimal(withdrawn))
        async with open_live_desk(
            path, simulator=simulator, number=2, baseline=BALANCE, timeout_ms=300_000, times=times
        ) as desk:
            await desk.pass_time(3_600)
            yield desk


def stop_amounts(desk: LiveDesk) -> list[Decimal]:
    return [Decimal(one.quantity).scaleb(-5) for one in desk.resting]


def is_checked(desk: LiveDesk) -> bool:
    return desk.executor._account.is_checked  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["stop rests", "stop cancelled"])
def test_a_stop_that_rests_at_a_start_sells_no_coins_of_a_position_that_others_may_have_sold(
    tmp_path: Path, is_cancelled: bool
) -> None:
    async def scenario() -> None:
        async with start_after_change(
            tmp_path / "x.db", sold="0.06003", is_cancelled=is_cancelled
        ) as desk:
            desk.simulator.faults.add(LATE)
            await desk.until(lambda: is_checked(desk))
            await desk.until(lambda: not desk.resting)
            await desk.until(lambda: "protection" in desk.problems)
            await desk.drive(0.3)
            assert desk.resting == []
            assert desk.stop_state is not None
            assert desk.stop_state.place == "none"
            assert "others may have sold it" in desk.stop_state.reason

    asyncio.run(scenario())


def test_a_stop_for_coins_that_others_cannot_have_sold_rests_while_the_history_is_read(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with start_after_change(tmp_path / "x.db", sold="0.02") as desk:
            desk.simulator.faults.add(LATE)
            await desk.until(lambda: stop_amounts(desk) == [Decimal("0.03996")])
            await desk.until(lambda: "protection" in desk.problems)
            assert "others may have sold 0.02 BTC" in (desk.states.entry_obstacle or "")
            assert desk.stop_state is not None
            assert desk.stop_state.reason.startswith("for 0.03996 of 0.05996")

    asyncio.run(scenario())


def test_a_stop_that_rests_is_kept_where_the_history_is_read_in_time(tmp_path: Path) -> None:
    """Coins of the account's own were withdrawn, which looks like a sale of others at first."""

    async def scenario() -> None:
        times = structs.replace(QUICK, sale_doubt=600.0)
        async with start_after_change(tmp_path / "x.db", withdrawn="1", times=times) as desk:
            # The first page is of the reading.
            desk.simulator.faults.add(structs.replace(LATE, seconds=0.5))
            await desk.until(lambda: desk.executor.balance_is_known)
            await desk.drive(0.3)
            assert len(desk.resting) == 1
            assert len(desk.taken) == 2
            assert desk.problems == []

    asyncio.run(scenario())


def test_a_stop_is_placed_once_the_history_shows_that_own_coins_were_withdrawn(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with start_after_change(tmp_path / "x.db", withdrawn="1", is_cancelled=True) as desk:
            desk.simulator.faults.add(structs.replace(LATE, seconds=3.0))
            await desk.until(lambda: is_checked(desk))
            await desk.drive(0.2)
            assert desk.resting == []
            await desk.until(lambda: stop_amounts(desk) == [Decimal("0.05996")])
            await desk.until(lambda: desk.problems == [])

    asyncio.run(scenario())


def test_row_140_a_stop_is_placed_before_the_history_is_read_where_a_withdrawal_was_compared(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with start_after_change(
            tmp_path / "x.db", withdrawn_before="1", is_cancelled=True
        ) as desk:
            desk.simulator.faults.add(LATE)
            await desk.until(lambda: stop_amounts(desk) == [Decimal("0.05996")])
            assert not desk.executor._account.is_history_read  # pyright: ignore[reportPrivateUsage]
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)

    asyncio.run(scenario())


def hold_coins_in_another_symbol(desk: LiveDesk) -> None:
    """Store a position of the account in BTC/EUR, whose coins are at the exchange already."""
    other = structs.replace(desk.context.session, session="other", symbol="BTC/EUR")
    start_session(desk.store, other, desk.lease.fence)
    order = structs.replace(
        desk.order("buy", "market"), client_order_id="other-1", session="other", symbol="BTC/EUR"
    )
    insert_order(desk.store, order, desk.lease.fence)
    with desk.store.write() as connection:
        connection.execute(
            "INSERT INTO trades (exchange, symbol, exchange_trade_id, client_order_id, session, "
            "mode, account, side, price, amount, fee, fee_currency, executed_ms) "
            "VALUES (?, 'BTC/EUR', '1', 'other-1', 'other', 'live', ?, 'buy', '30000', '0.5', "
            "'0', 'EUR', ?)",
            (KEY.exchange, ACCOUNT, START_MS),
        )


def test_row_140_nothing_counts_as_complete_while_another_symbol_has_a_position_in_the_coin(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with (
            Simulator(clock=clock, balance=BALANCE) as simulator,
            open_live_desk(tmp_path / "x.db", simulator=simulator, baseline=BALANCE) as desk,
        ):
            await desk.hold()
            hold_coins_in_another_symbol(desk)
            simulator.account.withdraw("BTC", Decimal(1))
            account = desk.executor._account  # pyright: ignore[reportPrivateUsage]
            begun = [account.held.reading.begun if account.held.reading else 0.0]

            def has_read_again() -> bool:
                reading = account.held.reading
                if reading is not None and reading.begun > begun[-1]:
                    begun.append(reading.begun)
                return len(begun) > 4

            await desk.until(has_read_again)
            assert desk.query("SELECT * FROM compared_balances") == []

    asyncio.run(scenario())


def test_row_140_sales_of_others_after_a_comparison_are_still_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with start_after_change(
            tmp_path / "x.db", withdrawn_before="1", sold="0.06003", is_cancelled=True
        ) as desk:
            desk.simulator.faults.add(LATE)
            await desk.until(lambda: is_checked(desk))
            await desk.until(lambda: "protection" in desk.problems)
            await desk.drive(0.3)
            assert desk.resting == []

    asyncio.run(scenario())


def test_a_stop_that_rests_is_kept_while_no_executions_can_be_read(tmp_path: Path) -> None:
    """Coins of the account's own were withdrawn; the outage takes no stop from the position."""

    async def scenario() -> None:
        async with start_after_change(tmp_path / "x.db", withdrawn="1") as desk:
            unread = desk.simulator.faults.add(Fault("status", status=500, path="/api/v3/myTrades"))
            await desk.until(lambda: "account reading" in desk.problems)
            await desk.drive(0.8)
            assert stop_amounts(desk) == [Decimal("0.05996")]
            desk.simulator.faults.remove(unread)
            await desk.until(lambda: desk.problems == [])
            assert len(desk.taken) == 2

    asyncio.run(scenario())


def test_no_stop_is_placed_before_it_is_known_what_others_have_sold(tmp_path: Path) -> None:
    async def scenario() -> None:
        times = structs.replace(QUICK, missing=1.0)
        async with start_after_change(
            tmp_path / "x.db", sold="0.06003", is_cancelled=True, times=times
        ) as desk:
            account = desk.executor._account  # pyright: ignore[reportPrivateUsage]
            # The first page is of the reading, the second one of the history.
            desk.simulator.faults.add(structs.replace(LATE, seconds=1.0, nth=3))
            await desk.until(lambda: account.is_history_read)
            await desk.until(lambda: "coins" in desk.problems)
            assert desk.resting == []
            # The entry, its stop, and the sale by hand.
            assert len(desk.taken) == 3

    asyncio.run(scenario())
