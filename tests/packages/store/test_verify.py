"""`verify` finds every unsound row, also rows written with the checks switched off."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, SeriesKey, find_candle_fault
from onetape.core.timeframes import Timeframe
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import Store, open_store
from onetape.store.gaps import CONFIRMED, UNKNOWN_IMPORT, read_gaps, set_gap
from onetape.store.verify import Finding, verify
from repeatable import count_examples

HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")
COLUMNS = "exchange, symbol, timeframe, timestamp, open, high, low, close, volume, closed, source"
PLAIN = f"INSERT INTO ohlcv_data ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

#: Writes rows as plain SQL does that has switched the checks of the tables off.
Unchecked = Callable[..., None]


def make_candle(hour: int) -> Candle:
    return Candle(hour * HOUR, 100.0, 110.0, 90.0, 105.0, 12.5)


def put(store: Store, *hours: int) -> None:
    insert_closed_rows(store, KEY, [make_candle(hour) for hour in hours], source="rest", seen_ms=1)


def summarize_findings(findings: Sequence[Finding]) -> list[tuple[str, int, int, int]]:
    return [(one.kind, one.start // HOUR, one.end // HOUR, one.candles) for one in findings]


@pytest.fixture
def unchecked(store: Store, foreign: Any) -> Unchecked:
    def write(
        *rows: Candle, key: SeriesKey = KEY, closed: int | None = 1, source: str = "rest"
    ) -> None:
        inserts = [(PLAIN, [*key.names, *row, closed, source]) for row in rows]
        done = foreign(store.path, "PRAGMA ignore_check_constraints = ON", *inserts)
        assert done == [[]] * (len(rows) + 1)

    return write


def test_a_sound_store_has_no_findings(store: Store) -> None:
    put(store, 0, 1, 2)
    replace_forming(store, KEY, make_candle(3), seen_ms=1)
    assert verify(store) == []


def test_an_empty_store_has_no_findings(store: Store) -> None:
    assert verify(store) == []


def test_gaps_are_findings_and_gaps_of_the_exchange_are_explained(store: Store) -> None:
    """Failure mode 20."""
    put(store, 0, 1, 4, 5, 9)
    set_gap(store, KEY, 6 * HOUR, 8 * HOUR, state=CONFIRMED, requested_ms=1)
    set_gap(store, KEY, 2 * HOUR, 3 * HOUR, state=UNKNOWN_IMPORT, requested_ms=1)
    found = verify(store)
    assert summarize_findings(found) == [
        ("gap", 2, 3, 1),
        ("gap", 3, 4, 1),
        ("gap", 6, 8, 2),
        ("gap", 8, 9, 1),
    ]
    assert [one.explained for one in found] == [False, False, True, False]
    text = "binance BTC/USDT 1h 1970-01-01 06:00: 2 candles missing, none at exchange"
    assert found[2].text == text
    assert found[0].text.endswith("1 candle missing, unknown: import")


BAD = {
    "high/low": [make_candle(1)._replace(high=104.0), make_candle(2)._replace(low=101.0)],
    "bad price": [
        make_candle(1)._replace(low=0.0),
        make_candle(1)._replace(open=-5.0, low=-5.0),
        make_candle(1)._replace(high=2e15),
    ],
    "bad volume": [make_candle(1)._replace(volume=-1.0), make_candle(1)._replace(volume=2e18)],
}


@pytest.mark.parametrize(
    ("kind", "row"), [(kind, row) for kind, rows in BAD.items() for row in rows]
)
def test_a_row_that_bypassed_the_checks_is_found(
    store: Store, unchecked: Unchecked, kind: str, row: Candle
) -> None:
    unchecked(row)
    assert [(one.kind, one.start, one.candles) for one in verify(store)] == [
        (kind, row.timestamp, 1)
    ]


def test_an_infinite_volume_is_a_bad_volume(store: Store, foreign: Any) -> None:
    foreign(
        store.path,
        "PRAGMA ignore_check_constraints = ON",
        f"INSERT INTO ohlcv_data ({COLUMNS}) "
        "VALUES ('binance', 'BTC/USDT', '1h', 0, 1, 1, 1, 1, 9e999, 1, 'rest')",
    )
    assert [one.kind for one in verify(store)] == ["bad volume"]


def test_neighbouring_rows_with_one_fault_are_one_finding(
    store: Store, unchecked: Unchecked
) -> None:
    bad = [make_candle(hour)._replace(volume=-1.0) for hour in (1, 2, 3, 5)]
    put(store, 0, 4, 6)
    unchecked(*bad)
    found = verify(store)
    assert summarize_findings(found) == [("bad volume", 1, 4, 3), ("bad volume", 5, 6, 1)]
    assert "3 candles: volume is out of range" in found[0].text


@pytest.mark.parametrize(
    ("timeframe", "timestamp"),
    [("1h", HOUR + 60), ("1w", 7 * 86_400), ("1M", 86_400), ("1d", 10**12), ("1M", -5)],
)
def test_a_time_at_which_no_candle_opens_is_found(
    store: Store, unchecked: Unchecked, timeframe: str, timestamp: int
) -> None:
    key = SeriesKey("binance", "BTC/USDT", timeframe)
    unchecked(make_candle(0)._replace(timestamp=timestamp), key=key)
    found = [one for one in verify(store) if one.kind != "gap"]
    assert [(one.kind, one.key, one.start) for one in found] == [("off-grid time", key, timestamp)]


def test_a_time_off_the_grid_is_a_finding_although_the_table_accepts_it(
    store: Store, foreign: Any
) -> None:
    put(store, 0, 1)
    foreign(store.path, (PLAIN, [*KEY.names, HOUR + 60, 1, 1, 1, 1, 1, 1, "rest"]))
    found = verify(store)
    assert [one.kind for one in found] == ["off-grid time"]
    assert "time is not the open of a 1h candle" in found[0].text


def test_a_forming_row_that_later_closed_ones_left_behind_is_found(store: Store) -> None:
    replace_forming(store, KEY, make_candle(1), seen_ms=1)
    put(store, 0, 2)
    assert [one.kind for one in verify(store)] == ["gap", "forming row left behind"]


@pytest.mark.parametrize("name", ["1x", "", "1 hour", "0m"])
def test_an_invalid_timeframe_is_a_finding(store: Store, unchecked: Unchecked, name: str) -> None:
    put(store, 0, 1)
    key = SeriesKey("binance", "BTC/USDT", name)
    unchecked(make_candle(3), make_candle(9), key=key)
    found = [one for one in verify(store) if one.kind != "quick_check"]
    assert summarize_findings(found) == [("unknown timeframe", 3, 9, 2)]
    assert repr(name) in found[0].text


def test_an_invalid_value_of_a_column_is_found_by_quick_check(
    store: Store, unchecked: Unchecked
) -> None:
    unchecked(make_candle(0), closed=7)
    unchecked(make_candle(1), source="dream")
    unchecked(make_candle(2)._replace(volume=-1.0))
    found = verify(store)
    assert [one.kind for one in found] == ["bad volume", "quick_check"]
    assert found[1].text == "CHECK constraint failed in ohlcv_data: 2 rows"


def test_a_rule_of_another_table_that_is_broken_is_found(store: Store, foreign: Any) -> None:
    foreign(
        store.path,
        "PRAGMA ignore_check_constraints = ON",
        "INSERT INTO rate_limit_bans VALUES ('', 1, '')",
        "INSERT INTO store_kind (only_row, simulated) VALUES (2, 0)",
    )
    assert sorted(one.text for one in verify(store)) == [
        "CHECK constraint failed in rate_limit_bans: 1 row",
        "CHECK constraint failed in store_kind: 1 row",
    ]


def test_a_damaged_page_is_found_even_if_the_rows_can_be_counted(path: Path) -> None:
    """Failure mode 50."""
    with open_store(path, create=True) as store:
        put(store, *range(2_000))
        with store.read() as connection:
            size = connection.execute("PRAGMA page_size").get
            number = connection.execute(
                "SELECT max(pageno) FROM dbstat WHERE name = ?", ("ohlcv_data",)
            ).get
    whole = bytearray(path.read_bytes())
    # Both ends of a leaf stay, so that the rows before and behind it can be counted.
    whole[(number - 1) * size + 200 : number * size - 200] = bytes(size - 400)
    path.write_bytes(whole)
    with open_store(path, create=False) as store:
        found = verify(store)
    assert {one.kind for one in found} == {"quick_check"}
    assert all(one.key is None and not one.explained for one in found)


def test_only_the_series_that_are_named_are_looked_at(store: Store) -> None:
    put(store, 0, 2)
    assert verify(store, [SeriesKey("binance", "ETH/USDT", "1h")]) == []
    assert summarize_findings(verify(store, [KEY])) == [("gap", 1, 2, 1)]


@settings(
    max_examples=count_examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    states=st.dictionaries(st.integers(0, 12), st.sampled_from([0, 1, 1, 1, None]), max_size=12),
    name=st.sampled_from(["1h", "1d", "1w", "1M"]),
)
def test_verify_names_the_gaps_that_the_ledger_computes(
    shared_store: Store, fresh_keys: Any, states: dict[int, int | None], name: str
) -> None:
    timeframe = Timeframe.parse(name)
    key = SeriesKey("binance", next(fresh_keys).symbol, name)
    with shared_store.write() as connection:
        connection.executemany(
            PLAIN,
            [
                (*key.names, timeframe.shift(10**9, number), 1, 1, 1, 1, 1, closed, "rest")
                for number, closed in states.items()
            ],
        )
    found = [(one.start, one.end) for one in verify(shared_store, [key]) if one.kind == "gap"]
    assert found == [(gap.start, gap.end) for gap in read_gaps(shared_store, key)]


values = st.sampled_from([-1.0, 0.0, 1e-9, 90.0, 100.0, 110.0, 9.9e14, 1e15, 9.9e17, 1e18, 1e300])
rows = st.builds(
    Candle,
    st.sampled_from([-HOUR, 0, HOUR, HOUR + 1, 1_704_067_200, 2_678_400, 32_503_680_000, 10**12]),
    *[values] * 5,
)


@settings(
    max_examples=count_examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(rows, max_size=20), name=st.sampled_from(["1h", "1d", "1w", "1M", "3M"]))
def test_verify_finds_exactly_the_rows_that_an_insert_refuses(
    shared_store: Store, fresh_keys: Any, rows: list[Candle], name: str
) -> None:
    symbol = next(fresh_keys).symbol
    key = SeriesKey("binance", symbol, name)
    by_time = {row.timestamp: row for row in rows}
    with shared_store.write() as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.executemany(PLAIN, [(*key.names, *row, 1, "rest") for row in by_time.values()])
    try:
        found = [
            one for one in verify(shared_store, [key]) if one.kind not in ("gap", "quick_check")
        ]
    finally:
        with shared_store.write() as connection:
            connection.execute("DELETE FROM ohlcv_data WHERE symbol = ?", (symbol,))
            connection.execute("PRAGMA ignore_check_constraints = OFF")
    timeframe = Timeframe.parse(name)
    bad = [row for row in by_time.values() if find_candle_fault(row, timeframe) is not None]
    assert sum(one.candles for one in found) == len(bad)
