"""Entries at an exchange: sent once, resolved by look-ups, booked by the exchange's trade ids."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from live_desk import LiveDesk, live_desk
from onetape.simulator.faults.model import Fault

Work = Callable[[LiveDesk], Awaitable[None]]


def run(path: Path, work: Work, *faults: Fault, **options: Any) -> None:
    async def done() -> None:
        async with live_desk(path / "x.db", *faults, **options) as desk:
            await work(desk)

    asyncio.run(done())


def test_an_entry_is_bought_booked_and_protected(tmp_path: Path) -> None:
    async def work(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.resting)
        assert desk.taken[0] == order.client_order_id
        position = desk.executor.position
        assert position.entry_order_id == order.client_order_id
        (fill,) = desk.trades
        assert position.base == fill.amount - fill.fee
        assert fill.fee_currency == "BTC"
        (stop,) = desk.resting
        assert (stop.side, stop.request.type) == ("SELL", "STOP_LOSS")
        amount = Decimal(stop.quantity).scaleb(-5)
        assert position.base - Decimal("0.00001") < amount <= position.base
        assert stop.request.stop == pytest.approx(float(fill.price) * 0.95 * 100, abs=1)
        desk.assert_ledgers_equal()

    run(tmp_path, work)
