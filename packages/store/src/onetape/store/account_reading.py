"""Read what traders have stored about accounts: sessions, leases, states, decisions, open orders.

Nothing is written. `trader status` and other commands use it, also while the trader runs. Times are
epoch milliseconds unless a field states otherwise.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import SeriesKey
from onetape.core.trading import ExitObligation, Mode, Side
from onetape.store.accounts import ACCOUNT_COLUMNS, AccountSeries, convert_account_row
from onetape.store.database import Store
from onetape.store.orders import EXIT_REJECTED
from onetape.store.process_lock import ProcessLock
from onetape.store.trader_states import StateChange

#: Statuses of an order that no event can change any more, as a list in SQL.
_FINISHED = "'closed', 'canceled', 'rejected', 'expired', 'absent'"


class StoredSession(Struct, frozen=True):
    """A session of a trader, with the reason of its end."""

    session: str
    """Unique id of the session."""
    account: str
    mode: Mode
    strategy: str
    parameters: Mapping[str, Any]
    rules: Mapping[str, Any]
    """Settings of order size, costs and exits; empty for a session of an earlier version."""
    started_ms: int
    ended_ms: int | None
    """Market time of the end of the session, epoch milliseconds; None: no end is stored."""
    end_reason: str | None
    """Reason of the end, such as `SIGTERM`; None: no end is stored."""


class StoredLease(Struct, frozen=True):
    """The lease of a symbol of an account. Times are the computer's, not the market's."""

    holder: str
    """Process and computer that hold the lease, such as `process 12 on host`."""
    expires_ms: int
    """Time at which the lease ends, epoch milliseconds; 0: it was given back."""
    renewed_ms: int | None
    """Time of the last renewal, epoch milliseconds; None: stored by an earlier version."""
    kernel_lock: str | None
    """Identity of the kernel lock that the holder has as long as its process runs; None: no lock
    is known."""


class StoredDecision(Struct, frozen=True):
    """A decision of a trader on one closed candle."""

    timestamp: int
    """Open of the candle that was decided on, epoch SECONDS."""
    signal: int
    """Signal of the strategy: 1 BUY, -1 SELL, 0 HOLD."""
    action: str
    """Resulting action: BUY, SELL, or HOLD if the signal led to no order."""
    gates: Mapping[str, str]
    """Result of each check of an order by name: `ok`, or the reason against the order."""
    decided_ms: int

    @property
    def blocked(self) -> str | None:
        """Return name and reason of the first gate that is not `ok`; None: all gates are `ok`."""
        return next((f"{name}: {text}" for name, text in self.gates.items() if text != "ok"), None)


class OpenOrder(Struct, frozen=True):
    """An order that is not finished."""

    client_order_id: str
    symbol: str
    side: Side
    type: str
    status: str
    amount: Decimal | None
    """Ordered amount, base currency; None: the amount is computed when the order is sent."""
    decided_ms: int
    reason: str
    stop_price: Decimal | None = None
    """Trigger price of a stop that rests on the exchange, quote currency; None for other orders."""


def read_accounts(store: Store, mode: Mode | None = None) -> list[AccountSeries]:
    """Return the accounts of a mode (None: all modes) with the series of their opening, by name.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE mode = ifnull(?, mode) ORDER BY account",
            (mode,),
        ).fetchall()
    return [convert_account_row(row) for row in rows]


def read_traded_series(store: Store, mode: Mode | None = None) -> list[AccountSeries]:
    """Return the accounts, with one record for each symbol that a session of the account traded.

    Each record has the series and strategy of the newest session of its symbol; start balance and
    time of the opening are those of the account. Sorted by account and symbol.

    Args:
        store: The open database.
        mode: Mode of the accounts; None: every mode.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT account, exchange, symbol, timeframe, strategy FROM ("
            "SELECT *, row_number() OVER (PARTITION BY account, exchange, symbol "
            "ORDER BY started_ms DESC, session DESC) AS newness FROM sessions "
            "WHERE mode = ifnull(?, mode)"
            ") WHERE newness = 1 ORDER BY account, symbol, exchange",
            (mode,),
        ).fetchall()
        accounts = read_accounts(store, mode)
    series: dict[str, list[tuple[Any, ...]]] = {}
    for name, *names in rows:
        series.setdefault(name, []).append(tuple(names))
    found: list[AccountSeries] = []
    for account in accounts:
        for exchange, symbol, timeframe, strategy in series.get(account.name, []):
            found.append(
                replace(
                    account,
                    exchange=exchange,
                    symbol=symbol,
                    timeframe=timeframe,
                    strategy=strategy,
                )
            )
        if account.name not in series:
            found.append(account)
    return found


def read_last_session(
    store: Store, account: str, symbol: str | None = None
) -> StoredSession | None:
    """Return the session of an account that started last; None: no session is stored.

    Args:
        store: The open database.
        account: Name of the account.
        symbol: Symbol that the session traded; None: any symbol.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT session, account, mode, strategy, parameters, ifnull(rules, '{}'), "
            "started_ms, ended_ms, end_reason FROM sessions WHERE account = ? "
            "AND symbol = ifnull(?, symbol) ORDER BY started_ms DESC, session DESC LIMIT 1",
            (account, symbol),
        ).fetchall()
    if not rows:
        return None
    values: list[Any] = list(rows[0])
    values[4], values[5] = json.loads(values[4]), json.loads(values[5])
    return StoredSession(*values)


def read_lease(store: Store, name: str) -> StoredLease | None:
    """Return the lease of this name; None: no process ever held it.

    Args:
        store: The open database.
        name: Name of the lease, as `make_lease_name` returns it.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT holder, expires_ms, renewed_ms, kernel_lock FROM leases WHERE name = ?",
            (name,),
        ).fetchall()
    return StoredLease(*rows[0]) if rows else None


def is_lease_holder_alive(store: Store, name: str, lease: StoredLease, wall_ms: int) -> bool:
    """Return whether the process that holds a lease is alive.

    On the same computer the kernel lock proves it. Otherwise a holder counts as alive until its
    lease ends, 20 s after the last renewal.

    Args:
        store: The open database.
        name: Name of the lease.
        lease: The stored lease of this name.
        wall_ms: The computer's time, epoch milliseconds.
    """
    is_held = ProcessLock(store.path, name).is_held(lease.kernel_lock)
    if is_held is not None:
        return is_held
    return lease.expires_ms > wall_ms


def read_state(store: Store, session: str) -> StateChange | None:
    """Return the present state of a session; None: no state is stored.

    The time is that at which the state began; reason and remedy are those of the newest row. They
    differ if a second problem came while the trader was degraded already.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT at_ms, state, reason, remedy FROM trader_states WHERE session = ? "
            "ORDER BY id DESC LIMIT 1",
            (session,),
        ).fetchall()
        if not rows:
            return None
        newest = StateChange(*rows[0])
        since_ms = connection.execute(
            "SELECT at_ms FROM trader_states WHERE session = ?1 AND id > ifnull("
            "(SELECT max(id) FROM trader_states WHERE session = ?1 AND state <> ?2), 0) "
            "ORDER BY id LIMIT 1",
            (session, newest.state),
        ).get
    return StateChange(since_ms, newest.state, newest.reason, newest.remedy)


def read_last_problem(store: Store, account: str, symbol: str | None = None) -> StateChange | None:
    """Return the newest change of an account to degraded or halted; None: no such change.

    Args:
        store: The open database.
        account: Name of the account.
        symbol: Only sessions of this symbol; None: any symbol.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT at_ms, state, reason, remedy FROM trader_states WHERE state <> 'trading' "
            "AND session IN (SELECT session FROM sessions WHERE account = ? "
            "AND symbol = ifnull(?, symbol)) ORDER BY id DESC LIMIT 1",
            (account, symbol),
        ).fetchall()
    return StateChange(*rows[0]) if rows else None


def read_last_decision(store: Store, session: str) -> StoredDecision | None:
    """Return the decision of a session on its newest candle; None: no decision is stored.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp, signal, action, gates, decided_ms FROM decisions "
            "WHERE session = ? ORDER BY timestamp DESC LIMIT 1",
            (session,),
        ).fetchall()
    if not rows:
        return None
    timestamp, signal, action, gates, decided_ms = rows[0]
    return StoredDecision(timestamp, signal, action, json.loads(gates), decided_ms)


def read_open_orders(store: Store, account: AccountSeries) -> list[OpenOrder]:
    """Return the orders of an account and its symbol that are not finished, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT client_order_id, symbol, side, type, status, ifnull(ordered_amount, amount), "
            "decided_ms, reason, stop_price "
            "FROM orders WHERE account = ? AND mode = ? AND symbol = ? "
            f"AND status NOT IN ({_FINISHED}) ORDER BY decided_ms, client_order_id",
            (account.name, account.mode, account.symbol),
        ).fetchall()
    return [OpenOrder(*_decode_decimal(tuple(_decode_decimal(row, 5)), 8)) for row in rows]


def read_open_obligations(store: Store, account: AccountSeries) -> list[ExitObligation]:
    """Return the exits of an account and its symbol that are decided and not filled, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT obligation, account, mode, exchange, symbol, entry_order_id, cause, "
            "signal_timestamp, level, created_ms, reason FROM exit_obligations "
            "WHERE account = ? AND mode = ? AND symbol = ? AND ended_ms IS NULL "
            "ORDER BY created_ms, obligation",
            (account.name, account.mode, account.symbol),
        ).fetchall()
    return [ExitObligation(*_decode_decimal(row, 8)) for row in rows]


def _decode_decimal(row: tuple[Any, ...], column: int) -> list[Any]:
    """Return the values of a row, the text in one column as a Decimal; NULL stays None.

    Args:
        row: Values of the row.
        column: Number of the column, counted from 0.
    """
    values = list(row)
    values[column] = None if values[column] is None else Decimal(values[column])
    return values


def read_newest_time(store: Store, key: SeriesKey) -> int | None:
    """Return the newest market time that the rows of a series show; None: no rows are stored.

    It is the time of the newest ticker, or the open of the newest candle if that is later.

    Returns:
        Epoch milliseconds.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        ticker_ms = connection.execute(
            "SELECT max(timestamp_ms) FROM ticker_data WHERE exchange = ? AND symbol = ?",
            (key.exchange, key.symbol),
        ).get
        opened = connection.execute(
            "SELECT max(timestamp) FROM ohlcv_data WHERE exchange = ? AND symbol = ? "
            "AND timeframe = ?",
            key.names,
        ).get
    known = [ticker_ms, None if opened is None else opened * 1_000]
    return max((moment_ms for moment_ms in known if moment_ms is not None), default=None)


def read_highest_since(store: Store, key: SeriesKey, start: int) -> tuple[float, int]:
    """Return the highest price and the number of the closed candles from a time on.

    Candles without a trade (volume 0, one price) count, and do not change the highest price.

    Args:
        store: The open database.
        key: The series.
        start: Open of the first candle, epoch SECONDS.

    Returns:
        Highest price, quote currency (0.0: no candle), and the number of candles.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        highest, count = connection.execute(
            "SELECT max(iif(volume = 0 AND high = low, NULL, high)), count(*) FROM ohlcv_data "
            "WHERE exchange = ? AND symbol = ? AND timeframe = ? AND timestamp >= ? "
            "AND closed = 1",
            (*key.names, start),
        ).fetchall()[0]
    return highest or 0.0, count


class PositionEntry(Struct, frozen=True):
    """The order that opened a position."""

    filled_timestamp: int | None
    """Open of the candle that filled the order, epoch SECONDS; None if not stored."""
    is_exit_rejected: bool
    """Whether the market refused an order that sells the position."""


def read_entry(store: Store, client_order_id: str) -> PositionEntry:
    """Return what is stored about the order that opened a position.

    Args:
        store: The open database.
        client_order_id: Client order id of that order.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        filled = connection.execute(
            "SELECT filled_timestamp FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).get
        rejected = connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM orders WHERE entry_order_id = ? AND {EXIT_REJECTED})",
            (client_order_id,),
        ).get
    return PositionEntry(filled, bool(rejected))
