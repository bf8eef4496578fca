"""Old tickers are deleted in small steps, and nothing else is."""

import pytest

from noted_sleep import make_noted_sleep
from onetape.store.database import Store
from onetape.store.leases import acquire_lease
from onetape.store.market_data import (
    DELETED_A_TIME,
    BestPrices,
    delete_tickers_before,
    insert_ticker,
)


def fill(store: Store, symbol: str, count: int) -> None:
    with store.write() as connection:
        connection.executemany(
            "INSERT INTO ticker_data (exchange, symbol, timestamp_ms, last) "
            "VALUES ('binance', ?, ?, 1.0)",
            [(symbol, moment) for moment in range(count)],
        )


def read_times(store: Store, symbol: str) -> list[int]:
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp_ms FROM ticker_data WHERE symbol = ? ORDER BY 1", (symbol,)
        )
        return [moment for (moment,) in rows]


@pytest.mark.parametrize("count", [0, 1, DELETED_A_TIME, 2 * DELETED_A_TIME + 7])
def test_only_older_tickers_of_the_symbol_are_deleted(store: Store, count: int) -> None:
    fill(store, "BTC/USDT", count + 3)
    fill(store, "ETH/USDT", 10)
    assert delete_tickers_before(store, "binance", "BTC/USDT", count) == count
    assert read_times(store, "BTC/USDT") == [count, count + 1, count + 2]
    assert read_times(store, "ETH/USDT") == list(range(10))


def test_a_call_deletes_no_more_than_its_limit_and_the_oldest_first(store: Store) -> None:
    fill(store, "BTC/USDT", 2_000)
    assert delete_tickers_before(store, "binance", "BTC/USDT", 1_500, at_most=1_200) == 1_200
    assert read_times(store, "BTC/USDT")[0] == 1_200
    assert delete_tickers_before(store, "binance", "BTC/USDT", 1_500, at_most=1_200) == 300


def test_a_transaction_deletes_few_rows_so_that_others_can_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "BTC/USDT", 1_700)
    acquire_lease(store, "paper", "a trader", now_ms=2**50, seconds=20)
    rests: list[float] = []
    monkeypatch.setattr("onetape.store.database.time", make_noted_sleep(rests))
    delete_tickers_before(store, "binance", "BTC/USDT", 1_700)
    assert len(rests) == 4


def test_a_table_that_is_cleaned_does_not_grow(store: Store) -> None:
    sizes: list[int] = []
    for moment in range(3_000):
        insert_ticker(store, "binance", "BTC/USDT", BestPrices(moment, 1.0, 2.0, 1.5))
        if moment % 500 == 499:
            delete_tickers_before(store, "binance", "BTC/USDT", moment - 500)
            with store.read() as connection:
                sizes.append(connection.execute("PRAGMA page_count").get)
    assert sizes[-1] <= sizes[1] + 1
    assert len(read_times(store, "BTC/USDT")) <= 501
