"""Databases as earlier versions left them: made by their own scripts, with rows in every table."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

APPLICATION_ID = 0x4F544150
CANDLES = 500

#: Columns of each table of version 1, as far as every later version keeps them.
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
    # Without the state, whose meaning was changed.
    "gaps": "exchange, symbol, timeframe, from_timestamp, to_timestamp, first_seen_ms, "
    "last_asked_ms",
    "quarantine": "id, exchange, symbol, timeframe, seen_ms, source, fault, payload",
    "store_kind": "only_row, simulated",
}
#: Tables that a later version renamed.
RENAMED = {"blind_intervals": "data_outages", "silences": "rate_limit_bans"}
#: Columns that a later version renamed, by the table's present name.
RENAMED_COLUMNS = {"gaps": {"last_asked_ms": "last_requested_ms"}}
#: Columns that later versions added, by version and table.
ADDED_COLUMNS = {
    2: {
        "silences": "exchange, until_ms, reason",
        "quarantine_counts": "exchange, symbol, timeframe, fault, refused, first_seen_ms, "
        "last_seen_ms",
    },
    3: {
        "accounts": "account, mode, exchange, symbol, timeframe, strategy, currency, "
        "start_balance, opened_ms",
        "recordings": "symbol, timeframe, digest",
        "early_reads": "exchange, symbol, timeframe, timestamp",
    },
    4: {
        "order_events": "client_order_id, number, at_ms, kind, payload, source",
        "exit_obligations": "obligation, account, mode, exchange, symbol, entry_order_id, cause, "
        "signal_timestamp, level, created_ms, reason, ended_ms, end_reason",
        "trader_states": "id, session, at_ms, state, reason, remedy",
        "controls": "id, account, verb, symbol, applies_to_open, at_ms, given_by, done_ms",
        "stream_closes": "exchange, symbol, timeframe, timestamp, closed_ms",
        "installation": "only_row, tag",
        "live_accounts": "account, exchange, exchange_account, baseline, opened_ms, confirmed_ms",
        "account_differences": "id, account, kind, subject, document, seen_ms, answer",
        "reservations": "client_order_id, account, mode, amount, reserved_ms",
        "risk_states": "account, state, updated_ms, cleared_ms, cleared_by",
    },
    5: {
        "drills": "id, config_digest, finished_ms, is_passed, results",
        "stop_states": "entry_order_id, place, price, reason, since_ms, unprotected_ms, updated_ms",
        "latecomers": "session, timestamp, noted_ms, waited_seconds, reason",
    },
    6: {"command_files": "name, stored_ms"},
    7: {"compared_balances": "exchange, exchange_account, currency, total, read_ms"},
}
SERIES = ("binance", "BTC/USDT", "1h")
SCRIPTS = ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql", "schema_5.sql",
           "schema_6.sql", "schema_7.sql")  # fmt: skip
VERSIONS = (1, 2, 3, 4, 5, 6, 7)


def make_old_store(path: Path, version: int = 1, *, rows: bool = True) -> Path:
    """Make a file of an earlier version. The calling process must not have it open.

    Args:
        path: Path of the file.
        version: Version of the schema.
        rows: Whether every table gets rows; those of version 1 are brought up by the scripts.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for number, name in enumerate(SCRIPTS[:version], 1):
            script = files("onetape.store").joinpath(name).read_text(encoding="utf-8")
            connection.executescript(script)
            if rows:
                _FILLS[number](connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    return path


def read_all_rows(path: Path, version: int = 1) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows that a version stored; the calling process must not have the file open."""
    columns = dict(COLUMNS)
    for number in range(2, version + 1):
        columns |= ADDED_COLUMNS[number]
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: sorted(
                connection.execute(
                    f"SELECT {present_columns(connection, table, names)} "
                    f"FROM {present_name(connection, table)}"
                ),
                key=repr,
            )
            for table, names in columns.items()
        }


def present_name(connection: sqlite3.Connection, table: str) -> str:
    """Return the name that a table of an old version has in a file of any version."""
    known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return table if table in known else RENAMED[table]


def present_columns(connection: sqlite3.Connection, table: str, names: str) -> str:
    """Return the names that columns of an old version have in a file of any version."""
    known = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
    for old, new in RENAMED_COLUMNS.get(table, {}).items():
        if new in known:
            names = names.replace(old, new)
    return names


def read_version(path: Path) -> int:
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
    _add_orders(connection)


def _add_orders(connection: sqlite3.Connection) -> None:
    """Add the rows of two round trips and of an open order."""
    head = "NULL, 's1', 'paper', 'a', 'binance', 'BTC/USDT', '1h'"
    tail = "NULL, NULL, '9.5', NULL, NULL"
    orders = (
        f"'o1-exit-7200-0123abcd', {head}, 'sell', 'stop_loss', '1', NULL, 'closed', NULL, 7200, "
        f"4, {tail}, 5",
        f"'o2', {head}, 'buy', 'market', '2', NULL, 'closed', NULL, 10800, 6, {tail}, 7",
        f"'o3', {head}, 'sell', 'market', NULL, NULL, 'canceled', NULL, 14400, 8, {tail}, 9",
        f"'o4', {head}, 'sell', 'market', '2', NULL, 'closed', NULL, 18000, 10, {tail}, 11",
        f"'o5', {head}, 'buy', 'market', NULL, NULL, 'rejected', NULL, 21600, 12, {tail}, 13",
        f"'o6', {head}, 'buy', 'market', NULL, NULL, 'open', NULL, 25200, 14, {tail}, NULL",
        f"'o7', {head}, 'sell', 'market', NULL, NULL, 'intent', NULL, 25200, 15, {tail}, NULL",
    )
    for order in orders:
        connection.execute(f"INSERT INTO orders VALUES ({order}, 'rsi', 'rsi', '{{}}', 'digest')")
    market = "'binance', 'BTC/USDT'"
    for number, identity, side, amount, at_ms in (
        (5, "o1-exit-7200-0123abcd", "sell", "1.000", 5),
        (6, "o2", "buy", "2.000", 7),
        (7, "o4", "sell", "2.000", 11),
    ):
        connection.execute(
            f"INSERT INTO trades VALUES ({number}, {market}, 'paper-{identity}', '{identity}', "
            f"'s1', 'paper', 'a', '{side}', '9.50', '{amount}', '0.0095', 'USDT', {at_ms})"
        )


def _fill_2(connection: sqlite3.Connection) -> None:
    for statement in (
        "INSERT INTO silences VALUES ('binance', 5, '429')",
        "INSERT INTO gaps VALUES ('kraken', 'BTC/USDT', '1h', 0, 3600, 'unknown: import', 1, 2)",
    ):
        connection.execute(statement)


def _fill_3(connection: sqlite3.Connection) -> None:
    for statement in (
        "UPDATE accounts SET start_balance = '1000' WHERE account = 'a'",
        "INSERT INTO recordings VALUES ('BTC/USDT', '1h', 'digest')",
        "INSERT INTO early_reads VALUES ('binance', 'BTC/USDT', '1h', 3600)",
        "INSERT INTO gaps VALUES ('kraken', 'ETH/USDT', '1h', 0, 3600, 'accepted', 1, 2, 3, 0, "
        "NULL, NULL, 'outage')",
    ):
        connection.execute(statement)


def _fill_4(connection: sqlite3.Connection) -> None:
    for statement in (
        "INSERT INTO trader_states VALUES (1, 's1', 5, 'degraded', 'locked', 'end it')",
        "INSERT INTO controls VALUES (1, 'a', 'pause', NULL, 0, 5, 'command', 6)",
        "INSERT INTO stream_closes VALUES ('binance', 'BTC/USDT', '1h', 3600, 5)",
        "INSERT INTO installation VALUES (1, '01234567')",
        "INSERT INTO live_accounts VALUES ('b', 'binance', '7', '{}', 5, NULL)",
        "INSERT INTO account_differences VALUES (1, 'b', 'coin', 'BTC', '{}', 5, NULL, NULL, NULL)",
        "INSERT INTO reservations VALUES ('o6', 'a', 'paper', '12.5', 5)",
        "INSERT INTO risk_states VALUES ('b', '{}', 5, NULL, NULL)",
    ):
        connection.execute(statement)


def _fill_5(connection: sqlite3.Connection) -> None:
    for statement in (
        "INSERT INTO drills VALUES (1, 'digest', 5, 1, '[]')",
        "INSERT INTO stop_states VALUES ('o2', 'exchange', '9.1', 'rests', 5, 6, 7)",
        "INSERT INTO latecomers VALUES ('s1', 3600, 5, 1.5, 'late')",
    ):
        connection.execute(statement)


def _fill_6(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO command_files VALUES ('commands.taken', 5)")


def _fill_7(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO compared_balances VALUES ('binance', '7', 'BTC', '0.5', 5)")


_FILLS = {1: _fill, 2: _fill_2, 3: _fill_3, 4: _fill_4, 5: _fill_5, 6: _fill_6, 7: _fill_7}
