"""Fills of live orders that are partial, late, duplicate or lost."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from live_desk import LiveDesk
from onetape.execution.broker import OrderReport
from onetape.execution.events import FillReport
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]
#: Two offers of 0.01 BTC on each side: an order for 2,000 USDT takes both and expires.
THIN = Fault("thin_book", levels=2, amount=0.01, ticks=50)


def test_row_60_an_entry_that_is_filled_in_part_is_a_position_with_its_stop(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: order.client_order_id not in desk.executor.orders)
        assert len(desk.fills) == 2
        position = desk.executor.position
        assert position.base == Decimal("0.02") * Decimal("0.999")
        assert Decimal(desk.resting[0].quantity).scaleb(-5) == Decimal("0.01998")
        (row,) = desk.query(
            "SELECT status, filled FROM orders WHERE client_order_id = ?", order.client_order_id
        )
        assert row == ("expired", "0.02")
        assert desk.query("SELECT count(*) FROM reservations") == [(0,)]
        desk.assert_ledgers_equal()

    run(scenario, THIN)


def test_row_60_a_restart_after_a_partial_fill_handles_it_once(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.enter()
        await desk.until_sent(order)
        desk.start()
        await desk.until(lambda: desk.resting)
        await desk.drive(0.3)
        assert len(desk.fills) == 2
        desk.assert_ledgers_equal()

    run(scenario, THIN)


def test_row_60_an_exit_that_is_filled_in_part_goes_on_until_all_is_sold(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.simulator.faults.add(THIN)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        assert sum(trade.side == "sell" for trade in desk.fills) > 2
        assert desk.coins >= 0
        desk.assert_ledgers_equal()

    run(scenario)


def test_a_position_that_no_order_can_sell_is_named_dust_and_entries_go_on(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.executor.entry_order_id)
        await desk.until(lambda: "protection" in desk.problems)
        desk.simulator.faults.clear()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert desk.sold == 0
        assert "left on the account as dust: 0.0000999 BTC" in capsys.readouterr().out
        await desk.until(lambda: not desk.problems)
        assert desk.query("SELECT end_reason FROM exit_obligations") == [
            ("the position is closed",)
        ]
        await desk.drive(0.3)
        assert "note: " not in capsys.readouterr().out
        await desk.hold()

    # An offer of 3.30 USDT: less than the market lets one sell.
    run(scenario, Fault("thin_book", levels=1, amount=0.0001, ticks=50))


def test_a_large_position_is_never_dust_whatever_the_exchange_responds(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.simulator.faults.add(
            Fault("status", method="POST", path="/api/v3/order", count=1, when="before",
                  status=400, code=-1013, text="Filter failure: NOTIONAL")
        )  # fmt: skip
        desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        assert not desk.executor.position.is_flat
        await desk.until(lambda: desk.executor.position.is_flat)
        assert desk.sold > 0
        desk.assert_ledgers_equal()

    run(scenario)


@pytest.mark.parametrize("shape", ["orders", "fills", "balances", "all"])
def test_orders_that_the_exchange_shows_late_are_neither_lost_nor_sent_twice(
    run: Run, shape: str
) -> None:
    hidden = Fault("visibility_delay", seconds=5, shape=shape)
    lost = Fault("reset", when="after", method="POST", path="/api/v3/order", count=1)

    async def scenario(desk: LiveDesk) -> None:
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 60_000)
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(hidden)
        order = desk.enter()
        await desk.until_sent(order)
        await desk.drive(0.4)
        status = "SELECT status FROM orders WHERE client_order_id = ?"
        assert desk.query(status, order.client_order_id) != [("absent",)]
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 6_000)
        await desk.until(lambda: desk.executor.entry_order_id == order.client_order_id)
        await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 6_000)
        await desk.until(lambda: desk.resting)
        assert desk.taken.count(order.client_order_id) == 1
        assert sum(row[0] for row in desk.query("SELECT side = 'buy' FROM orders")) == 1
        desk.assert_ledgers_equal()

    run(scenario, lost)


def test_row_61_duplicate_reordered_and_lost_reports_change_nothing(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.enter()
        reports = await desk.next_reports()
        # Lost: the status. Reordered and doubled: the rest.
        kept = [one for one in reports if isinstance(one.event, FillReport)]
        for one in [*kept, *kept, *kept]:
            desk.report(OrderReport(order.client_order_id, one.event))
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: order.client_order_id not in desk.executor.orders)
        assert len(desk.fills) == len(kept)
        desk.assert_ledgers_equal()

    run(scenario, THIN)


def test_an_entry_whose_stop_would_be_under_the_minimum_is_not_sent(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        rejected = "SELECT reason FROM orders WHERE status = 'rejected' AND client_order_id = ?"
        await desk.until(lambda: desk.query(rejected, order.client_order_id))
        assert "at its stop" in desk.query(rejected, order.client_order_id)[0][0]
        assert desk.taken == []

    run(scenario, quote_amount=5.5, stop_loss=0.2)
