"""Read what an account did on the candles of a range: decisions, orders, sessions, data outages.

Used to explain a candle and to compare a trader with a backtest. Nothing is written. Times of
candles are epoch SECONDS; other times are epoch milliseconds.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from onetape.core.candles import Candle, SeriesKey
from onetape.core.trading import Side
from onetape.store.account_reading import StoredSession
from onetape.store.accounts import AccountSeries
from onetape.store.database import Store

#: Condition for rows of the sessions of one account and series; bound by `_get_series_values`.
_SESSIONS: Final = (
    "session IN (SELECT session FROM sessions WHERE account = ? AND mode = ? AND exchange = ? "
    "AND symbol = ? AND timeframe = ?)"
)


class DecisionRecord(Struct, frozen=True):
    """A decision on one closed candle, with the effect of later corrections."""

    decision: str
    """Unique id of the decision."""
    session: str
    """Id of the session that decided."""
    timestamp: int
    """Open of the candle that was decided on, epoch seconds."""
    signal: int
    """Signal of the strategy: 1 BUY, -1 SELL, 0 HOLD."""
    indicators: Mapping[str, float | None]
    gates: Mapping[str, str]
    """Result of each check of an order: `ok`, or the reason against the order."""
    action: str
    """Resulting action: BUY, SELL, or HOLD if the signal led to no order."""
    decided_ms: int
    corrected_ms: int | None
    """Time at which candles of the decision were corrected; None: no correction."""
    correction: str | None
    """Text on the evaluation with the corrected candles; None: not evaluated again."""

    @property
    def failed_gates(self) -> dict[str, str]:
        """Return the gates that are not `ok`, with their reasons."""
        return {name: text for name, text in self.gates.items() if text != "ok"}


class OrderRecord(Struct, frozen=True):
    """An order with its present status."""

    client_order_id: str
    side: Side
    type: str
    """CCXT's order type, such as `market`, or the exit reason, such as `stop_loss`."""
    status: str
    reason: str
    decision: str | None
    """Id of the decision that led to the order; None: a stop or a target."""
    signal_timestamp: int | None
    """Open of the candle that gave the signal or reached the level, epoch seconds."""
    filled_timestamp: int | None
    """Open of the candle that filled the order, epoch seconds; None: not filled by a candle."""
    decided_ms: int
    intended_price: Decimal | None
    """Close that the signal was computed from, quote currency; None: not stored."""
    entry_order_id: str | None
    """Client order id of the buy that opened the position that is sold; None for a buy."""


class CandleRow(Struct, frozen=True):
    """A stored candle, with the origin of its values."""

    candle: Candle
    closed: int | None
    """1: closed; 0: forming; None: a row of plain SQL."""
    source: str | None
    """Origin of the row: rest, ws, import or resample; None: plain SQL."""


def read_decisions(
    store: Store, account: AccountSeries, start: int, end: int
) -> list[DecisionRecord]:
    """Return the decisions of an account and its series on the candles of a range, oldest first.

    Args:
        store: The open database.
        account: The account and one of its series.
        start: Open of the first candle, epoch seconds.
        end: End of the range, exclusive, epoch seconds.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT decision, session, timestamp, signal, indicators, gates, action, decided_ms, "
            f"corrected_ms, correction FROM decisions WHERE {_SESSIONS} "
            "AND timestamp >= ? AND timestamp < ? ORDER BY timestamp, decided_ms",
            (*_get_series_values(account), start, end),
        ).fetchall()
    values: list[list[Any]] = [
        [*row[:4], json.loads(row[4]), json.loads(row[5]), *row[6:]] for row in rows
    ]
    return [DecisionRecord(*row) for row in values]


def read_decided_range(store: Store, account: AccountSeries) -> tuple[int, int] | None:
    """Return the opens of the first and the last candle that was decided on; None: no decision.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        first, last = connection.execute(
            f"SELECT min(timestamp), max(timestamp) FROM decisions WHERE {_SESSIONS}",
            _get_series_values(account),
        ).fetchall()[0]
    return None if first is None else (first, last)


def read_orders(store: Store, account: AccountSeries, start: int, end: int) -> list[OrderRecord]:
    """Return the orders whose signal or fill lies in a range of candles, by time of decision.

    Args:
        store: The open database.
        account: The account and one of its series.
        start: Open of the first candle, epoch seconds.
        end: End of the range, exclusive, epoch seconds.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT client_order_id, side, type, status, reason, decision, signal_timestamp, "
            "filled_timestamp, decided_ms, intended_price, entry_order_id FROM orders "
            "WHERE account = ? AND mode = ? AND exchange = ? AND symbol = ? AND timeframe = ? "
            "AND (signal_timestamp >= ?6 AND signal_timestamp < ?7 "
            "OR filled_timestamp >= ?6 AND filled_timestamp < ?7) ORDER BY decided_ms",
            (*_get_series_values(account), start, end),
        ).fetchall()
    values: list[list[Any]] = [[*row[:9], _parse_decimal(row[9]), row[10]] for row in rows]
    return [OrderRecord(*row) for row in values]


def read_filled_candles(store: Store, account: AccountSeries) -> dict[str, int]:
    """Return the open of the candle that filled each order of an account in its series.

    Returns:
        Epoch seconds by client order id; orders that no candle filled are left out.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT client_order_id, filled_timestamp FROM orders WHERE account = ? AND mode = ? "
            "AND exchange = ? AND symbol = ? AND timeframe = ? AND filled_timestamp IS NOT NULL",
            _get_series_values(account),
        ).fetchall()
    return dict(rows)


def read_sessions(store: Store, account: AccountSeries) -> list[StoredSession]:
    """Return the sessions of an account in its series, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT session, account, mode, strategy, parameters, ifnull(rules, '{}'), "
            "started_ms, ended_ms, end_reason FROM sessions WHERE account = ? AND mode = ? "
            "AND exchange = ? AND symbol = ? AND timeframe = ? ORDER BY started_ms, session",
            _get_series_values(account),
        ).fetchall()
    values: list[list[Any]] = [
        [*row[:4], json.loads(row[4]), json.loads(row[5]), *row[6:]] for row in rows
    ]
    return [StoredSession(*row) for row in values]


def read_outages(
    store: Store, account: AccountSeries, start_ms: int, end_ms: int
) -> list[tuple[int, int | None, str]]:
    """Return start, end (None: still going on) and reason of the data outages in a span of time.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        return connection.execute(
            f"SELECT from_ms, to_ms, reason FROM data_outages WHERE {_SESSIONS} "
            "AND from_ms < ? AND ifnull(to_ms, ?) > ? ORDER BY from_ms",
            (*_get_series_values(account), end_ms, end_ms, start_ms),
        ).fetchall()


def read_candle(store: Store, key: SeriesKey, timestamp: int) -> CandleRow | None:
    """Return a stored candle with the origin of its values; None if it is not stored.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume, closed, source FROM ohlcv_data "
            "WHERE exchange = ? AND symbol = ? AND timeframe = ? AND timestamp = ?",
            (*key.names, timestamp),
        ).fetchall()
    return CandleRow(Candle(*rows[0][:6]), rows[0][6], rows[0][7]) if rows else None


def _get_series_values(account: AccountSeries) -> tuple[str, str, str, str, str]:
    return account.name, account.mode, account.exchange, account.symbol, account.timeframe


def _parse_decimal(text: Any) -> Decimal | None:
    return None if text is None else Decimal(text)
