"""Events of the user stream make changes known sooner; without them polling finds the same.

The short form of the property test; ONETAPE_USER_STREAMS=200 (`make user-streams`) is the long one.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from live_desk import QUICK, LiveDesk, open_live_desk
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]
COUNT = int(os.environ.get("ONETAPE_USER_STREAMS", "2"))
#: Nothing is read of the account but at the start: what happens is known by events alone.
BY_EVENTS = structs.replace(QUICK, poll=600.0, poll_with_stream=600.0)
THIN = Fault("thin_book", levels=3, amount=0.01, ticks=50)


def draw_faults(chosen: random.Random) -> list[Fault]:
    """Return faults of the stream, and of the responses to orders, by a seed."""
    spoiled = [
        Fault("fills", stream="user", shape=shape, probability=chosen.uniform(0, 0.4), seconds=0.2)
        for shape in ("lost", "duplicated", "reordered", "delayed")
    ]
    cut = Fault("ws_abort", stream="user", probability=chosen.uniform(0, 0.1))
    lost = Fault(
        "reset", when="after", method="POST", path="/api/v3/order", probability=chosen.random() / 2
    )
    return [*spoiled, cut, lost, *([THIN] if chosen.random() < 0.5 else [])]


def is_opened(desk: LiveDesk) -> bool:
    return desk.executor.broker.stream_opened_ms is not None


async def trade(desk: LiveDesk, chosen: random.Random) -> None:
    """Enter, and end the position: by an exit, or by the stop, cancelled by hand before or not."""
    await desk.until(lambda: desk.executor.balance_is_known)
    desk.enter()
    await desk.until(lambda: desk.executor.stops and desk.executor.stops[0].state.stage == "open")
    if chosen.random() < 0.3:
        first = desk.resting[0]
        desk.simulator.account.exchange.cancel(first, desk.simulator.clock.now_ms())
        await desk.until(lambda: desk.resting and desk.resting[0] is not first)
    if chosen.random() < 0.5:
        await desk.let_stop_fire()
        # In a thin market a part is left, which the level that was passed sells.
        desk.leave("stop_loss")
    else:
        desk.leave()
    await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)


@pytest.mark.seeded
def test_row_61_lost_duplicate_late_and_reordered_events_change_nothing(
    tmp_path: Path, random_seed: int
) -> None:
    async def scenario(seed: int) -> None:
        chosen = random.Random(seed)  # noqa: S311 - a test
        path = tmp_path / f"{seed}.db"
        async with open_live_desk(
            path, *draw_faults(chosen), has_stream=True, stop_loss=0.001
        ) as desk:
            for _ in range(2):
                await trade(desk, chosen)
            desk.assert_ledgers_equal()
            own = [one for one in desk.taken if one.startswith(desk.context.tag)]
            assert len(own) == len(set(own))
            entries = [row[0] for row in desk.query("SELECT side FROM orders WHERE side = 'buy'")]
            assert len(entries) == 2
            assert desk.coins >= 0

    for number in range(COUNT):
        asyncio.run(scenario(random_seed + number))


def test_a_stop_that_fires_is_known_by_its_event_alone(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: is_opened(desk))
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        await desk.drive(0.3)
        await desk.let_stop_fire()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario, has_stream=True, stop_loss=0.001, times=BY_EVENTS)


def test_without_events_polling_finds_the_same(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.let_stop_fire()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario, Fault("fills", stream="user", shape="lost"), has_stream=True, stop_loss=0.001)


def test_an_order_of_another_program_stops_entries_by_its_event(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: is_opened(desk) and desk.executor.balance_is_known)
        await desk.drive(0.2)
        desk.place_by_hand()
        await desk.until(lambda: "account" in desk.problems)

    run(scenario, has_stream=True, times=BY_EVENTS)


def test_a_stream_without_events_is_opened_again(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: is_opened(desk))
        opened = desk.executor.broker.stream_opened_ms
        desk.simulator.faults.add(Fault("fills", stream="user", shape="lost"))
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        await desk.drive(0.3)
        await desk.let_stop_fire()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: is_opened(desk))
        assert desk.executor.broker.stream_opened_ms != opened

    # The fill of a stop has no response that brings it, so the poll sees that the event is missing.
    # On a stepped clock nothing is late on the wall clock.
    times = structs.replace(QUICK, event_late=-1.0)
    run(scenario, has_stream=True, stop_loss=0.001, times=times)
    assert "has lost an execution" in capsys.readouterr().out


def test_after_an_outage_what_happened_meanwhile_is_read_at_once(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: is_opened(desk))
        await desk.hold()
        await desk.drive(0.3)
        await desk.simulator.disconnect(0.5)
        await desk.until(lambda: not is_opened(desk))
        await desk.let_stop_fire()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()

    run(scenario, has_stream=True, stop_loss=0.001, times=BY_EVENTS)


def test_a_deposit_leads_to_a_reading(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: is_opened(desk) and desk.executor.balance_is_known)
        await desk.drive(0.3)
        desk.simulator.account.deposit("USDT", Decimal(77))
        account = desk.executor._account  # pyright: ignore[reportPrivateUsage]
        total = 50_000 + 77
        await desk.until(lambda: getattr(account.held.get_balance("USDT"), "total", 0) == total)

    run(scenario, has_stream=True, times=BY_EVENTS)


def test_many_events_lead_to_few_readings(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: is_opened(desk) and desk.executor.balance_is_known)
        await desk.drive(0.6)
        account = desk.executor._account  # pyright: ignore[reportPrivateUsage]
        begun = set[float]()
        began = time.monotonic()
        for _ in range(40):
            desk.simulator.account.deposit("USDT", Decimal(1))
            await desk.drive(0.05)
            begun.add(account._snapshot.begun)  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        seconds = time.monotonic() - began
        assert len(begun) <= 2 + seconds / 0.5
        last = max(begun)
        await desk.until(lambda: account._snapshot.begun > last)  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]

    run(scenario, has_stream=True, times=structs.replace(BY_EVENTS, after_event=0.5))


def test_the_account_of_many_symbols_is_read_less_often(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        symbols = desk.executor.broker._client.symbols  # pyright: ignore[reportPrivateUsage]
        others = {f"COIN{one}/USDT" for one in range(99)}
        symbols |= others
        # A reading may be under way.
        await desk.until(lambda: not desk.executor.broker.is_request_running("refresh", "BTC/USDT"))
        await desk.drive(0.2)
        account = desk.executor._account  # pyright: ignore[reportPrivateUsage]
        before = account._snapshot  # pyright: ignore[reportPrivateUsage]
        await desk.drive(0.5)
        assert account._snapshot is before  # pyright: ignore[reportPrivateUsage]
        symbols -= others
        await desk.until(lambda: account._snapshot is not before)  # pyright: ignore[reportPrivateUsage]

    run(scenario, times=structs.replace(QUICK, poll_per_symbol=1.0))
