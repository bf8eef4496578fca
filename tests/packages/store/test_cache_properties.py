"""After any changes of the tables, reads through the cache equal reads of the rows."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from onetape.core.candles import Candle, SeriesKey
from onetape.core.digest import compute_data_digest
from onetape.core.errors import StoreError
from onetape.store import reading
from onetape.store.cache import get_cache_folder
from onetape.store.candles import insert_closed_rows, read_last_closed, replace_forming
from onetape.store.copying import copy_database
from onetape.store.database import open_store
from onetape.store.reading import read_closed_between
from onetape.store.revisions import accept, read_revisions
from onetape.store.stream_closes import store_marked
from plain_rows import list_candles, read_plain_rows

#: A series of each length of chunk, and one more that shares its times with the first.
SPANS = {
    SeriesKey("binance", "BTC/USDT", "1m"): (30 * 86_400, 60),
    SeriesKey("binance", "ETH/USDT", "1m"): (30 * 86_400, 60),
    SeriesKey("kraken", "BTC/USDT", "1h"): (365 * 86_400, 3_600),
    SeriesKey("kraken", "BTC/USDT", "1s"): (86_400, 1),
}
COLUMNS = "(exchange, symbol, timeframe, timestamp, open, high, low, close, volume, closed)"
VALUES = "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"

keys = st.sampled_from(list(SPANS))
#: Number of the chunk and of the candle in it; -1 is the last one of the chunk before.
places = st.tuples(st.integers(1, 3), st.integers(-2, 2))
prices = st.sampled_from([1.0, 1.25, 3.7])
states = st.sampled_from([None, 0, 1])
conflicts = st.sampled_from(["IGNORE", "REPLACE"])


def compute_time(key: SeriesKey, place: tuple[int, int]) -> int:
    span, step = SPANS[key]
    return place[0] * span + place[1] * step


def make_candle(key: SeriesKey, place: tuple[int, int], price: float) -> Candle:
    return Candle(compute_time(key, place), price, price + 1, price / 2, price, price * 7)


class CacheEqualsRows(RuleBasedStateMachine):
    """One database in all the hands that write to it, and its folder of chunk files."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onetape-cache-"))
        self.path = self.folder / "onetape.db"
        self.store = open_store(self.path, create=True)
        self.backups: list[Path] = []
        self.steps = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    def execute(self, statement: str, *values: Any) -> None:
        with self.store.write() as connection:
            connection.execute(statement, values)

    @rule(key=keys, batch=st.lists(places, min_size=1, max_size=6), price=prices)
    def closed_candles_come_by_rest(
        self, key: SeriesKey, batch: list[tuple[int, int]], price: float
    ) -> None:
        rows = [make_candle(key, place, price) for place in batch]
        insert_closed_rows(self.store, key, rows, source="rest", seen_ms=1)

    @rule(key=keys, place=places, price=prices)
    def a_forming_candle_comes(self, key: SeriesKey, place: tuple[int, int], price: float) -> None:
        replace_forming(self.store, key, make_candle(key, place, price), seen_ms=1)

    @rule(key=keys, place=places, price=prices)
    def a_marked_candle_comes(self, key: SeriesKey, place: tuple[int, int], price: float) -> None:
        store_marked(self.store, key, make_candle(key, place, price), closed_ms=1)

    @rule(key=keys, place=places, price=prices, closed=states, conflict=conflicts)
    def plain_sql_inserts(
        self, key: SeriesKey, place: tuple[int, int], price: float, closed: int, conflict: str
    ) -> None:
        candle = make_candle(key, place, price)
        self.execute(
            f"INSERT OR {conflict} INTO ohlcv_data {COLUMNS} {VALUES}", *key.names, *candle, closed
        )

    @rule()
    def revisions_are_accepted(self) -> None:
        for revision in read_revisions(self.store):
            # Refused where the candle was deleted meanwhile.
            with contextlib.suppress(StoreError):
                accept(self.store, [revision.id], accepted_ms=1, force=True)

    @rule(key=keys, place=places, price=prices)
    def plain_sql_changes_a_value(
        self, key: SeriesKey, place: tuple[int, int], price: float
    ) -> None:
        self.execute(
            f"UPDATE ohlcv_data SET volume = ? WHERE {SERIES} AND timestamp = ?",
            price, *key.names, compute_time(key, place),
        )  # fmt: skip

    @rule(key=keys, place=places, closed=states)
    def plain_sql_changes_the_state(
        self, key: SeriesKey, place: tuple[int, int], closed: int
    ) -> None:
        self.execute(
            f"UPDATE ohlcv_data SET closed = ? WHERE {SERIES} AND timestamp = ?",
            closed, *key.names, compute_time(key, place),
        )  # fmt: skip

    @rule(key=keys, place=places, other=keys, there=places, conflict=conflicts)
    def plain_sql_moves_a_row(
        self,
        key: SeriesKey,
        place: tuple[int, int],
        other: SeriesKey,
        there: tuple[int, int],
        conflict: str,
    ) -> None:
        self.execute(
            f"UPDATE OR {conflict} ohlcv_data SET exchange = ?, symbol = ?, timeframe = ?, "
            f"timestamp = ? WHERE {SERIES} AND timestamp = ?",
            *other.names, compute_time(other, there), *key.names, compute_time(key, place),
        )  # fmt: skip

    @rule(key=keys, start=places, end=places)
    def plain_sql_deletes(
        self, key: SeriesKey, start: tuple[int, int], end: tuple[int, int]
    ) -> None:
        self.execute(
            f"DELETE FROM ohlcv_data WHERE {SERIES} AND timestamp BETWEEN ? AND ?",
            *key.names, compute_time(key, start), compute_time(key, end),
        )  # fmt: skip

    @rule()
    def a_backup_is_made(self) -> None:
        backup = self.folder / f"{len(self.backups)}.backup"
        backup.touch()
        copy_database(self.path, backup)
        self.backups.append(backup)

    @rule(number=st.integers(0, 3))
    def a_backup_is_put_back(self, number: int) -> None:
        if number < len(self.backups):
            self.store.close()
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            shutil.copy(self.backups[number], self.path)
            self.store = open_store(self.path, create=False)

    @rule(number=st.integers(0, 7), keep=st.integers(0, 200))
    def a_file_is_cut(self, number: int, keep: int) -> None:
        files = sorted(get_cache_folder(self.path).glob("*.chunk"))
        if number < len(files):
            files[number].write_bytes(files[number].read_bytes()[:keep])

    @rule()
    def the_cache_folder_is_deleted(self) -> None:
        shutil.rmtree(get_cache_folder(self.path), ignore_errors=True)

    @rule(key=keys, start=places, end=places)
    def a_part_is_read(self, key: SeriesKey, start: tuple[int, int], end: tuple[int, int]) -> None:
        span = compute_time(key, start), compute_time(key, end)
        assert list_candles(read_closed_between(self.store, key, *span)) == read_plain_rows(
            self.store, key, *span
        )

    @rule(key=keys, price=prices, place=places)
    def a_transaction_reads_what_it_wrote(
        self, key: SeriesKey, price: float, place: tuple[int, int]
    ) -> None:
        with self.store.write():
            rows = [make_candle(key, place, price)]
            self.execute_inside(key, rows[0])
            assert list_candles(read_closed_between(self.store, key, 0, 2**40)) == read_plain_rows(
                self.store, key
            )

    def execute_inside(self, key: SeriesKey, candle: Candle) -> None:
        with self.store.read() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO ohlcv_data {COLUMNS} {VALUES}", (*key.names, *candle, 1)
            )

    @invariant()
    def reading_equals_the_rows(self) -> None:
        self.steps += 1
        # Now and then several things happen between two readings.
        if self.steps % 3 == 0:
            return
        for key in SPANS:
            wanted = read_plain_rows(self.store, key)
            candles = read_closed_between(self.store, key, 0, 2**40)
            assert list_candles(candles) == wanted
            assert list_candles(read_last_closed(self.store, key, 5)) == wanted[-5:]
            rows = read_closed_between(self.store, key, 0, 2**40, cached=False)
            assert compute_data_digest(candles) == compute_data_digest(rows)


@pytest.fixture(autouse=True, scope="module")
def always() -> Iterator[None]:
    """Use the cache for short ranges too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "ROWS_WITHOUT_CACHE", 0)
        yield


TestCacheEqualsRows = CacheEqualsRows.TestCase
TestCacheEqualsRows.settings = settings(max_examples=30, stateful_step_count=40)


#: Reads through the cache while it and others write, and compares with the rows of the same moment.
HAND = """
import random, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from onetape.core.candles import Candle, SeriesKey
from onetape.store import reading
from onetape.store.cache import find_chunks
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import open_store
from onetape.store.stream_closes import store_marked
from plain_rows import list_candles, read_plain_rows
reading.ROWS_WITHOUT_CACHE = 0
key, span = SeriesKey("binance", "BTC/USDT", "1m"), 30 * 86_400
chance = random.Random(sys.argv[2])
store = open_store(Path(sys.argv[1]), create=False)
served = 0
for _ in range(80):
    place = chance.randrange(3) * span + chance.randrange(200) * 60
    candle = Candle(place, 1.0, 2.0, 0.5, 1.5, chance.random())
    match chance.randrange(8):
        case 0:
            insert_closed_rows(store, key, [candle], source="rest", seen_ms=1)
        case 1:
            replace_forming(store, key, candle, seen_ms=1)
        case 2:
            store_marked(store, key, candle, closed_ms=1)
        case 3:
            with store.write() as connection:
                connection.execute("UPDATE ohlcv_data SET volume = 7 WHERE timestamp = ?", (place,))
        case 4:
            with store.write() as connection:
                connection.execute("DELETE FROM ohlcv_data WHERE timestamp = ?", (place,))
    reading.read_closed_between(store, key, 0, 2**40)
    with store.read() as connection:
        served += len(find_chunks(connection, key, 0, 2**40))
        found = reading.read_closed_between(store, key, 0, 2**40)
        assert list_candles(found) == read_plain_rows(store, key)
print(served)
"""


def test_concurrent_writers_readers_and_builders_always_read_the_rows(
    tmp_path: Path, child_environment: dict[str, str], repository: Path
) -> None:
    path = tmp_path / "onetape.db"
    key = SeriesKey("binance", "BTC/USDT", "1m")
    with open_store(path, create=True) as store:
        rows = [make_candle(key, (span, place), 1.25) for span in range(3) for place in range(200)]
        insert_closed_rows(store, key, rows, source="rest", seen_ms=1)
    support = str(repository / "tests" / "support")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", HAND, str(path), str(seed), support],
            env=child_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in range(3)
    ]  # fmt: skip
    results = [child.communicate(timeout=600) for child in children]
    assert [errors for _, errors in results] == [""] * 3
    assert all(int(served) > 0 for served, _ in results), "files were read, not rows alone"
