"""SIGKILL at any time loses no acknowledged row and leaves no partial one."""

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import StoreError
from onetape.execution.positions import sum_position
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.ledger import read_fills
from onetape.store.reading import read_closed_between
from store_kills import ACCOUNT, BATCH, KilledCopy, kill_everywhere

KEY = SeriesKey("binance", "BTC/USDT", "1h")
#: Stores the newest state of a forming candle, prints it, and waits to be killed.
FORMING = """
import sys, time
from pathlib import Path
from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import replace_forming
from onetape.store.database import open_store
store = open_store(Path(sys.argv[1]), create=True)
key = SeriesKey("binance", "BTC/USDT", "1h")
replace_forming(store, key, Candle(3600, 100.0, 101.0, 99.0, 100.5, 1.0), seen_ms=1)
print("stored", flush=True)
time.sleep(60)
"""
#: Stores batches of 50 without end and names each one that was committed.
BATCHES = """
import sys
from itertools import count
from pathlib import Path
from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
store = open_store(Path(sys.argv[1]), create=True)
key = SeriesKey("binance", "BTC/USDT", "1h")
for batch in count():
    rows = [Candle((batch * 50 + i) * 3600, 1.0, 1.0, 1.0, 1.0, 0.0) for i in range(50)]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=1)
    print(batch, flush=True)
"""
FINAL = Candle(3_600, 100.0, 120.0, 80.0, 110.0, 55.0)


@contextmanager
def run_until_killed(script: str, path: Path, environment: dict[str, str]) -> Generator[Any]:
    """Run a script, and kill it at the end of the block."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    try:
        yield child.stdout
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()


@pytest.fixture
def abandoned_database(path: Path, child_environment: dict[str, str]) -> Path:
    """Return a database in which a killed process left a forming row."""
    with run_until_killed(FORMING, path, child_environment) as output:
        assert output.readline() == "stored\n"
    return path


def test_a_final_candle_replaces_a_forming_row_that_a_killed_process_left(
    abandoned_database: Path,
) -> None:
    with open_store(abandoned_database, create=False) as store:
        report = insert_closed_rows(store, KEY, [FINAL], source="rest", seen_ms=1)
        assert (report.inserted, report.present) == (1, 0)
        assert read_closed_between(store, KEY, 0, 10_000).high.tolist() == [120.0]


def test_without_the_delete_a_forming_row_would_block_the_final_one_for_ever(
    abandoned_database: Path, foreign: Any
) -> None:
    insert = (
        "INSERT OR IGNORE INTO ohlcv_data VALUES "
        "('binance', 'BTC/USDT', '1h', 3600, 100, 120, 80, 110, 55, 1, 'rest')"
    )
    read = "SELECT high, closed FROM ohlcv_data"
    assert foreign(abandoned_database, insert, read)[1] == [[101.0, 0]]


@pytest.mark.parametrize("batches", [1, 7, 30])
def test_a_kill_between_two_commits_loses_nothing_that_was_acknowledged(
    path: Path, child_environment: dict[str, str], foreign: Any, batches: int
) -> None:
    with run_until_killed(BATCHES, path, child_environment) as output:
        acknowledged = [int(output.readline()) for _ in range(batches)][-1]
        # Somewhere inside the next transactions, wherever the scheduler has it.
        time.sleep(0.002 * batches)
    rows, integrity = foreign(path, "SELECT count(*) FROM ohlcv_data", "PRAGMA integrity_check")
    assert rows[0][0] >= (acknowledged + 1) * 50
    assert rows[0][0] % 50 == 0
    assert integrity == [["ok"]]


@pytest.fixture
def closed(path: Path) -> Path:
    """Return a fresh database that no process has open."""
    open_store(path, create=True).close()
    return path


def find_harm(copy: KilledCopy) -> list[str]:
    """Return missing, duplicate and partial rows in a file whose writer was killed."""
    try:
        with open_store(copy.path, create=False) as store, store.read() as connection:
            check = connection.execute("PRAGMA quick_check").get
            trades = read_fills(store, ACCOUNT, "BTC/USDT")
            candles = connection.execute("SELECT count(*) FROM ohlcv_data").get
            closed_orders = connection.execute(
                "SELECT client_order_id FROM orders WHERE status = 'closed' ORDER BY 1"
            ).fetchall()
    except StoreError as error:
        return [str(error)]
    counts = {
        word: sum(line.startswith(word) for line in copy.lines) for word in ("trade", "candle")
    }
    found = {
        f"quick_check: {check}": check != "ok",
        f"{len(trades)} of {counts['trade']} acknowledged trades": len(trades) < counts["trade"],
        f"{candles} candles": candles % BATCH != 0 or candles < counts["candle"] * BATCH,
        "an order is closed without its trade, or open with it": (
            [(trade.client_order_id,) for trade in trades] != closed_orders
        ),
        "the position is not the sum of the trades": (
            sum_position(trades, "BTC", "USDT").base != len(closed_orders)
        ),
    }
    return [fault for fault, is_so in found.items() if is_so]


def test_a_kill_during_any_write_loses_no_acknowledged_row_and_leaves_no_partial_one(
    closed: Path,
) -> None:
    """Failure mode 42."""
    copies = kill_everywhere(closed, "trade", seed=42)
    assert [fault for copy in copies for fault in find_harm(copy)] == []


@pytest.mark.parametrize("guard", ["a write is one transaction", "a commit goes through the log"])
def test_without_a_guard_a_kill_leaves_rows_lost_or_partly_written(
    closed: Path, guard: str
) -> None:
    """Failure mode 42, its guards off."""
    copies = kill_everywhere(closed, "trade", seed=42, guard_off=guard)
    assert [fault for copy in copies for fault in find_harm(copy)] != []


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
def test_a_durable_write_is_on_the_disk_before_it_returns(
    path: Path, *, durable: bool, level: int
) -> None:
    """Failure mode 43, as far as it goes without cutting the power: FULL is 2, NORMAL is 1."""
    with open_store(path, create=True) as store:
        for _ in range(2):  # whatever the write before was
            with store.write(durable=not durable):
                pass
            with store.write(durable=durable) as connection:
                assert connection.execute("PRAGMA synchronous").get == level


def test_an_error_inside_a_write_leaves_nothing_of_it(path: Path) -> None:
    with open_store(path, create=True) as store:
        with pytest.raises(StoreError), store.write() as connection:
            connection.execute("INSERT INTO store_kind VALUES (1, 0); SELECT * FROM nothing")
        with store.read() as connection:
            assert connection.execute("SELECT count(*) FROM store_kind").get == 0
