"""A database as version 1 left it: made by its own script, with rows in every table."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

APPLICATION_ID = 0x4F544150
CANDLES = 500

#: What each table of version 1 held, by the columns it had then.
COLUMNS = {
    "ohlcv_data": "exchange, symbol, timeframe, timestamp, open, high, low, close, volume, closed, "
    "source",
    "revisions": "id, exchange, symbol, timeframe, timestamp, seen_ms, source, new_close",
    "ticker_data": "exchange, symbol, timestamp_ms, bid, ask, last",
    "markets": "exchange, symbol, price_step, amount_step, min_amount, min_notional, seen_ms",
    "sessions": "session, app, mode, account, exchange, symbol, timeframe, strategy, parameters, "
    "code_digest, started_ms, ended_ms, end_reason",
    "blind_intervals": "session, from_ms, to_ms, reason",
    "leases": "name, holder, token, expires_ms",
    "decisions": "decision, session, timestamp, signal, indicators, gates, action, decided_ms",
    "orders": "client_order_id, session, amount, status, decision, reason",
    "trades": "id, exchange_trade_id, client_order_id, price, amount, fee, executed_ms",
    # Not the state: what it proved was changed.
    "gaps": "exchange, symbol, timeframe, from_timestamp, to_timestamp, first_seen_ms, "
    "last_asked_ms",
    "quarantine": "id, exchange, symbol, timeframe, seen_ms, source, fault, payload",
    "store_kind": "only_row, simulated",
}
SERIES = ("binance", "BTC/USDT", "1h")


def make_v1(path: Path, *, rows: bool = True) -> Path:
    """Make the file. The calling process must not have it open."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        script = files("onetape.store").joinpath("schema.sql").read_text(encoding="utf-8")
        connection.executescript(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        if rows:
            _fill(connection)
        connection.commit()
    return path


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that version 1 knew; the calling process must not have the file open."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}"), key=repr)
            for table, columns in COLUMNS.items()
        }


def version_of(path: Path) -> int:
    """Return the version of a file that the calling process does not have open."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def _fill(connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT INTO ohlcv_data VALUES (?, ?, ?, ?, 1.5, 3.25, 0.125, 2.0, ?, ?, ?)",
        [
            (*SERIES, i * 3_600, i / 7, (1, 0, None)[i % 3], ("rest", "ws", None)[i % 3])
            for i in range(CANDLES)
        ],
    )
    statements = (
        "INSERT OR IGNORE INTO ohlcv_data VALUES "
        "('binance', 'BTC/USDT', '1h', 0, 1, 1, 1, 1, 1, 1, 'rest')",  # becomes a revision
        "INSERT INTO ticker_data VALUES ('binance', 'BTC/USDT', 5, 1.5, NULL, 2.5)",
        "INSERT INTO markets VALUES ('binance', 'BTC/USDT', '0.01', '0.00001', '0', '5', 9)",
        "INSERT INTO sessions VALUES ('s1', 'trader', 'paper', 'a', 'binance', 'BTC/USDT', '1h', "
        "'rsi', '{}', 'digest', 1, NULL, NULL)",
        "INSERT INTO blind_intervals VALUES ('s1', 3, NULL, 'stream lost')",
        "INSERT INTO leases VALUES ('a', 'process 1', 7, 0)",
        "INSERT INTO decisions VALUES ('d1', 's1', 3600, 1, '{}', '{}', 'BUY', 2)",
        "INSERT INTO orders VALUES ('o1', NULL, 's1', 'paper', 'a', 'binance', 'BTC/USDT', '1h', "
        "'buy', 'market', '1', NULL, 'closed', 'd1', 3600, 2, NULL, NULL, '9.5', NULL, NULL, 3, "
        "'rsi', 'rsi', '{}', 'digest')",
        "INSERT INTO trades VALUES (4, 'binance', 'BTC/USDT', 't1', 'o1', 's1', 'paper', 'a', "
        "'buy', '9.50', '1.000', '0.0095', 'USDT', 3)",
        "INSERT INTO gaps VALUES ('binance', 'BTC/USDT', '1h', 36000000, 36003600, "
        "'none at exchange', 1, 2)",
        "INSERT INTO quarantine VALUES (6, 'binance', 'BTC/USDT', '1h', 1, 'ws', 'high', '[]')",
    )
    for statement in statements:
        connection.execute(statement)
