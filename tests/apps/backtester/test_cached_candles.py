"""A backtest of candles from chunk files equals a backtest of candles from rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.store import reading
from onetape.store.cache import get_cache_folder
from onetape.store.database import open_store

Run = Callable[..., Any]
START, HOUR = 1_704_067_200, 3_600


def run_backtest(backtest_json: Run, *arguments: str) -> dict[str, Any]:
    document = backtest_json("--allow-gaps", *arguments).document
    del document["seconds"]
    return document


@pytest.mark.parametrize("span", [(), ("--from", "2024-02-01", "--to", "2024-03-05")])
def test_a_run_from_cached_candles_equals_the_run_from_rows(
    backtest_json: Run, database: Path, span: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        gap = (START + 900 * HOUR, START + 905 * HOUR)
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp >= ? AND timestamp < ?", gap)
    rows = run_backtest(backtest_json, *span)
    assert not get_cache_folder(database).exists()
    monkeypatch.setattr(reading, "ROWS_WITHOUT_CACHE", 0)
    assert [run_backtest(backtest_json, *span), run_backtest(backtest_json, *span)] == [rows, rows]
    assert list(get_cache_folder(database).iterdir())
    assert rows["unexplained_gaps"] == 5
