"""Positions above the largest market order: capped entries, exits in parts."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec import structs

from live_desk import QUICK, LiveDesk
from onetape.execution.risk_limits import RiskLimits
from onetape.simulator.faults.model import Fault
from trader.live.executors import settle_orders

LIMITLESS = RiskLimits(max_orders_per_minute=1_000)


def shrink(one: LiveDesk, most: str, *, is_known: bool = True) -> None:
    """Let the exchange take smaller market orders from now on.

    Args:
        one: Whose exchange.
        most: Largest market order, base currency.
        is_known: Whether the trader has read the market since.
    """
    one.simulator.account.change_rules("BTC/USDT", max_market_quantity=Decimal(most))
    if is_known:
        read_market(one, most)


def read_market(one: LiveDesk, most: str) -> None:
    """Take the market as the exchange states it now, as a running session does."""
    stated = structs.replace(one.context.market, max_market_amount=Decimal(most))
    one.executor.note_market(stated)


def list_sold_amounts(one: LiveDesk) -> list[Decimal]:
    """Return the amounts of the market orders to sell that the simulator has filled."""
    orders = one.simulator.account.exchange.orders.values()
    found = [order for order in orders if (order.side, order.request.type) == ("SELL", "MARKET")]
    return [Decimal(order.filled).scaleb(-5) for order in found if order.filled]


def test_row_136_an_entry_is_capped_at_the_largest_market_order(
    run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(one: LiveDesk) -> None:
        assert one.executor.sizes.at_market == Decimal("97.09521"), "as the exchange states it"
        shrink(one, "0.04")
        await one.hold()
        assert sum(trade.amount for trade in one.fills) == Decimal("0.04")
        (stop,) = one.resting
        assert (stop.request.type, stop.request.quantity) == ("STOP_LOSS", 3_996)
        one.leave()
        await one.until(lambda: one.executor.position.is_flat)
        one.assert_ledgers_equal()

    run(scenario, risk=LIMITLESS)
    assert "entry made smaller: 0.04 in place of 0.06" in capsys.readouterr().out


def test_row_136_a_larger_position_is_sold_in_parts_each_with_a_separate_order(
    run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        held = one.executor.position.base
        shrink(one, "0.025")
        first = one.leave()
        await one.until(lambda: one.executor.position.is_flat and not one.executor.orders)
        assert Decimal("0.05") < held < Decimal("0.075")
        parts = list_sold_amounts(one)
        assert len(parts) == 3
        assert max(parts) <= Decimal("0.025")
        assert min(parts) > Decimal("0.019"), "none is too small to be sold"
        assert sum(parts) == one.sold
        assert 0 <= one.coins < Decimal("0.00001")
        assert not one.has_pending_exit
        # Each part is a separate order with its intent and send, under one obligation.
        rows = one.query(
            "SELECT count(*), count(DISTINCT client_order_id), count(DISTINCT obligation), "
            "count(sent_ms), max(obligation = ?) FROM orders WHERE type = 'market' "
            "AND side = 'sell' AND status = 'closed'",
            first.obligation,
        )
        assert rows == [(3, 3, 1, 3, 1)]
        one.assert_ledgers_equal()

    run(scenario, risk=LIMITLESS)
    assert "because a market order may have 0.025 at most; the rest follows" in (
        capsys.readouterr().out
    )


def count_stops(one: LiveDesk) -> int:
    """Return how many stops the simulator has taken."""
    orders = one.simulator.account.exchange.orders.values()
    return sum(order.request.type != "MARKET" for order in orders)


async def drive_until_first_part_is_sold(one: LiveDesk) -> None:
    """Drive the orders until the first part of the exit is booked; no next one is stored."""
    held = one.executor.position.base
    one.leave()
    async with asyncio.timeout(60):
        while one.executor.position.base == held or one.executor.open_order is not None:
            one.lease.renew()
            one.executor.drive(one.exchange.now_ms())
            await asyncio.sleep(0.01)


def test_row_136_no_stop_is_placed_between_the_parts_of_an_exit(run: Callable[..., None]) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        shrink(one, "0.025")
        await drive_until_first_part_is_sold(one)
        await one.until(lambda: one.executor.position.is_flat and not one.executor.orders)
        assert len(list_sold_amounts(one)) == 3
        assert count_stops(one) == 1

    run(scenario, risk=LIMITLESS, times=structs.replace(QUICK, acknowledge=60.0))


def test_row_136_the_stop_is_placed_again_if_no_next_part_follows(run: Callable[..., None]) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        shrink(one, "0.025")
        await drive_until_first_part_is_sold(one)
        async with asyncio.timeout(60):
            while not one.resting:
                one.lease.renew()
                one.executor.drive(one.exchange.now_ms())
                await asyncio.sleep(0.01)
        assert len(list_sold_amounts(one)) == 1

    run(scenario, risk=LIMITLESS, times=structs.replace(QUICK, acknowledge=0.5))


def test_row_136_the_next_part_has_the_time_since_the_end_of_the_part_before(
    run: Callable[..., None],
) -> None:
    """The stop is placed again seconds after a part, not after each of two waits."""

    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        shrink(one, "0.025")
        await drive_until_first_part_is_sold(one)
        one.executor.drive(one.exchange.now_ms())
        ended = time.monotonic()
        await asyncio.sleep(0.05)
        one.resend()
        following = one.executor.exit
        assert following is not None
        assert following.unprotected_since is not None
        assert following.unprotected_since <= ended
        await one.until(lambda: one.executor.position.is_flat)

    run(scenario, risk=LIMITLESS, times=structs.replace(QUICK, acknowledge=60.0))


@pytest.mark.parametrize("is_sold", [False, True], ids=["part on its way", "part sold"])
def test_row_136_the_end_of_the_program_between_two_parts_leaves_a_stop_for_the_rest(
    run: Callable[..., None], is_sold: bool
) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        shrink(one, "0.025")
        if is_sold:
            await drive_until_first_part_is_sold(one)
        else:
            part = one.leave()
            async with asyncio.timeout(60):
                while part.client_order_id not in one.taken:
                    one.lease.renew()
                    one.executor.drive(one.exchange.now_ms())
                    await asyncio.sleep(0.001)
        assert await settle_orders(one.executor, one.exchange, one.lease)
        assert len(list_sold_amounts(one)) == 1
        assert one.has_pending_exit
        (stop,) = one.resting
        rest = one.executor.position.base - Decimal(stop.request.quantity).scaleb(-5)
        assert 0 <= rest < Decimal("0.00001")
        one.assert_ledgers_equal()

    run(scenario, risk=LIMITLESS, times=structs.replace(QUICK, acknowledge=60.0))


def test_a_part_whose_response_is_lost_is_looked_up_and_not_sent_again(
    run: Callable[..., None],
) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        shrink(one, "0.04")
        one.simulator.faults.add(
            Fault("reset", when="after", method="POST", path="/api/v3/order", count=1)
        )
        one.leave()
        await one.until(lambda: one.executor.position.is_flat and not one.executor.orders)
        assert len(list_sold_amounts(one)) == 2
        assert 0 <= one.coins < Decimal("0.00001")
        one.assert_ledgers_equal()

    run(scenario, risk=LIMITLESS)


def test_row_136_a_stop_that_is_too_large_for_a_market_order_has_a_limit_and_covers_all(
    run: Callable[..., None],
) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        (market_stop,) = one.resting
        assert market_stop.request.type == "STOP_LOSS"
        shrink(one, "0.025")
        level = Decimal("32000.00")
        one.executor.set_level_source(lambda: ("trailing_stop", level))
        await one.until(lambda: [stop.request.stop for stop in one.resting] == [3_200_000])
        (stop,) = one.resting
        assert stop.request.type == "STOP_LOSS_LIMIT"
        assert stop.request.price == 3_200_000 * 95 // 100
        assert stop.request.quantity == market_stop.request.quantity
        assert not one.problems
        # A price that falls to the level sells all of it, in one order.
        await one.move_price(0.955)
        await one.until(lambda: one.executor.position.is_flat)
        assert list_sold_amounts(one) == []
        one.assert_ledgers_equal()

    run(scenario, risk=LIMITLESS)


def test_row_136_the_part_that_no_stop_can_cover_is_watched_and_reported(
    run: Callable[..., None],
) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        stated = structs.replace(
            one.context.market, max_market_amount=Decimal("0.025"), max_cost=Decimal(1_000)
        )
        one.executor.note_market(stated)
        one.executor.set_level_source(lambda: ("trailing_stop", Decimal("32000.00")))
        # The stop that rests is for all of it, and a new one would be refused: it stays.
        await one.drive(0.5)
        (stop,) = one.resting
        assert stop.request.stop == 3_161_816
        assert not one.problems
        one.simulator.account.cancel_by_hand("BTC/USDT", client_id=stop.client_id)
        await one.until(lambda: "protection" in one.problems)
        await one.until(lambda: one.resting)
        (stop,) = one.resting
        assert Decimal(stop.request.quantity).scaleb(-5) == Decimal("0.03125")
        await one.until(lambda: "takes no stop of more" in (one.states.entry_obstacle or ""))
        assert "the stop at the exchange is for 0.03125 of 0.05996997 BTC" in (
            one.states.entry_obstacle or ""
        )

    run(scenario, risk=LIMITLESS)


def test_row_136_a_refusal_because_of_the_size_reads_the_market_again(
    run: Callable[..., None],
) -> None:
    async def scenario(one: LiveDesk) -> None:
        await one.hold()
        shrink(one, "0.025", is_known=False)
        assert not one.executor.is_market_due
        one.leave()
        await one.until(lambda: one.executor.is_market_due)
        read_market(one, "0.025")
        await one.until(lambda: one.executor.position.is_flat and not one.executor.orders)
        assert len(list_sold_amounts(one)) == 3
        one.assert_ledgers_equal()

    run(scenario, risk=LIMITLESS)
