"""The gap ledger: what is explained, and what is left of a hole."""

from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import SeriesKey
from onetape.store.database import Store
from onetape.store.gaps import (
    CONFIRMED,
    NOT_FETCHED,
    UNKNOWN_IMPORT,
    confirmed_gaps,
    set_gap,
    unexplained,
)

KEY = SeriesKey("binance", "BTC/USDT", "1h")


@st.composite
def a_span(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, 60))
    return start, start + draw(st.integers(1, 25))


spans = a_span()


def disjoint(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if not kept or start > kept[-1][1]:
            kept.append((start, end))
    return kept


def moments(ranges: list[tuple[int, int]]) -> set[int]:
    return {moment for start, end in ranges for moment in range(start, end)}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.lists(spans, max_size=8), holes=st.lists(spans, max_size=6).map(disjoint))
def test_what_is_unexplained_is_the_holes_less_the_confirmed_gaps(
    shared_store: Store,
    fresh_keys: Iterator[SeriesKey],
    known: list[tuple[int, int]],
    holes: list[tuple[int, int]],
) -> None:
    key = next(fresh_keys)
    for start, end in known:
        set_gap(shared_store, key, start, end, state=CONFIRMED, asked_ms=1)
    left = unexplained(shared_store, key, holes)
    assert moments(left) == moments(holes) - moments(known)
    assert left == sorted(left)
    assert all(start < end for start, end in left)


def test_only_a_confirmed_gap_explains(store: Store) -> None:
    set_gap(store, KEY, 0, 10, state=UNKNOWN_IMPORT, asked_ms=1)
    set_gap(store, KEY, 20, 30, state=NOT_FETCHED, asked_ms=1)
    assert unexplained(store, KEY, [(0, 40)]) == [(0, 40)]


def test_a_gap_that_is_asked_for_again_keeps_the_date_it_was_first_seen(store: Store) -> None:
    set_gap(store, KEY, 0, 10, state=UNKNOWN_IMPORT, asked_ms=1)
    set_gap(store, KEY, 0, 8, state=CONFIRMED, asked_ms=5)
    with store.read() as connection:
        rows = connection.execute(
            "SELECT from_timestamp, to_timestamp, state, first_seen_ms, last_asked_ms FROM gaps"
        ).fetchall()
    assert rows == [(0, 8, CONFIRMED, 1, 5), (8, 10, UNKNOWN_IMPORT, 1, 1)]
    assert confirmed_gaps(store, KEY) == [(0, 8)]


def test_gaps_of_another_series_explain_nothing(store: Store) -> None:
    set_gap(store, SeriesKey("binance", "ETH/USDT", "1h"), 0, 10, state=CONFIRMED, asked_ms=1)
    assert unexplained(store, KEY, [(0, 10)]) == [(0, 10)]
