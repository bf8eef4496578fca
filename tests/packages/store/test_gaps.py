"""The gap ledger: states of gaps, and what is unexplained."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import StoreError, UsageError
from onetape.store import database, migrations
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import Store, open_store
from onetape.store.gaps import (
    ACCEPTED,
    CONFIRMED,
    NO_TRADES,
    NOT_FETCHED,
    UNKNOWN_IMPORT,
    UNPROVEN,
    Evidence,
    GapState,
    clear_gaps,
    find_unexplained,
    read_confirmed_gaps,
    read_explained_gaps,
    read_gaps,
    set_gap,
    set_gaps,
)
from repeatable import count_examples

HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")


@st.composite
def draw_span(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, 60))
    return start, start + draw(st.integers(1, 25))


spans = draw_span()


def make_disjoint(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if not kept or start > kept[-1][1]:
            kept.append((start, end))
    return kept


def list_times(ranges: list[tuple[int, int]]) -> set[int]:
    return {moment for start, end in ranges for moment in range(start, end)}


@settings(
    max_examples=count_examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(known=st.lists(spans, max_size=8), gaps=st.lists(spans, max_size=6).map(make_disjoint))
def test_unexplained_gaps_are_all_gaps_minus_the_confirmed_ones(
    shared_store: Store,
    fresh_keys: Iterator[SeriesKey],
    known: list[tuple[int, int]],
    gaps: list[tuple[int, int]],
) -> None:
    key = next(fresh_keys)
    set_gaps(shared_store, key, known, state=CONFIRMED, requested_ms=1)
    left = find_unexplained(shared_store, key, gaps)
    assert list_times(left) == list_times(gaps) - list_times(known)
    assert left == sorted(left)
    assert all(start < end for start, end in left)


def test_only_a_confirmed_gap_explains(store: Store) -> None:
    set_gap(store, KEY, 0, 10, state=UNKNOWN_IMPORT, requested_ms=1)
    set_gap(store, KEY, 20, 30, state=UNPROVEN, requested_ms=1)
    assert find_unexplained(store, KEY, [(0, 40)]) == [(0, 40)]


@pytest.mark.parametrize("state", [CONFIRMED, NO_TRADES, ACCEPTED])
def test_a_gap_is_explained_by_proof_by_an_archive_or_by_a_person(
    store: Store, state: GapState
) -> None:
    reason = "outage" if state == ACCEPTED else None
    set_gap(store, KEY, 0, 10, state=state, requested_ms=1, reason=reason)
    assert find_unexplained(store, KEY, [(0, 12)]) == [(10, 12)]
    assert read_explained_gaps(store, KEY) == [(0, 10)]


def test_enough_responses_explain_an_unproven_gap(store: Store) -> None:
    set_gap(store, KEY, 0, 10, state=UNPROVEN, requested_ms=1, evidence=Evidence(2, 1, -1))
    set_gap(store, KEY, 20, 30, state=UNPROVEN, requested_ms=1, evidence=Evidence(3, 1, -1))
    gaps = [(0, 10), (20, 30)]
    assert find_unexplained(store, KEY, gaps, responses=3) == [(0, 10)]
    assert find_unexplained(store, KEY, gaps) == gaps


def test_a_gap_has_the_date_of_its_state(store: Store) -> None:
    put(store, KEY, 0, 4)
    writes: list[tuple[int, GapState]] = [
        (1, UNPROVEN), (5, UNPROVEN), (9, CONFIRMED), (12, CONFIRMED),
    ]  # fmt: skip
    for requested_ms, state in writes:
        set_gap(store, KEY, HOUR, 4 * HOUR, state=state, requested_ms=requested_ms)
        (gap,) = read_gaps(store, KEY)
        assert gap.since_ms == (1 if requested_ms < 9 else 9)
        assert (gap.first_seen_ms, gap.last_requested_ms) == (1, requested_ms)


def test_a_cleared_range_is_not_fetched_and_its_neighbours_stay(store: Store) -> None:
    put(store, KEY, 0, 10)
    set_gap(store, KEY, HOUR, 10 * HOUR, state=ACCEPTED, requested_ms=1, reason="outage")
    clear_gaps(store, KEY, [(3 * HOUR, 5 * HOUR)])
    assert [(gap.start // HOUR, gap.end // HOUR, gap.reason) for gap in read_gaps(store, KEY)] == [
        (1, 3, "outage"),
        (3, 5, None),
        (5, 10, "outage"),
    ]


def test_a_gap_that_is_requested_again_keeps_the_date_it_was_first_seen(store: Store) -> None:
    set_gap(store, KEY, 0, 10, state=UNKNOWN_IMPORT, requested_ms=1)
    set_gap(store, KEY, 0, 8, state=CONFIRMED, requested_ms=5)
    with store.read() as connection:
        rows = connection.execute(
            "SELECT from_timestamp, to_timestamp, state, first_seen_ms, last_requested_ms FROM gaps"
        ).fetchall()
    assert rows == [(0, 8, CONFIRMED, 1, 5), (8, 10, UNKNOWN_IMPORT, 1, 1)]
    assert read_confirmed_gaps(store, KEY) == [(0, 8)]


def test_gaps_of_another_series_explain_nothing(store: Store) -> None:
    set_gap(store, SeriesKey("binance", "ETH/USDT", "1h"), 0, 10, state=CONFIRMED, requested_ms=1)
    assert find_unexplained(store, KEY, [(0, 10)]) == [(0, 10)]


def put(store: Store, key: SeriesKey, *hours: int) -> None:
    rows = [Candle(hour * HOUR, 100.0, 110.0, 90.0, 105.0, 1.0) for hour in hours]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=1)


def summarize_gaps(
    store: Store, start: int | None = None, end: int | None = None
) -> list[tuple[object, ...]]:
    return [
        (gap.start // HOUR, gap.end // HOUR, gap.candles, gap.state, gap.last_requested_ms)
        for gap in read_gaps(store, KEY, start=start, end=end)
    ]


def test_a_gap_that_the_ledger_does_not_have_is_not_fetched(store: Store) -> None:
    """Failure mode 20."""
    put(store, KEY, 0, 1, 5, 7)
    assert summarize_gaps(store) == [(2, 5, 3, NOT_FETCHED, None), (6, 7, 1, NOT_FETCHED, None)]


def test_a_gap_is_cut_where_the_ledger_has_different_states(store: Store) -> None:
    put(store, KEY, 0, 10)
    set_gap(store, KEY, 2 * HOUR, 4 * HOUR, state=CONFIRMED, requested_ms=5)
    set_gap(store, KEY, 6 * HOUR, 20 * HOUR, state=UNKNOWN_IMPORT, requested_ms=6)
    assert summarize_gaps(store) == [
        (1, 2, 1, NOT_FETCHED, None),
        (2, 4, 2, CONFIRMED, 5),
        (4, 6, 2, NOT_FETCHED, None),
        (6, 10, 4, UNKNOWN_IMPORT, 6),
    ]


def test_a_filled_gap_is_not_a_gap_whatever_the_ledger_states(store: Store) -> None:
    put(store, KEY, 0, 1, 2, 3)
    set_gap(store, KEY, HOUR, 3 * HOUR, state=CONFIRMED, requested_ms=5)
    assert read_gaps(store, KEY) == []


def test_gaps_are_looked_for_between_closed_candles_and_inside_the_range(store: Store) -> None:
    put(store, KEY, 2, 5, 8)
    replace_forming(store, KEY, Candle(11 * HOUR, 1.0, 1.0, 1.0, 1.0, 1.0), seen_ms=1)
    assert [row[:2] for row in summarize_gaps(store)] == [(3, 5), (6, 8)]
    assert [row[:2] for row in summarize_gaps(store, 0, 7 * HOUR)] == [(3, 5), (6, 7)]
    assert summarize_gaps(store, 9 * HOUR, 20 * HOUR) == []


def test_a_series_without_candles_has_no_gaps(store: Store) -> None:
    set_gap(store, KEY, 0, HOUR, state=CONFIRMED, requested_ms=5)
    assert read_gaps(store, KEY) == []


def test_a_series_with_an_invalid_timeframe_is_named(store: Store) -> None:
    with pytest.raises(UsageError, match="timeframe '1x' was not understood"):
        read_gaps(store, SeriesKey("binance", "BTC/USDT", "1x"))


def test_an_empty_range_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="to_timestamp > from_timestamp"):
        set_gap(store, KEY, 5, 5, state=CONFIRMED, requested_ms=1)


def test_the_ledger_of_version_1_is_taken_over_without_overlaps_and_unproven(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [
        (0, 10, CONFIRMED, 1, 5),
        (4, 14, CONFIRMED, 2, 9),
        (14, 16, CONFIRMED, 3, 7),
        (12, 20, "unknown", 1, 1),
        (30, 40, "unknown", 4, 6),
        (35, 37, "not fetched", 3, 8),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCRIPTS", migrations.SCRIPTS[:1])
        patch.setattr(migrations, "NEWEST_VERSION", 1)
        with open_store(path, create=True) as store, store.write() as connection:
            connection.executemany(
                "INSERT INTO gaps VALUES ('binance', 'BTC/USDT', '1h', ?, ?, ?, ?, ?)", old
            )
    with open_store(path, create=False) as store, store.read() as connection:
        rows = connection.execute(
            "SELECT from_timestamp, to_timestamp, state, first_seen_ms, last_requested_ms FROM gaps"
        ).fetchall()
    assert rows == [
        (0, 14, UNPROVEN, 1, 9),
        (14, 16, UNPROVEN, 3, 7),
        (30, 40, UNPROVEN, 3, 8),
    ]


def test_gaps_of_version_2_called_none_at_exchange_are_unproven_without_a_response(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCRIPTS", migrations.SCRIPTS[:2])
        patch.setattr(migrations, "NEWEST_VERSION", 2)
        with open_store(path, create=True) as store, store.write() as connection:
            connection.executemany(
                "INSERT INTO gaps VALUES ('binance', 'BTC/USDT', '1h', ?, ?, ?, 1, 5)",
                [(3_600, 7_200, CONFIRMED), (14_400, 18_000, UNKNOWN_IMPORT)],
            )
    with open_store(path, create=False) as store:
        put(store, KEY, 0, 2, 3, 5)
        gaps = [
            (gap.start, gap.state, gap.responses, gap.since_ms) for gap in read_gaps(store, KEY)
        ]
    assert gaps == [(3_600, UNPROVEN, 0, 5), (14_400, UNKNOWN_IMPORT, 0, 5)]


states = st.sampled_from([CONFIRMED, UNPROVEN, UNKNOWN_IMPORT])


@settings(
    max_examples=count_examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(writes=st.lists(st.tuples(spans, states, st.integers(1, 3)), max_size=12))
def test_the_ledger_has_the_last_written_state_for_each_time(
    shared_store: Store,
    fresh_keys: Iterator[SeriesKey],
    writes: list[tuple[tuple[int, int], GapState, int]],
) -> None:
    key = next(fresh_keys)
    expected: dict[int, tuple[GapState, int]] = {}
    for (start, end), state, requested_ms in writes:
        set_gap(shared_store, key, start, end, state=state, requested_ms=requested_ms)
        expected.update(dict.fromkeys(range(start, end), (state, requested_ms)))
    with shared_store.read() as connection:
        rows = connection.execute(
            "SELECT from_timestamp, to_timestamp, state, last_requested_ms, first_seen_ms "
            "FROM gaps WHERE symbol = ? ORDER BY from_timestamp",
            (key.symbol,),
        ).fetchall()
    held = [(moment, (row[2], row[3])) for row in rows for moment in range(row[0], row[1])]
    assert dict(held) == expected
    assert len(held) == len(expected)
    assert all(row[4] <= row[3] for row in rows)
    # Neighbours in the same state are one row.
    assert all(left[1] < right[0] or left[2:4] != right[2:4] for left, right in pairwise(rows))


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN"])
def test_a_write_that_reads_first_is_not_overtaken(
    path: Path, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    """Failure mode 47, once with its guard switched off."""
    monkeypatch.setattr(database, "BEGIN_WRITE", begin)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    add = "UPDATE leases SET token = ?"
    with open_store(path, create=True) as ours, open_store(path, create=False) as theirs:
        ours.lock_timeout_seconds = theirs.lock_timeout_seconds = 0.0
        with ours.write() as connection:
            connection.execute(
                "INSERT INTO leases (name, holder, token, expires_ms) VALUES ('counter', '', 0, 0)"
            )

        def count_up(store: Store, meanwhile: Callable[[], None]) -> bool:
            try:
                with store.write() as connection:
                    token = connection.execute("SELECT token FROM leases").get
                    meanwhile()
                    connection.execute(add, (token + 1,))
            except StoreError:
                return False
            return True

        theirs_came_first: list[bool] = []
        ours_done = count_up(ours, lambda: theirs_came_first.append(count_up(theirs, do_nothing)))
        with ours.read() as connection:
            counted = connection.execute("SELECT token FROM leases").get
    # Guarded, the other one waits; deferred, it gets through, and ours fails at once.
    assert (ours_done, theirs_came_first) == (begin != "BEGIN", [begin == "BEGIN"])
    assert counted == 1


def do_nothing() -> None:
    pass
