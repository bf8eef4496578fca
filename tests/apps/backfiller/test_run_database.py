"""The database of a backfiller run: who closes the file."""

from pathlib import Path

import pytest

from backfiller.run_database import RunDatabase
from onetape.core.errors import StoreError
from onetape.store.candles import ensure_store_kind
from onetape.store.database import Store, open_store


def count_series(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute("SELECT DISTINCT symbol FROM ohlcv_data").fetchall())


def test_a_file_that_the_caller_has_opened_stays_open(tmp_path: Path) -> None:
    with open_store(tmp_path / "candles.db", create=True) as store:
        with RunDatabase(tmp_path / "candles.db", "binance", store) as database:
            assert database.store is store
        assert count_series(store) == 0


def test_a_file_that_the_caller_has_opened_stays_open_after_a_refusal(tmp_path: Path) -> None:
    with open_store(tmp_path / "candles.db", create=True) as store:
        ensure_store_kind(store, "binance", is_sandbox=True)
        with pytest.raises(StoreError, match="test network"):
            RunDatabase(tmp_path / "candles.db", "binance", store)
        assert count_series(store) == 0


def test_a_file_is_created_on_request_and_closed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "candles.db"
    with RunDatabase(path, "binance") as database:
        assert (database.store, path.exists()) == (None, False)
        store = database.get_or_open_store()
        assert database.get_or_open_store() is store
    assert path.exists()
    with pytest.raises(StoreError, match="has been closed"):
        count_series(store)
