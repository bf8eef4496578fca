"""Damaged, deleted or unwritable chunk files change no result."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.store import cache, reading
from onetape.store.cache import Chunk, find_chunks, get_cache_folder
from onetape.store.candles import insert_closed_rows
from onetape.store.chunks import write_chunk
from onetape.store.copying import copy_database
from onetape.store.database import Store, open_store
from onetape.store.reading import read_closed_between
from plain_rows import list_candles, read_plain_rows

KEY = SeriesKey("binance", "BTC/USDT", "1h")
HOUR = 3_600
YEAR = 365 * 86_400
INSERT = (
    "INSERT INTO ohlcv_data "
    "(exchange, symbol, timeframe, timestamp, open, high, low, close, volume, closed)"
)
ROW = "exchange = 'binance' AND timestamp = 3600"


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cache for short ranges too."""
    monkeypatch.setattr(reading, "ROWS_WITHOUT_CACHE", 0)


@pytest.fixture
def filled(store: Store) -> Store:
    """Return a database with three spans of five candles."""
    hours = [*range(5), *range(8_760, 8_765), *range(17_520, 17_525)]
    rows = [Candle(hour * HOUR, 100.1, 110.7, 90.3, 105.9, hour / 7) for hour in hours]
    insert_closed_rows(store, KEY, rows, source="rest", seen_ms=1)
    return store


def read_chunks(store: Store) -> list[Chunk]:
    with store.read() as connection:
        return find_chunks(connection, KEY, 0, 2**40)


def get_chunk_path(store: Store, chunk: Chunk) -> Path:
    return get_cache_folder(store.path) / chunk.file_name


def read_all(store: Store) -> list[tuple[float, ...]]:
    return list_candles(read_closed_between(store, KEY, 0, 2**40))


def run(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.execute(statement)


def flip(at: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(data)

    return damage


def resize(change: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, change(path.stat().st_size))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [
    *(pytest.param(flip(at), id=f"byte {at}") for at in (0, 8, 12, 16, 31, 32, 40, -1)),
    pytest.param(resize(lambda size: size // 2), id="cut"),
    pytest.param(resize(lambda _: 0), id="empty"),
    pytest.param(resize(lambda size: size + 1), id="longer"),
    pytest.param(Path.unlink, id="missing"),
    pytest.param(replace_by_folder, id="folder"),
]


def test_cache_files_and_folder_are_private_to_the_owner(filled: Store) -> None:
    read_all(filled)
    folder = get_cache_folder(filled.path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_cached_candles_are_read_from_the_files(filled: Store) -> None:
    wanted = read_all(filled)
    # Rows that change without their trigger show where the candles come from.
    run(filled, "DROP TRIGGER ohlcv_data_update_ends_chunk")
    run(filled, "UPDATE ohlcv_data SET close = 99.5")
    assert read_all(filled) == wanted


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_used_and_is_written_again(
    filled: Store, damage: Callable[[Path], None]
) -> None:
    wanted = read_all(filled)
    broken = read_chunks(filled)[1]
    damage(get_chunk_path(filled, broken))
    assert read_all(filled) == wanted
    assert not get_chunk_path(filled, broken).is_file()
    assert read_all(filled) == wanted
    assert all(get_chunk_path(filled, chunk).is_file() for chunk in read_chunks(filled))
    assert broken.key not in {chunk.key for chunk in read_chunks(filled)}


def test_a_sound_file_under_the_name_of_another_is_not_used(filled: Store) -> None:
    wanted = read_all(filled)
    first, second, _ = read_chunks(filled)
    shutil.copy(get_chunk_path(filled, first), get_chunk_path(filled, second))
    assert read_all(filled) == wanted


@pytest.mark.parametrize(
    ("operation", "statement"),
    [
        ("insert", f"{INSERT} VALUES ('binance', 'BTC/USDT', '1h', 36000, 1, 1, 1, 1, 1, 1)"),
        ("delete", f"DELETE FROM ohlcv_data WHERE {ROW}"),
        ("update", f"UPDATE ohlcv_data SET close = 99.5 WHERE {ROW}"),
        ("update", f"UPDATE ohlcv_data SET closed = 0 WHERE {ROW}"),
        ("update", f"UPDATE ohlcv_data SET timestamp = 36000 WHERE {ROW}"),
        ("update", f"UPDATE ohlcv_data SET timestamp = timestamp + {YEAR} + 36000 WHERE {ROW}"),
        ("update", f"UPDATE ohlcv_data SET symbol = 'ETH/USDT' WHERE {ROW}"),
    ],
)  # fmt: skip
def test_a_change_is_visible_at_once_and_would_not_be_without_its_trigger(
    filled: Store, operation: str, statement: str
) -> None:
    stale = read_all(filled)
    copy = filled.path.with_name("copy.db")
    copy.touch()
    copy_database(filled.path, copy)
    run(filled, statement)
    assert read_all(filled) == read_plain_rows(filled, KEY) != stale

    shutil.copytree(get_cache_folder(filled.path), get_cache_folder(copy))
    with open_store(copy, create=False) as unguarded:
        read_all(unguarded)
        run(unguarded, f"DROP TRIGGER ohlcv_data_{operation}_ends_chunk")
        run(unguarded, statement)
        assert read_all(unguarded) == stale, "the guard is what this test is about"


def test_a_forming_row_moved_onto_a_closed_one_is_visible_at_once(filled: Store) -> None:
    run(filled, f"{INSERT} VALUES ('binance', 'BTC/USDT', '1h', {3 * YEAR}, 1, 1, 1, 1, 1, 0)")
    before = read_all(filled)
    run(filled, f"UPDATE OR REPLACE ohlcv_data SET timestamp = 3600 WHERE timestamp = {3 * YEAR}")
    assert read_all(filled) == [row for row in before if row[0] != HOUR]


def test_a_cache_folder_that_cannot_be_created_changes_no_result(filled: Store) -> None:
    get_cache_folder(filled.path).write_text("in the way")
    assert read_all(filled) == read_plain_rows(filled, KEY)
    assert read_chunks(filled) == []


def test_a_deleted_cache_folder_is_created_again(filled: Store) -> None:
    wanted = read_all(filled)
    shutil.rmtree(get_cache_folder(filled.path))
    assert read_all(filled) == wanted
    assert len(list(get_cache_folder(filled.path).iterdir())) == 3


def test_a_file_that_may_only_be_read_is_read(filled: Store) -> None:
    with filled.read() as connection:
        pass
    connection.execute("PRAGMA query_only = ON")
    assert read_all(filled) == read_plain_rows(filled, KEY)
    assert read_chunks(filled) == []
    assert list(get_cache_folder(filled.path).iterdir()) == []


def test_an_active_writer_delays_no_reader(filled: Store) -> None:
    with filled.read() as reader:
        reader.set_busy_timeout(60_000)
    with open_store(filled.path, create=False) as other, other.write() as connection:
        connection.execute(f"UPDATE ohlcv_data SET close = 99.5 WHERE {ROW}")
        began = time.monotonic()
        assert len(read_all(filled)) == 15
        assert time.monotonic() - began < 30, "SQLite would have waited for 60 s"
    assert read_all(filled) == read_plain_rows(filled, KEY)
    assert len(read_chunks(filled)) == 3


def test_a_change_while_a_chunk_is_built_discards_the_chunk(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_chunk

    def overtaken(path: Path, key: bytes, candles: Candles) -> None:
        written(path, key, candles)
        with open_store(filled.path, create=False) as other:
            run(other, f"UPDATE ohlcv_data SET volume = volume + 1 WHERE {ROW}")

    monkeypatch.setattr(cache, "write_chunk", overtaken)
    for _ in range(2):
        assert read_all(filled) == read_plain_rows(filled, KEY)
        assert read_chunks(filled) == []
        assert list(get_cache_folder(filled.path).iterdir()) == []


def test_old_leftover_files_are_deleted(filled: Store) -> None:
    folder = get_cache_folder(filled.path)
    folder.mkdir()
    for name, age in (("old", 3_600), ("new", 0)):
        path = folder / f"{name}.chunk"
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    read_all(filled)
    assert not (folder / "old.chunk").exists()
    assert (folder / "new.chunk").exists(), "another process may be about to name it"
    assert all(get_chunk_path(filled, chunk).is_file() for chunk in read_chunks(filled))


#: Reads through the cache and is killed while it writes its first chunk file.
KILLED = """
import os, signal, sys
from pathlib import Path
from onetape.core.candles import SeriesKey
from onetape.store import cache, reading
from onetape.store.database import open_store
reading.ROWS_WITHOUT_CACHE = 0
whole = cache.write_chunk
def cut(path, key, candles):
    whole(path, key, candles)
    os.truncate(path, 50)
    os.kill(os.getpid(), signal.SIGKILL)
cache.write_chunk = cut
reading.read_closed_between(
    open_store(Path(sys.argv[1]), create=False), SeriesKey("binance", "BTC/USDT", "1h"), 0, 2**40
)
"""


def test_a_reader_killed_while_it_writes_a_file_leaves_only_an_unused_file(
    filled: Store, child_environment: dict[str, str]
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(filled.path)], env=child_environment, timeout=180
    )
    assert child.returncode == -9
    assert [path.stat().st_size for path in get_cache_folder(filled.path).iterdir()] == [50]
    assert read_chunks(filled) == []
    assert read_all(filled) == read_plain_rows(filled, KEY)
    assert len(read_chunks(filled)) == 3


#: Reads through the cache where no file may grow beyond a few bytes, as on a full disk.
FULL = """
import resource, sys
from pathlib import Path
from onetape.core.candles import SeriesKey
from onetape.store import cache, reading
from onetape.store.database import open_store
reading.ROWS_WITHOUT_CACHE = 0
store = open_store(Path(sys.argv[1]), create=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
print(len(reading.read_closed_between(store, SeriesKey("binance", "BTC/USDT", "1h"), 0, 2**40)))
"""


def test_a_full_disk_changes_no_result(filled: Store, child_environment: dict[str, str]) -> None:
    child = subprocess.run(
        [sys.executable, "-c", FULL, str(filled.path)],
        env=child_environment, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert (child.stdout.strip(), child.stderr) == ("15", "")
    assert read_chunks(filled) == []
    assert list(get_cache_folder(filled.path).iterdir()) == []
