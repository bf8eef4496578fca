"""Revisions: a late value is stored next to the candle until a person accepts it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import StoreError, UsageError
from onetape.store import migrations
from onetape.store.candles import (
    InsertReport,
    insert_closed_rows,
    read_candle_at,
    replace_forming,
)
from onetape.store.database import Store, open_store
from onetape.store.reading import read_closed_between
from onetape.store.revisions import accept, accept_outranking, read_revisions
from onetape.store.stream_closes import store_marked
from repeatable import count_examples

HOUR = 3_600
NOW_MS = 100 * HOUR * 1_000
KEY = SeriesKey("binance", "BTC/USDT", "1h")
OTHER = SeriesKey("binance", "ETH/USDT", "1h")
PLAIN = (
    "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, close, "
    "volume) VALUES ('binance', 'BTC/USDT', '1h', ?, 100, 110, 90, ?, 12.5)"
)


def make_candle(hour: int, close: float = 105.0) -> Candle:
    return Candle(hour * HOUR, 100.0, 110.0, 90.0, close, 12.5)


def put(store: Store, *rows: Candle, key: SeriesKey = KEY) -> InsertReport:
    return insert_closed_rows(store, key, rows, source="rest", seen_ms=1)


def list_closes(store: Store, *, open_only: bool = True) -> list[tuple[float, float, bool]]:
    found = read_revisions(store, open_only=open_only)
    return [(one.old.close, one.new.close, one.accepted) for one in found]


def test_a_revision_names_the_candle_both_values_and_the_source(store: Store) -> None:
    put(store, make_candle(1))
    put(store, make_candle(1, 99.0))
    (revision,) = read_revisions(store)
    assert (revision.key, revision.old, revision.new) == (KEY, make_candle(1), make_candle(1, 99.0))
    assert (revision.source, revision.accepted) == ("rest", False)
    assert revision.seen_ms > 1_700_000_000_000


def test_revisions_are_listed_of_one_series_or_of_all(store: Store) -> None:
    for key in (KEY, OTHER):
        put(store, make_candle(1), key=key)
        put(store, make_candle(1, 99.0), key=key)
    assert [each.key for each in read_revisions(store)] == [KEY, OTHER]
    assert [each.key for each in read_revisions(store, OTHER)] == [OTHER]


def test_an_accepted_revision_becomes_the_candle_and_is_not_listed_again(store: Store) -> None:
    put(store, make_candle(1))
    put(store, make_candle(1, 99.0))
    (revision,) = read_revisions(store)
    assert accept(store, [revision.id], accepted_ms=NOW_MS) == 1
    assert read_closed_between(store, KEY, 0, 9 * HOUR).close.tolist() == [99.0]
    assert list_closes(store) == []
    assert list_closes(store, open_only=False) == [(105.0, 99.0, True)]
    assert accept(store, [revision.id], accepted_ms=NOW_MS) == 0
    assert put(store, make_candle(1, 99.0)) == InsertReport(present=1)


def test_accepting_the_later_of_two_revisions_settles_both(store: Store) -> None:
    put(store, make_candle(1))
    put(store, make_candle(1, 99.0))
    put(store, make_candle(1, 98.0))
    accept(store, [read_revisions(store)[-1].id], accepted_ms=NOW_MS)
    assert read_candle_at(store, KEY, HOUR) == make_candle(1, 98.0)
    assert list_closes(store) == []


def test_a_value_that_the_exchange_took_back_is_not_accepted_by_accepting_all(store: Store) -> None:
    put(store, make_candle(1), make_candle(2))
    put(store, make_candle(1, 99.0), make_candle(2, 98.0))
    is_open = [one.id for one in read_revisions(store)]
    assert put(store, make_candle(1)) == InsertReport(present=1)
    assert list_closes(store) == [(105.0, 98.0, False)]
    assert accept(store, is_open, accepted_ms=NOW_MS) == 1
    assert read_candle_at(store, KEY, HOUR) == make_candle(1)
    assert read_candle_at(store, KEY, 2 * HOUR) == make_candle(2, 98.0)


def test_a_file_that_has_the_stored_value_settles_nothing(store: Store) -> None:
    put(store, make_candle(1))
    put(store, make_candle(1, 99.0))
    insert_closed_rows(store, KEY, [make_candle(1)], source="import", seen_ms=1)
    assert len(list_closes(store)) == 1


def test_an_unknown_revision_changes_nothing(store: Store) -> None:
    put(store, make_candle(1))
    put(store, make_candle(1, 99.0))
    with pytest.raises(UsageError, match="has no revision 77; list them"):
        accept(store, [read_revisions(store)[0].id, 77], accepted_ms=NOW_MS)
    assert read_candle_at(store, KEY, HOUR) == make_candle(1)
    assert len(list_closes(store)) == 1


def test_a_revision_of_a_candle_that_was_deleted_is_refused(store: Store) -> None:
    put(store, make_candle(1))
    put(store, make_candle(1, 99.0))
    with store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data")
    with pytest.raises(StoreError, match="the candle of revision 1 is not stored any more"):
        accept(store, [1], accepted_ms=NOW_MS)


def test_a_value_that_no_candle_may_have_is_not_accepted(store: Store, foreign: Any) -> None:
    put(store, make_candle(1))
    # The trigger keeps what plain SQL tried to write, before any check of the table.
    foreign(store.path, (PLAIN, [HOUR, 500.0]))
    (revision,) = read_revisions(store)
    assert (revision.new.close, revision.source) == (500.0, None)
    with pytest.raises(StoreError, match="CHECK constraint failed"):
        accept(store, [revision.id], accepted_ms=NOW_MS, force=True)
    assert read_candle_at(store, KEY, HOUR) == make_candle(1)


def test_rest_replaces_a_row_of_plain_sql_and_keeps_a_different_value_as_a_revision(
    store: Store, foreign: Any
) -> None:
    foreign(store.path, (PLAIN, [HOUR, 99.0]), (PLAIN, [2 * HOUR, 105.0]))
    report = put(store, make_candle(1), make_candle(2), make_candle(3))
    assert report == InsertReport(inserted=3, revised=1)
    assert read_candle_at(store, KEY, HOUR) == make_candle(1)
    assert list_closes(store, open_only=False) == [(99.0, 105.0, True)]


#: How each rank of value reaches a file, by what it is called there.
AFTER_MS = {"at the close": 2 * HOUR * 1_000 + 5_000, "settled": 2 * HOUR * 1_000 + 60_000}


def write(store: Store, origin: str, close: float) -> None:
    """Write the candle of 01:00 as a program does whose value has this rank."""
    row = make_candle(1, close)
    match origin:
        case "frame":
            replace_forming(store, KEY, row, seen_ms=1)
        case "stream close":
            store_marked(store, KEY, row, closed_ms=1)
        case "file":
            insert_closed_rows(store, KEY, [row], source="import", seen_ms=AFTER_MS["settled"])
        case _:
            insert_closed_rows(store, KEY, [row], source="rest", seen_ms=AFTER_MS[origin])


RANKS = {"frame": 0, "file": 1, "at the close": 2, "stream close": 3, "settled": 4}


@pytest.mark.parametrize("stored", ["file", "at the close", "stream close", "settled"])
@pytest.mark.parametrize("came", ["frame", "file", "at the close", "stream close", "settled"])
def test_only_a_value_of_a_higher_rank_is_accepted(store: Store, stored: str, came: str) -> None:
    write(store, stored, 105.0)
    write(store, came, 99.0)
    (revision,) = read_revisions(store)
    assert (revision.stored_rank, revision.rank) == (RANKS[stored], RANKS[came])
    is_later_rest = stored == came and came in AFTER_MS
    is_better = RANKS[came] > RANKS[stored] or is_later_rest
    assert revision.outranks is is_better
    assert accept_outranking(store, [revision.id], accepted_ms=NOW_MS) == is_better
    assert read_candle_at(store, KEY, HOUR) == make_candle(1, 99.0 if is_better else 105.0)
    if not is_better:
        words = "of the same rank" if came == stored else "that ranks higher"
        with pytest.raises(UsageError, match=f"would replace a value {words}: "):
            accept(store, [revision.id], accepted_ms=NOW_MS)
        assert accept(store, [revision.id], accepted_ms=NOW_MS, force=True) == 1
        assert read_candle_at(store, KEY, HOUR) == make_candle(1, 99.0)


def test_the_revision_of_the_highest_rank_is_accepted_and_a_stale_frame_is_settled(
    store: Store,
) -> None:
    write(store, "at the close", 105.0)
    write(store, "settled", 99.0)
    write(store, "frame", 101.0)
    assert (
        accept_outranking(store, [one.id for one in read_revisions(store)], accepted_ms=NOW_MS) == 1
    )
    assert read_candle_at(store, KEY, HOUR) == make_candle(1, 99.0)
    assert read_revisions(store) == []


def test_a_value_repeated_by_a_better_source_is_one_revision_of_its_rank(
    store: Store,
) -> None:
    write(store, "at the close", 105.0)
    write(store, "frame", 99.0)
    write(store, "settled", 99.0)
    write(store, "frame", 99.0)
    (revision,) = read_revisions(store)
    assert (revision.rank, revision.source) == (4, "rest")


def test_a_value_that_rest_confirms_well_after_the_close_has_that_rank(store: Store) -> None:
    write(store, "at the close", 105.0)
    write(store, "settled", 105.0)
    write(store, "frame", 99.0)
    (revision,) = read_revisions(store)
    assert revision.stored_rank == RANKS["settled"]
    with store.read() as connection:
        assert connection.execute("SELECT source FROM ohlcv_data").get == "rest"


def test_a_rest_value_right_at_the_close_settles_no_value_of_a_higher_rank(store: Store) -> None:
    write(store, "at the close", 105.0)
    write(store, "settled", 99.0)
    write(store, "at the close", 105.0)
    assert list_closes(store) == [(105.0, 99.0, False)]
    write(store, "settled", 105.0)
    assert list_closes(store) == []


@settings(
    max_examples=count_examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    written=st.lists(
        st.tuples(st.sampled_from(sorted(RANKS)), st.sampled_from([95.0, 99.0, 105.0])), max_size=8
    )
)
def test_accepting_all_never_replaces_a_value_by_one_of_a_lower_rank(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("ranks") / "onetape.db"
    with open_store(path, create=True) as store:
        write(store, "at the close", 100.0)
        for origin, close in written:
            write(store, origin, close)
        revisions = read_revisions(store)
        before = {one.stored_rank for one in revisions}
        accept_outranking(store, [one.id for one in revisions], accepted_ms=NOW_MS)
        row = read_candle_at(store, KEY, HOUR)
        assert row is not None
        accepted = [one for one in revisions if one.new == row]
        best = max((one.rank for one in revisions), default=0)
        assert all(one.stored_rank == best or not one.outranks for one in read_revisions(store))
        if accepted:
            assert max(one.rank for one in accepted) >= max(rank or 0 for rank in before)


def test_revisions_of_version_2_rank_by_their_source_and_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCRIPTS", migrations.SCRIPTS[:2])
        patch.setattr(migrations, "NEWEST_VERSION", 2)
        with open_store(path, create=True) as store, store.write() as connection:
            head = "exchange, symbol, timeframe, timestamp"
            values = "1, 1, 1, 1, 1"
            connection.execute(
                f"INSERT INTO ohlcv_data ({head}, open, high, low, close, volume, closed, source) "
                f"VALUES ('binance', 'BTC/USDT', '1h', 3600, {values}, 1, 'rest')"
            )
            for source, seen_ms in (("ws", 10**9), ("rest", 7_205_000), ("rest", 7_260_000)):
                connection.execute(
                    f"INSERT INTO revisions ({head}, source, seen_ms, old_open, old_high, old_low, "
                    "old_close, old_volume, new_open, new_high, new_low, new_close, new_volume) "
                    f"VALUES ('binance', 'BTC/USDT', '1h', 3600, ?, ?, {values}, {values})",
                    (source, seen_ms),
                )
    with open_store(path, create=False) as store:
        ranks = [(one.rank, one.stored_rank, one.outranks) for one in read_revisions(store)]
    assert ranks == [(0, 4, False), (2, 4, False), (4, 4, True)]
