"""`backfiller resample`: which candles are built, left out, or unchanged."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw
import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.gaps import CONFIRMED, UNKNOWN_IMPORT, read_gaps, set_gap
from onetape.store.migrations import APPLICATION_ID
from onetape.store.reading import read_closed_between

Run = Callable[..., Any]
#: 2024-03-01 00:00 UTC.
MARCH, HOUR = 1_709_251_200, 3_600
MINUTES, HOURS = (SeriesKey("binance", "BTC/USDT", name) for name in ("1m", "1h"))
DB = "onetape.db"


def make_minutes(*ranges: range) -> list[Candle]:
    """Return minutes after March whose price is their number."""
    return [
        Candle(MARCH + 60 * at, at + 1.0, at + 1.5, at + 0.5, at + 1.0, 0.1)
        for numbers in ranges
        for at in numbers
    ]


def read_hours(store: Store) -> list[tuple[int, float, float]]:
    """Return number, open and volume of the stored hours."""
    candles = read_closed_between(store, HOURS, 0, 2**40)
    columns = (candles.timestamp, candles.open, candles.volume)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [((opened - MARCH) // HOUR, first, volume) for opened, first, volume in rows]


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder / DB, create=True) as store:
        yield store


def test_complete_hours_are_built_and_marked_as_built(backfiller: Run, store: Store) -> None:
    insert_closed_rows(store, MINUTES, make_minutes(range(150)), source="rest", seen_ms=0)
    ended = backfiller("resample", "--into", "1h", "--db", DB, "--json")
    assert ended.code == 0, ended.err
    (one,) = json.loads(ended.out)["series"]
    assert (one["built"], one["inserted"], one["left_out"]) == (2, 2, 0)
    assert read_hours(store) == [(0, 1.0, 6.0), (1, 61.0, 6.0)]
    with store.read() as connection:
        sources = connection.execute(
            "SELECT DISTINCT source, closed FROM ohlcv_data WHERE timeframe = '1h'"
        ).fetchall()
    assert sources == [("resample", 1)]


def test_windows_over_unexplained_gaps_are_left_out_unless_requested(
    backfiller: Run, store: Store
) -> None:
    insert_closed_rows(
        store, MINUTES, make_minutes(range(30, 130), range(140, 300)), source="rest", seen_ms=0
    )
    ended = backfiller("resample", "--into", "1h", "--db", DB)
    # The first hour begins before the series, the third has a gap.
    assert "3 candles" in ended.out
    assert "2 left out for gaps whose cause is unknown" in ended.out
    assert [number for number, *_ in read_hours(store)] == [1, 3, 4]
    ended = backfiller("resample", "--into", "1h", "--allow-gaps", "--db", DB)
    assert "2 new, 3 already there, 2 built over gaps" in ended.out
    assert [number for number, *_ in read_hours(store)] == [0, 1, 2, 3, 4]


def test_windows_over_an_outage_of_the_exchange_are_built_as_the_exchange_builds_them(
    backfiller: Run, store: Store
) -> None:
    insert_closed_rows(
        store, MINUTES, make_minutes(range(30, 70), range(90, 180)), source="rest", seen_ms=0
    )
    for start, end in ((0, 30), (70, 90)):
        set_gap(
            store, MINUTES, MARCH + 60 * start, MARCH + 60 * end, state=CONFIRMED, requested_ms=7
        )
    ended = backfiller("resample", "--into", "1h", "--db", DB)
    assert "2 built over gaps" in ended.out
    assert read_hours(store) == [(0, 31.0, 3.0), (1, 61.0, 4.0), (2, 121.0, 6.0)]


@pytest.mark.parametrize("state", [CONFIRMED, UNKNOWN_IMPORT])
def test_known_states_of_gaps_are_copied_to_the_built_timeframe(
    backfiller: Run, store: Store, state: Any
) -> None:
    insert_closed_rows(
        store, MINUTES, make_minutes(range(60), range(180, 240)), source="import", seen_ms=0
    )
    set_gap(store, MINUTES, MARCH + HOUR, MARCH + 3 * HOUR, state=state, requested_ms=7)
    backfiller("resample", "--into", "1h", "--db", DB)
    gaps = [(gap.candles, gap.state, gap.last_requested_ms) for gap in read_gaps(store, HOURS)]
    assert gaps == [(2, state, 7)]


def test_candles_of_the_exchange_stay_and_differences_are_reported(
    backfiller: Run, store: Store
) -> None:
    insert_closed_rows(store, MINUTES, make_minutes(range(120)), source="rest", seen_ms=0)
    theirs = Candle(MARCH, 7.0, 70.0, 0.5, 60.0, 6.0)
    insert_closed_rows(store, HOURS, [theirs], source="rest", seen_ms=0)
    ended = backfiller("resample", "--into", "1h", "--db", DB)
    assert (
        "1 new, 1 already there, 1 of those different from what the lower timeframe makes"
        in ended.out
    )
    assert read_hours(store) == [(0, 7.0, 6.0), (1, 61.0, 6.0)]
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM revisions").get == 0


def test_a_second_run_builds_nothing_new(backfiller: Run, store: Store) -> None:
    insert_closed_rows(store, MINUTES, make_minutes(range(120)), source="rest", seen_ms=0)
    backfiller("resample", "--into", "1h", "--db", DB)
    assert "0 new, 2 already there" in backfiller("resample", "--into", "1h", "--db", DB).out


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--into", "1m"], 2, "not made of whole 1m candles"),
        (["--timeframe", "1w", "--into", "1M"], 2, "not made of whole 1w candles"),
        (["--timeframe", "5m", "--into", "1h"], 4, "holds no candles of 5m"),
        (["--into", "soon"], 2, "timeframe 'soon' was not understood"),
    ],
)
def test_candles_that_cannot_be_built_are_reported(
    backfiller: Run, store: Store, flags: list[str], code: int, words: str
) -> None:
    insert_closed_rows(store, MINUTES, make_minutes(range(120)), source="rest", seen_ms=0)
    ended = backfiller("resample", "--db", DB, *flags)
    assert (ended.code, words in ended.err) == (code, True), ended.err


def test_a_migrated_file_of_version_1_takes_the_source_resampled_and_no_unknown_source(
    folder: Path,
) -> None:
    connection = sqlite3.connect(folder / DB)
    connection.executescript(files("onetape.store").joinpath("schema.sql").read_text("utf-8"))
    connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    insert = (
        "INSERT INTO ohlcv_data VALUES ('binance', 'BTC/USDT', '1h', {}, 1, 1, 1, 1, 1, 1, '{}')"
    )
    connection.execute(insert.format(MARCH, "rest"))
    connection.commit()
    connection.close()
    with open_store(folder / DB, create=False) as store, store.write() as inside:
        inside.execute(insert.format(MARCH + HOUR, "resample"))
        with pytest.raises(apsw.ConstraintError):
            inside.execute(insert.format(MARCH + 2 * HOUR, "dream"))
        assert inside.execute("PRAGMA quick_check").get == "ok"
