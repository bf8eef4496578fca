"""Read what happened on an account as one list of events in order of time, for `trader logs`.

Events come from many tables: sessions, states, outages, signals, orders, fills, exits, corrections,
commands. Nothing is written. Times are market time, epoch milliseconds.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.clock import format_utc
from onetape.core.timeframes import Timeframe
from onetape.store.accounts import AccountSeries
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.latecomers import read_latecomers

EventKind = Literal[
    "session",
    "state",
    "outage",
    "late",
    "signal",
    "order",
    "fill",
    "exit",
    "correction",
    "control",
]
#: End reasons of sessions that a person has ended.
#: End of a session that watched exits while a strategy was being loaded.
LOADING_OVER: Final = "the end of loading"
CLEAN_ENDS: Final = ("SIGTERM", "Ctrl-C", LOADING_OVER)
#: End of the reason of an outage in which candles were stored but not decided on.
UNDECIDED: Final = "without a decision"
#: Gates that prevent an order by a rule or after a restart, which is no problem.
_GATES_OF_RULES: Final = ("decided before", "trading hours", "entry guards", "re-entry")
#: Decisions on candles that opened earlier than this before the first moment are not read.
_LONGEST_LATENESS_SECONDS: Final = 31 * 86_400
#: Statuses of orders that failed.
_BAD_ORDERS: Final = ("rejected", "expired", "unknown", "absent")
_SIGNALS: Final = {1: "BUY", -1: "SELL", 0: "HOLD"}
#: Text for the effect of a signal that no gate prevented, by signal and action.
_RESULTS: Final = {
    (1, "BUY"): "order to buy",
    (-1, "SELL"): "order to sell",
    (1, "HOLD"): "no order, a position is open already",
    (-1, "HOLD"): "no order, there is no position to sell",
}
_ORDER_OF_KINDS: Final = {
    kind: number
    for number, kind in enumerate(
        (
            "session",
            "control",
            "outage",
            "state",
            "correction",
            "late",
            "signal",
            "exit",
            "order",
            "fill",
        )
    )
}


class TraderEvent(Struct, frozen=True):
    """One event of a trader."""

    at_ms: int
    """Market time of the event, epoch milliseconds."""
    account: str
    kind: EventKind
    is_problem: bool
    """Whether the event is a problem, or the end of one."""
    text: str
    """Description of the event in one line."""
    symbol: str | None = None
    """Symbol of the event; None: a command for every symbol of the account."""


def read_controls_since(
    store: Store, account: str, since_ms: int, *, is_simulated: bool
) -> list[TraderEvent]:
    """Return the commands of a person for an account from a moment on, oldest first.

    Times are the computer's, which differ from market time on a simulated market.

    Args:
        store: The open database.
        account: Name of the account.
        since_ms: First moment, epoch milliseconds.
        is_simulated: Whether the account trades a simulated market; the text then states whose
            clock it is.

    Raises:
        StoreError: the file cannot be read.
    """
    clock = ", on this computer's clock" if is_simulated else ""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT at_ms, verb, symbol, given_by, done_ms FROM controls "
            "WHERE account = ? AND at_ms >= ? ORDER BY id",
            (account, since_ms),
        ).fetchall()
    return [
        TraderEvent(
            at_ms,
            account,
            "control",
            False,
            f"command {verb}{f' {symbol}' if symbol else ''} by {given_by}"
            f"{clock}" + (f", done {format_utc(done_ms // 1_000)}" if done_ms is not None else ""),
            symbol,
        )
        for at_ms, verb, symbol, given_by, done_ms in rows
    ]


def read_events(store: Store, account: AccountSeries, since_ms: int) -> list[TraderEvent]:
    """Return the events of an account and its symbol from a moment on, oldest first.

    Decisions whose signal is HOLD are left out.

    Args:
        store: The open database.
        account: The account and one of its series.
        since_ms: First moment, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read.
    """
    timeframe = Timeframe.parse(account.timeframe)
    lateness = max(_LONGEST_LATENESS_SECONDS, 3 * timeframe.average_seconds)
    candles_from = since_ms // 1_000 - lateness
    with store.read() as connection:
        events = [
            *_read_sessions(connection, account, since_ms),
            *_read_states(connection, account, since_ms),
            *_read_outages(connection, account, since_ms),
            *_read_latecomers(store, account, since_ms),
            *_read_signals(connection, account, since_ms, candles_from),
            *_read_corrections(connection, account, since_ms, candles_from),
            *_read_exits(connection, account, since_ms),
            *_read_orders(connection, account, since_ms),
            *_read_fills(connection, account, since_ms),
        ]
    events.sort(key=lambda event: (event.at_ms, _ORDER_OF_KINDS[event.kind]))
    return [replace(event, symbol=account.symbol) for event in events]


def _read_sessions(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int
) -> Iterator[TraderEvent]:
    """Yield the starts and ends of sessions."""
    rows = connection.execute(
        "SELECT started_ms, ended_ms, end_reason, strategy, changes FROM sessions "
        "WHERE account = ? AND symbol = ? AND (started_ms >= ? OR ended_ms >= ?)",
        (account.name, account.symbol, since_ms, since_ms),
    ).fetchall()
    for started_ms, ended_ms, reason, strategy, changes in rows:
        if started_ms >= since_ms:
            text = f"session started with {strategy}" + (f"; {changes}" if changes else "")
            yield TraderEvent(started_ms, account.name, "session", False, text)
        if ended_ms is not None and ended_ms >= since_ms:
            is_problem = reason not in CLEAN_ENDS
            yield TraderEvent(
                ended_ms, account.name, "session", is_problem, f"session ended: {reason}"
            )


def _read_states(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int
) -> Iterator[TraderEvent]:
    """Yield the changes of the trader's state."""
    rows = connection.execute(
        "SELECT at_ms, state, reason, remedy, id = (SELECT min(id) FROM trader_states first "
        "WHERE first.session = trader_states.session) FROM trader_states WHERE at_ms >= ? "
        "AND session IN (SELECT session FROM sessions WHERE account = ? AND symbol = ?) "
        "ORDER BY id",
        (since_ms, account.name, account.symbol),
    ).fetchall()
    for at_ms, state, reason, remedy, is_first in rows:
        text = f"{state}: {reason}" + (f"; {remedy}" if remedy else "")
        # The first state of a session is its start, which has a separate entry.
        if not (is_first and state == "trading"):
            yield TraderEvent(at_ms, account.name, "state", True, text)


def _read_outages(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int
) -> Iterator[TraderEvent]:
    """Yield the times without market data or decisions."""
    rows = connection.execute(
        "SELECT from_ms, to_ms, reason FROM data_outages "
        "WHERE session IN (SELECT session FROM sessions WHERE account = ? AND symbol = ?) "
        "AND (from_ms >= ? OR to_ms >= ? OR to_ms IS NULL)",
        (account.name, account.symbol, since_ms, since_ms),
    ).fetchall()
    for from_ms, to_ms, reason in rows:
        until = "still going on" if to_ms is None else f"until {format_utc(to_ms // 1_000)}"
        effect = "no decision" if reason.endswith(UNDECIDED) else "no market data"
        yield TraderEvent(from_ms, account.name, "outage", True, f"{effect}, {until}: {reason}")


def _read_latecomers(store: Store, account: AccountSeries, since_ms: int) -> Iterator[TraderEvent]:
    """Yield the times at which the symbol was late, so that other symbols did not wait for it."""
    for late in read_latecomers(store, account.name, symbol=account.symbol):
        if late.noted_ms >= since_ms:
            yield TraderEvent(late.noted_ms, account.name, "late", True, f"late: {late.text}")


def _read_signals(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int, candles_from: int
) -> Iterator[TraderEvent]:
    """Yield decisions with a signal, and their results."""
    for timestamp, signal, gates, action, decided_ms in _read_decisions(
        connection,
        account,
        candles_from,
        "timestamp, signal, gates, action, decided_ms",
        "signal <> 0 AND decided_ms >= ?",
        since_ms,
    ):
        failed = {name: text for name, text in json.loads(gates).items() if text != "ok"}
        text = f"signal {_SIGNALS[signal]} on the candle of {format_utc(timestamp)}"
        if failed and action == "HOLD":
            name, why = next(iter(failed.items()))
            is_problem = any(gate not in _GATES_OF_RULES for gate in failed)
            yield TraderEvent(
                decided_ms, account.name, "signal", is_problem, f"{text}: no order, {name}: {why}"
            )
        else:
            result = _RESULTS.get((signal, action), action)
            yield TraderEvent(decided_ms, account.name, "signal", False, f"{text}: {result}")


def _read_corrections(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int, candles_from: int
) -> Iterator[TraderEvent]:
    """Yield decisions that were evaluated again."""
    for timestamp, corrected_ms, correction, failure in _read_decisions(
        connection,
        account,
        candles_from,
        "timestamp, corrected_ms, correction, nullif(json_extract(gates, '$.strategy'), 'ok')",
        "corrected_ms >= ?",
        since_ms,
    ):
        result = correction or "not evaluated again yet"
        cause = f"a candle before the decision of {format_utc(timestamp)} was corrected"
        if failure is not None:
            cause = f"decision of {format_utc(timestamp)} had no signal ({failure})"
        text = f"{cause}: {result}"
        yield TraderEvent(corrected_ms, account.name, "correction", True, text)


def _read_exits(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int
) -> Iterator[TraderEvent]:
    """Yield pending exits at the time of their decision."""
    rows = connection.execute(
        "SELECT created_ms, reason, cause FROM exit_obligations WHERE account = ? AND mode = ? "
        "AND symbol = ? AND created_ms >= ?",
        (account.name, account.mode, account.symbol, since_ms),
    ).fetchall()
    for created_ms, reason, cause in rows:
        yield TraderEvent(
            created_ms, account.name, "exit", False, f"exit decided: {reason or cause}"
        )


def _read_orders(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int
) -> Iterator[TraderEvent]:
    """Yield orders whose status is not `closed`, which means filled."""
    rows = connection.execute(
        "SELECT ifnull(finished_ms, decided_ms), side, type, status, reason FROM orders "
        "WHERE account = ? AND mode = ? AND symbol = ? AND ifnull(finished_ms, decided_ms) >= ? "
        "AND status <> 'closed'",
        (account.name, account.mode, account.symbol, since_ms),
    ).fetchall()
    for at_ms, side, kind, status, reason in rows:
        is_problem = status in _BAD_ORDERS
        text = f"order to {side} ({kind}) {status}" + (f": {reason}" if reason else "")
        yield TraderEvent(at_ms, account.name, "order", is_problem, text)


def _read_fills(
    connection: DatabaseConnection, account: AccountSeries, since_ms: int
) -> Iterator[TraderEvent]:
    """Yield fills."""
    rows = connection.execute(
        "SELECT executed_ms, side, amount, symbol, price, fee, fee_currency FROM trades "
        "WHERE account = ? AND mode = ? AND symbol = ? AND executed_ms >= ?",
        (account.name, account.mode, account.symbol, since_ms),
    ).fetchall()
    for at_ms, side, amount, symbol, price, fee, currency in rows:
        base, _, quote = symbol.partition("/")
        verb = "bought" if side == "buy" else "sold"
        text = f"{verb} {amount} {base} at {price} {quote}, fee {fee} {currency}"
        yield TraderEvent(at_ms, account.name, "fill", False, text)


def _read_decisions(
    connection: DatabaseConnection,
    account: AccountSeries,
    candles_from: int,
    columns: str,
    condition: str,
    since_ms: int,
) -> list[tuple[Any, ...]]:
    """Return columns of the decisions of an account that meet a condition.

    Args:
        connection: Connection of a read transaction.
        account: The account and its symbol.
        candles_from: Open of the first candle that is read, epoch SECONDS.
        columns: Columns as SQL.
        condition: Condition as SQL, with one placeholder for `since_ms`.
        since_ms: First moment, epoch milliseconds.
    """
    return connection.execute(
        f"SELECT {columns} FROM decisions WHERE session IN "
        f"(SELECT session FROM sessions WHERE account = ? AND symbol = ?) "
        f"AND timestamp >= ? AND {condition}",
        (account.name, account.symbol, candles_from, since_ms),
    ).fetchall()
