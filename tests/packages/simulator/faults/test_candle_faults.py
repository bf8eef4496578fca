"""Damaged candles over REST and streams, as the unchanged CCXT classes return them."""

import math
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from onetape.simulator.faults.kinds import CANDLE_SHAPES
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
MINUTE_MS = 60_000
SINCE_MS = MARCH_MS - 9 * MINUTE_MS
#: The candle that every test spoils: the third of a page that begins at SINCE_MS.
SPOILT_MS = SINCE_MS + 2 * MINUTE_MS

Row = list[Any]


def is_nan(row: Row) -> bool:
    return isinstance(row[4], float) and math.isnan(row[4])


#: Row of the fault list, the shape, and what is wrong with the candle that CCXT hands on.
SPOILT: list[tuple[int, str, Callable[[Row], bool]]] = [
    (21, "nan", is_nan),
    (21, "infinity", lambda row: row[4] == math.inf),
    (21, "overflow", lambda row: row[4] == math.inf),
    (21, "negative", lambda row: row[4] < 0),
    (21, "zero", lambda row: row[4] == 0),
    (21, "none", lambda row: row[4] is None),
    (21, "high_below_low", lambda row: row[2] < row[3]),
    (21, "close_outside", lambda row: not row[3] <= row[4] <= row[2]),
    (22, "time_none", lambda row: row[0] is None),
    (22, "time_seconds", lambda row: row[0] == SPOILT_MS // 1_000),
    (22, "time_huge", lambda row: row[0] == 2**50),
    (22, "time_negative", lambda row: row[0] == -SPOILT_MS),
    (22, "time_off_grid", lambda row: row[0] == SPOILT_MS + 1_234),
]


def make_candle_fault(shape: str) -> Fault:
    return Fault("candles", shape=shape, candle_from="2024-02-29T23:53")


async def fetch_page(faulty: Opened, *faults: Fault) -> list[Row]:
    async with faulty(faults) as (_, client):
        # Not `fetch_ohlcv`, which leaves out what lies before `since`.
        query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": SINCE_MS, "limit": 5}
        return [client.parse_ohlcv(row) for row in await client.publicGetKlines(query)]


@pytest.mark.parametrize(("number", "shape", "is_spoilt"), SPOILT)
def test_ccxt_returns_a_damaged_candle(
    run: Run, faulty: Opened, number: int, shape: str, is_spoilt: Callable[[Row], bool]
) -> None:
    del number
    rows = run(fetch_page(faulty, make_candle_fault(shape)))
    true_rows = run(fetch_page(faulty))
    assert is_spoilt(rows[2])
    assert rows[:2] + rows[3:] == true_rows[:2] + true_rows[3:]


def test_row_18_a_revised_candle_has_other_values_at_the_same_time(
    run: Run, faulty: Opened
) -> None:
    rows, true_rows = run(fetch_page(faulty, make_candle_fault("revised"))), run(fetch_page(faulty))
    assert rows[2][0] == true_rows[2][0]
    assert rows[2] != true_rows[2]
    assert rows[2][3] <= min(rows[2][1], rows[2][4]) <= rows[2][2], "and as good as any"
    again = run(fetch_page(faulty, make_candle_fault("revised")))
    assert again == rows, "the revision comes from the seed"


@pytest.mark.parametrize(
    ("number", "shape", "minutes"),
    [
        (19, "duplicate", [0, 1, 2, 2, 3, 4]),
        (19, "reordered", [0, 2, 1, 3, 4]),
        (20, "missing", [0, 1, 3, 4]),
    ],
)
def test_rows_are_duplicated_unordered_or_missing(
    run: Run, faulty: Opened, number: int, shape: str, minutes: list[int]
) -> None:
    del number
    rows = run(fetch_page(faulty, make_candle_fault(shape)))
    assert [(row[0] - SINCE_MS) // MINUTE_MS for row in rows] == minutes


def test_a_range_of_candles_is_missing_on_every_page(run: Run, faulty: Opened) -> None:
    async def scene() -> None:
        missing = Fault(
            "candles",
            shape="missing",
            candle_from="2024-02-29T23:50",
            candle_to="2024-02-29T23:55",
        )
        async with faulty([missing]) as (simulator, client):
            page = await client.fetch_ohlcv("BTC/USDT", "1m", MARCH_MS - 15 * MINUTE_MS, 15)
            minutes = [(row[0] - MARCH_MS) // MINUTE_MS for row in page]
            assert minutes == [-15, -14, -13, -12, -11, -5, -4, -3, -2, -1]
            later = await client.fetch_ohlcv("BTC/USDT", "1m", MARCH_MS - 5 * MINUTE_MS, 3)
            assert len(later) == 3
            assert len(simulator.faults.log) == 1, "a page without those candles is none of it"

    run(scene())


def test_without_a_given_candle_one_closed_candle_is_drawn_from_the_seed(
    run: Run, faulty: Opened
) -> None:
    def place(rows: list[Row]) -> list[int]:
        return [number for number, row in enumerate(rows) if row[4] is None]

    first = place(run(fetch_page(faulty, Fault("candles", shape="none"))))
    assert len(first) == 1
    assert first == place(run(fetch_page(faulty, Fault("candles", shape="none"))))


async def watch_rows(faulty: Opened, fault: Fault, count: int) -> list[Row]:
    clock = make_clock(start_ms=MARCH_MS, speed=600)
    async with faulty([fault], pro=True, clock=clock) as (_, client):
        rows: list[Row] = []
        while len(rows) < count:
            rows += [list(row) for row in await client.watch_ohlcv("BTC/USDT", "1m")]
        return rows


@pytest.mark.parametrize("shape", ["nan", "infinity", "negative", "zero", "none"])
def test_row_21_a_stream_returns_a_damaged_candle(run: Run, faulty: Opened, shape: str) -> None:
    rows = run(watch_rows(faulty, Fault("candles", shape=shape, stream="btcusdt@kline_1m"), 3))
    is_spoilt = next(check for _, name, check in SPOILT if name == shape)
    assert all(is_spoilt(row) for row in rows)


def test_row_22_a_stream_returns_a_wrong_time(run: Run, faulty: Opened) -> None:
    rows = run(watch_rows(faulty, Fault("candles", shape="time_off_grid", event="kline"), 3))
    assert rows[0][0] % MINUTE_MS == 1_234


def test_every_shape_of_a_candle_has_a_test() -> None:
    named = {shape for _, shape, _ in SPOILT}
    assert named | {"revised", "duplicate", "reordered", "missing"} == set(CANDLE_SHAPES)
