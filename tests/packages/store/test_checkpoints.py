"""Commits of a trader do not write the log into the file."""

import time
from itertools import count
from pathlib import Path

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.checkpoints import checkpoints_in_thread
from onetape.store.database import Store, open_store

KEY = SeriesKey("binance", "BTC/USDT", "1m")


def write(store: Store, batch: int) -> None:
    """Write 2,000 candles."""
    first = batch * 2_000
    rows = [Candle((first + i) * 60, 1.0, 1.0, 1.0, 1.0, 0.0) for i in range(2_000)]
    insert_closed_rows(store, KEY, rows, source="rest", seen_ms=1)


def test_no_commit_of_a_watched_store_writes_the_log_into_the_file(path: Path) -> None:
    seen: list[int] = []
    with open_store(path, create=True) as store, open_store(path, create=False) as other:
        before = path.stat().st_size
        store.set_log_watch(seen.append)
        for batch in range(100):
            write(store, batch)
            if seen[-1] > 1_200:
                break
        assert path.stat().st_size == before
        other.checkpoint()
        assert path.stat().st_size > before


def test_a_thread_writes_the_log_into_the_file_once_it_is_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.store.checkpoints.LOG_PAGES", 200)
    with open_store(path, create=True) as store, checkpoints_in_thread(store):
        before = path.stat().st_size
        deadline = time.monotonic() + 180
        for batch in count():
            write(store, batch)
            if path.stat().st_size > before:
                break
            assert time.monotonic() < deadline
