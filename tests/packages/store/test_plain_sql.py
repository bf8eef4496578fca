"""The documented SQL works with the standard library's sqlite3 in another process."""

from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import SeriesKey
from onetape.store import migrations
from onetape.store.candles import read_last_closed
from onetape.store.database import Store, open_store
from onetape.store.reading import read_closed_between

KEY = SeriesKey("binance", "BTC/USDT", "1h")
COLUMNS = "(exchange, symbol, timeframe, timestamp, open, high, low, close, volume)"
INSERT = f"INTO ohlcv_data {COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT = (
    "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data "
    "WHERE exchange = 'binance' AND symbol = 'BTC/USDT' AND timeframe = '1h' ORDER BY timestamp"
)


def make_row(timestamp: int, close: float = 105.0, exchange: str = "binance") -> list[Any]:
    return [exchange, "BTC/USDT", "1h", timestamp, 100.0, 110.0, 90.0, close, 12.5]


def test_the_documented_inserts_and_selects_work(store: Store, foreign: Any) -> None:
    *_, kept, replaced = foreign(
        store.path,
        (f"INSERT OR IGNORE {INSERT}", make_row(0)),
        (f"INSERT OR IGNORE {INSERT}", make_row(3_600, 101.0)),
        (f"INSERT OR IGNORE {INSERT}", make_row(3_600, 109.0)),
        SELECT,
        (f"INSERT OR REPLACE {INSERT}", make_row(3_600, 109.0)),
        SELECT,
    )[3::2]
    assert [line[4] for line in kept] == [105.0, 101.0]
    assert [line[4] for line in replaced] == [105.0, 109.0]


def test_a_row_of_plain_sql_is_closed_once_a_later_one_exists(store: Store, foreign: Any) -> None:
    foreign(
        store.path, *((f"INSERT OR REPLACE {INSERT}", make_row(hour * 3_600)) for hour in range(3))
    )
    assert read_closed_between(store, KEY, 0, 10**9).timestamp.tolist() == [0, 3_600]
    assert read_last_closed(store, KEY, 10).timestamp.tolist() == [0, 3_600]


def test_a_file_of_version_1_takes_the_same_plain_sql_after_its_migration(
    path: Path, foreign: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCRIPTS", migrations.SCRIPTS[:1])
        patch.setattr(migrations, "NEWEST_VERSION", 1)
        open_store(path, create=True).close()
        foreign(path, (f"INSERT OR IGNORE {INSERT}", make_row(0)))
    open_store(path, create=False).close()
    resampled = f"INSERT INTO ohlcv_data {COLUMNS[:-1]}, closed, source) VALUES ({'?, ' * 9}1, ?)"
    *written, refused, rows, integrity = foreign(
        path,
        (f"INSERT OR IGNORE {INSERT}", make_row(3_600)),
        (f"INSERT OR REPLACE {INSERT}", make_row(0, 101.0)),
        (resampled, [*make_row(7_200), "resample"]),
        (resampled, [*make_row(10_800), "dream"]),
        SELECT,
        "PRAGMA integrity_check",
    )
    assert written == [[]] * 3
    assert "CHECK constraint failed" in refused
    assert [(line[0], line[4]) for line in rows] == [(0, 101.0), (3_600, 105.0), (7_200, 105.0)]
    assert integrity == [["ok"]]


def test_seconds_of_milliseconds_and_bad_prices_are_dropped_by_or_ignore_and_named_without_it(
    store: Store, foreign: Any
) -> None:
    bad = [
        make_row(1_704_067_200_000),
        make_row(0, 111.0),
        make_row(0, 0.0),
        make_row(0, -1.0),
        make_row(0, 1e300),
    ]
    results = foreign(
        store.path,
        *((f"INSERT OR IGNORE {INSERT}", each) for each in bad),
        *((f"INSERT {INSERT}", each) for each in bad),
        "SELECT count(*) FROM ohlcv_data",
        "SELECT count(*) FROM store_kind",
    )
    assert results[:5] == [[]] * 5
    assert all("CHECK constraint failed" in text for text in results[5:10])
    assert results[10:] == [[[0]], [[0]]]


def test_infinity_is_refused_by_the_table(store: Store, foreign: Any) -> None:
    infinite = (
        "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, close, "
        "volume) VALUES ('binance', 'BTC/USDT', '1h', 0, 1, 9e999, 1, 1, 1)"
    )
    assert "CHECK constraint failed" in foreign(store.path, infinite)[0]


def test_simulated_and_real_candles_never_share_a_file(store: Store, foreign: Any) -> None:
    results = foreign(
        store.path,
        (f"INSERT OR IGNORE {INSERT}", make_row(0)),
        (f"INSERT OR IGNORE {INSERT}", make_row(0, exchange="simulator")),
        (f"INSERT OR REPLACE {INSERT}", make_row(0, exchange="simulator")),
        "SELECT DISTINCT exchange FROM ohlcv_data",
    )
    assert "may not share a file" in results[1]
    assert "may not share a file" in results[2]
    assert results[3] == [["binance"]]


def test_a_ticker_is_a_plain_row(store: Store, foreign: Any) -> None:
    read = foreign(
        store.path,
        "INSERT INTO ticker_data (exchange, symbol, timestamp_ms, bid, ask, last) "
        "VALUES ('binance', 'BTC/USDT', 1704067200123, 99.5, 100.5, 100)",
        "SELECT bid, ask, last FROM ticker_data WHERE timestamp_ms = 1704067200123",
    )[1]
    assert read == [[99.5, 100.5, 100.0]]


TRADE = [
    "INSERT INTO sessions (session, app, mode, account, exchange, symbol, timeframe, strategy, "
    "parameters, code_digest, started_ms) VALUES ('s1', 'mine', 'paper', 'a', 'binance', "
    "'BTC/USDT', '1h', 'rsi', '{}', '', 1704067200000)",
    "INSERT INTO orders (client_order_id, session, mode, account, exchange, symbol, timeframe, "
    "side, type, amount, status, decided_ms, reason, strategy, parameters, code_digest) VALUES "
    "('o1', 's1', 'paper', 'a', 'binance', 'BTC/USDT', '1h', 'buy', 'market', '0.1', 'closed', "
    "1704067200000, 'by hand', 'rsi', '{}', '')",
    "INSERT INTO trades (exchange, symbol, exchange_trade_id, client_order_id, session, mode, "
    "account, side, price, amount, fee, fee_currency, executed_ms) VALUES ('binance', 'BTC/USDT', "
    "'t1', 'o1', 's1', 'paper', 'a', 'buy', '61240.12', '0.1', '0.0001', 'BTC', 1704067200500)",
]


def test_a_fill_is_stored_as_text_and_read_as_a_number_through_the_view(
    store: Store, foreign: Any
) -> None:
    results = foreign(
        store.path,
        "PRAGMA foreign_keys = ON",
        *TRADE,
        "SELECT price, amount, fee FROM trades",
        "SELECT price, amount, fee, typeof(price) FROM fills",
        TRADE[2],
    )
    assert results[4] == [["61240.12", "0.1", "0.0001"]]
    assert results[5] == [[61240.12, 0.1, 0.0001, "real"]]
    assert "UNIQUE constraint failed" in results[6]


def test_a_fill_without_its_order_or_with_an_absurd_price_is_refused(
    store: Store, foreign: Any
) -> None:
    results = foreign(
        store.path,
        "PRAGMA foreign_keys = ON",
        TRADE[2],
        *TRADE[:2],
        *(TRADE[2].replace("61240.12", price) for price in ("0", "-5", "abc", "9e999")),
    )
    assert "FOREIGN KEY" in results[1]
    assert all("CHECK constraint failed" in text for text in results[4:])


def test_the_columns_named_in_the_design_exist(store: Store, foreign: Any) -> None:
    names = "SELECT name FROM pragma_table_info(?) ORDER BY cid"
    candles, ticker, trades, strict = foreign(
        store.path,
        (names, ["ohlcv_data"]),
        (names, ["ticker_data"]),
        (names, ["trades"]),
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict "
        "AND name NOT LIKE 'sqlite_%'",
    )
    assert " ".join(name for (name,) in candles) == (
        "exchange symbol timeframe timestamp open high low close volume closed source"
    )
    assert {"bid", "ask", "last", "timestamp_ms"} <= {name for (name,) in ticker}
    assert {"side", "price", "amount", "fee", "fee_currency"} <= {name for (name,) in trades}
    assert {"exchange_trade_id", "session", "mode", "account"} <= {name for (name,) in trades}
    assert strict == []


def test_another_program_and_onetape_write_to_the_same_file(
    store: Store, foreign: Any, path: Path
) -> None:
    with store.write() as connection:
        connection.execute(f"INSERT OR IGNORE {INSERT}", make_row(0))
    foreign(path, (f"INSERT OR IGNORE {INSERT}", make_row(3_600)))
    with store.write() as connection:
        connection.execute(f"INSERT OR IGNORE {INSERT}", make_row(7_200))
    assert foreign(path, "SELECT count(*) FROM ohlcv_data", "PRAGMA integrity_check") == [
        [[3]],
        [["ok"]],
    ]
