"""A seeded sequence of every stream fault of the simulator loses or changes no candle.

The short form; ONETAPE_STREAM_FAULTS=1000 (`make streams`) is the long one.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from bounded_run import run_bounded
from onetape.core.candles import Candle
from onetape.store.stream_closes import read_uncompared
from session_harness import (
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)

COUNT = int(os.environ.get("ONETAPE_STREAM_FAULTS", "14"))
SEED = int(os.environ.get("ONETAPE_STREAM_SEED", "12"))
FRAMES, ALL = "btcusdt@kline_*", "btcusdt@*"
#: The shortest that the setting allows, for the 30 s of the default.
STALE_SECONDS = 1.0
#: A dead stream is noticed within 60 s at the default, which scales with the setting, and half a
#: second.
NOTICED_SECONDS = 2 * STALE_SECONDS + 0.5
BACK_SECONDS = 5.0
#: A step of the market takes 15 ms on a quiet machine, and counts so long at most.
MOST_STEP_SECONDS = 0.03
#: Wall seconds that an outage lasts.
OUTAGE_SECONDS = 0.4

GARBAGE = (
    "truncated", "array", "no_k", "k_list", "unknown_interval", "binary", "nan", "deep",
    "invalid_utf8", "text", "null", "number", "empty", "unknown_symbol", "unknown_event", "error",
)  # fmt: skip
SPOILED = (
    "revised", "nan", "infinity", "overflow", "negative", "zero", "none", "high_below_low",
    "close_outside", "time_none", "time_seconds", "time_huge", "time_negative", "time_off_grid",
)  # fmt: skip
#: Faults that end a connection or stop its frames.
BREAKING: tuple[dict[str, Any], ...] = (
    *({"kind": "ws_close", "code": code, "count": 1} for code in (1000, 1001, 1006, 1008, 1012)),
    {"kind": "ws_abort", "count": 1},
    {"kind": "ws_silence", "stream": ALL},
    {"kind": "ws_half_open", "count": 1},
    {"kind": "maintenance"},
)
#: Faults that leave it up.
BENDING: tuple[dict[str, Any], ...] = (
    *({"kind": "ws_garbage", "shape": shape, "stream": FRAMES, "count": 1} for shape in GARBAGE),
    *({"kind": "candles", "shape": shape, "stream": FRAMES, "count": 2} for shape in SPOILED),
    *(
        {"kind": "events", "shape": shape, "stream": FRAMES, "probability": 0.5}
        for shape in ("lost", "duplicated", "reordered")
    ),
    {"kind": "events", "shape": "delayed", "stream": FRAMES, "seconds": 0.2, "probability": 0.5},
    {"kind": "ws_big_frame", "count": 1},
    {"kind": "ws_no_ack", "count": 1},
    {"kind": "ws_flood", "stream": FRAMES, "per_second": 2_000, "seconds": 0.2, "count": 1},
)


class CampaignMeasurements(Struct):
    """What a campaign measured."""

    faults: int = 0
    noticed: list[tuple[float, str]] = []
    """Wall seconds from the fault to a lost stream, and the fault, of those that end or stop it."""
    back: list[float] = []
    """Wall seconds from the end of a fault to frames that are stored again."""
    wrong: dict[int, Candle] = {}


async def advance_until(
    opened: SteppedMarket, trading: SessionHarness, hour: float, holds: Callable[[], Any]
) -> float:
    """Advance market time in small steps until a condition holds; return the wall seconds.

    Without what a busy machine adds to a step.
    """
    began = now = time.monotonic()
    step, seconds = 0, 0.0
    while not holds():
        step += 1
        # Within the hour, so that no further candle closes meanwhile.
        await opened.go_to(hour + min(0.4, step / 500))
        await asyncio.sleep(0.01)
        if trading.task.done():
            trading.task.result()
        before, now = now, time.monotonic()
        seconds += min(now - before, MOST_STEP_SECONDS)
        assert now - began < 180, "it did not come true"
    return seconds


def read_forming(trading: SessionHarness, hour: int) -> Any:
    return trading.query(
        "SELECT open, high, low, close, volume FROM ohlcv_data WHERE timestamp = ? AND closed = 0",
        MARCH + hour * HOUR,
    )


async def inject_fault(
    opened: SteppedMarket,
    trading: SessionHarness,
    hour: int,
    settings: dict[str, Any],
    seen: CampaignMeasurements,
) -> None:
    """Add a fault while a candle forms, end it, and close the candle."""
    faults = opened.simulator.faults
    # An outage that begins before any frame of a new connection goes on with the row before it.
    outages = "SELECT count(*), count(to_ms) FROM data_outages"
    before_count = trading.query(outages)
    number = faults.add(**settings)
    await opened.go_to(hour + 0.1)
    if settings in BREAKING:
        seconds = await advance_until(
            opened, trading, hour + 0.1, lambda: trading.query(outages) != before_count
        )
        seen.noticed.append((seconds, f"{settings} in hour {hour}"))
        await asyncio.sleep(OUTAGE_SECONDS)
    else:
        for step in range(3):
            await opened.go_to(hour + 0.1 + step / 20)
            await asyncio.sleep(0.02)
    faults.remove(number)
    before = read_forming(trading, hour)
    seen.back.append(
        await advance_until(
            opened,
            trading,
            hour + 0.5,
            lambda: trading.is_live and read_forming(trading, hour) not in ([], before),
        )
    )
    await opened.go_to(hour + 1.02)
    await trading.until_decided(hour)
    seen.faults += 1


async def campaign(db: Path, count: int, seed: int) -> CampaignMeasurements:
    chosen = random.Random(seed)  # noqa: S311 - a scenario, no secret
    seen = CampaignMeasurements()
    async with (
        open_market(0.25) as opened,
        open_session(opened, db, stale_after_seconds=STALE_SECONDS) as trading,
    ):
        await trading.until_live(opened)
        await opened.go_to(1.02)
        await trading.until_decided(0)
        for hour in range(1, count + 1):
            kinds = BREAKING if chosen.random() < 0.4 else BENDING
            await inject_fault(opened, trading, hour, chosen.choice(kinds), seen)
        for hour in range(count + 1, count + 12):
            await opened.go_to(hour + 1.02)
            await trading.until_decided(hour)
        last = MARCH + (count + 2) * HOUR
        await trading.until(lambda: not read_uncompared(trading.store, KEY, end=last))
        closed = trading.closed_rows()
        true = opened.truth(MARCH, last)
        seen.wrong = {at: row for at, row in true.items() if closed.get(at) != row}
    return seen


def test_after_mixed_stream_faults_no_candle_is_missing_or_wrong(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.rest_comparison.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("trader.rest_comparison.REQUESTS_PER_COMPARISON", 0)
    seen = run_bounded(campaign(db, COUNT, SEED), 180.0 + 10.0 * COUNT)
    noticed, fault = max(seen.noticed)
    print(  # noqa: T201 - the result of a campaign, shown by -rP
        f"{seen.faults} stream faults, seed {SEED}: {len(seen.wrong)} candles missing or wrong; "
        f"noticed after {noticed:.2f} s at most with stale_after_seconds "
        f"{STALE_SECONDS:.0f}; back {max(seen.back):.2f} s after the fault at most\n"
        f"noticed last: {fault}"
    )
    assert seen.wrong == {}
    assert noticed <= NOTICED_SECONDS, fault
    assert max(seen.back) <= BACK_SECONDS
