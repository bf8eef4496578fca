"""Stops with a lowest price, and a sale at the market if the price passes it."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from live_desk import LiveDesk, open_live_desk
from onetape.simulator.faults.model import Fault


def scene(db: Path, play: Callable[[LiveDesk], Coroutine[Any, Any, None]], *faults: Fault) -> None:
    """Play with stops that sell at most 1 % under their level."""

    async def run() -> None:
        async with open_live_desk(db, *faults) as desk:
            settings = structs.replace(desk.context.settings, stop_limit=0.01)
            desk.context = structs.replace(desk.context, settings=settings)
            desk.start()
            await play(desk)

    asyncio.run(run())


async def fall_below_stop_limit(desk: LiveDesk) -> None:
    """Hold a position, then let the price fall by 10 %, over the stop and its lowest price."""
    await desk.hold()
    await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
    with desk.store.write() as connection:
        connection.execute("DELETE FROM ticker_data")
    await desk.move_price(0.9)


def test_a_stop_limit_has_a_lowest_price_that_moves_with_the_stop(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        (stop,) = desk.resting
        assert stop.request.type == "STOP_LOSS_LIMIT"
        assert (stop.request.stop, stop.request.price) == (3_161_816, 3_130_197)
        desk.executor.set_level_source(lambda: ("trailing_stop", Decimal("32000.00")))
        await desk.until(lambda: [one.request.stop for one in desk.resting] == [3_200_000])
        assert desk.resting[0].request.price == 3_168_000

    scene(tmp_path / "live.db", play)


@pytest.mark.parametrize("is_streaming", [True, False])
def test_a_price_that_jumps_over_a_stop_limit_sells_once_at_the_market(
    tmp_path: Path, is_streaming: bool
) -> None:
    async def play(desk: LiveDesk) -> None:
        def leave(kind: Any, level: Decimal, reason: str) -> None:
            if not desk.has_pending_exit:
                desk.leave(kind)

        if not is_streaming:
            desk.executor.set_level_exit(leave)
        await fall_below_stop_limit(desk)
        if is_streaming:
            # The rules have seen the level in the stream.
            desk.leave("stop_loss")
        began = asyncio.get_running_loop().time()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        # The stop has its time to fire, then it is cancelled.
        assert asyncio.get_running_loop().time() - began >= desk.executor.times.stop_fires
        sells = [one for one in desk.fills if one.side == "sell"]
        assert {one.client_order_id for one in sells} == {sells[0].client_order_id}
        assert desk.resting == []
        assert 0 <= desk.coins < Decimal("0.00001")
        desk.assert_ledgers_equal()

    scene(tmp_path / "live.db", play)


def test_row_60_a_stop_that_sells_a_part_is_cancelled_and_the_rest_is_sold_once(
    tmp_path: Path,
) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        number = desk.simulator.faults.add(Fault("thin_book", levels=1, amount=0.01))
        await desk.move_price(0.945)
        desk.simulator.account.get_balances()
        (stop,) = desk.resting
        assert 0 < stop.filled < stop.quantity
        desk.simulator.faults.remove(number)
        desk.leave("stop_loss")
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        sold = {one.client_order_id for one in desk.fills if one.side == "sell"}
        assert len(sold) == 2
        assert 0 <= desk.coins < Decimal("0.00001")
        desk.assert_ledgers_equal()

    scene(tmp_path / "live.db", play)


def test_a_stop_limit_that_was_jumped_over_is_no_protection_and_reported(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        await fall_below_stop_limit(desk)
        await desk.until(lambda: "protection" in desk.problems)
        assert "has jumped over the lowest price" in (desk.states.entry_obstacle or "")
        state = desk.stop_state
        assert state is not None
        assert state.place != "exchange"

    scene(tmp_path / "live.db", play)
