"""Read and write live accounts, the order tag of the database, and differences from the exchange.

A live account is one whose orders go to an exchange. The order tag begins all client order ids of
this database. A difference is something that a file and the exchange disagree about and that a
person has to decide.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import uuid4

from msgspec import Struct

from onetape.core.trading_rules import format_decimal
from onetape.store.connection import DatabaseConnection, insert_row
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease

#: Decision of a person about a difference (`trader reconcile`).
Answer = Literal["adopt", "forget", "keep"]
#: Kind of the difference of a position whose market is not listed any more.
DELISTED: Final = "delisted"


class LiveAccount(Struct, frozen=True):
    """An account whose orders go to an exchange."""

    account: str
    """Name of the account."""
    exchange: str
    exchange_account: str
    """The exchange's own id of the account."""
    baseline: Mapping[str, Decimal]
    """Balances by currency at the start of the first session; these coins are never sold."""
    opened_ms: int
    """Market time of the start of the first session, epoch milliseconds."""
    confirmed_ms: int | None
    """Time at which a person confirmed the first entry, epoch milliseconds; None: not yet."""


class StoredDifference(Struct, frozen=True):
    """A difference between the database and the exchange that a person has to decide."""

    number: int
    """Number of the difference, which a person names in `trader reconcile`."""
    account: str
    """Name of the account."""
    kind: str
    """Kind of the difference, such as `missing coins`."""
    subject: str
    """What differs, such as an order or a symbol; unique among the open differences of a kind."""
    document: Mapping[str, Any]
    """Text, symbol and further values of the difference, as JSON can hold them."""
    seen_ms: int
    """Market time at which the difference was found, epoch milliseconds."""
    answer: Answer | None
    """Decision of a person; None: not decided yet."""
    ended_ms: int | None = None
    """Time at which the difference ended, market time, epoch milliseconds; None: it is open."""


def read_order_tag(store: Store) -> str:
    """Return the order tag of this database: the first 8 digits of its client order ids.

    The first call chooses the tag at random and stores it.

    Raises:
        StoreError: the file cannot be read, or written by the first call.
    """
    query = "SELECT tag FROM installation"
    with store.read() as connection:
        known = connection.execute(query).get
    if known is not None:
        return known
    with store.write(durable=True) as connection:
        connection.execute(
            "INSERT OR IGNORE INTO installation (only_row, tag) VALUES (1, ?)", (uuid4().hex[:8],)
        )
        return connection.execute(query).get


def read_live_account(store: Store, account: str) -> LiveAccount | None:
    """Return a live account by name; None: no session of such an account has begun."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT account, exchange, exchange_account, baseline, opened_ms, confirmed_ms "
            "FROM live_accounts WHERE account = ?",
            (account,),
        ).fetchall()
    if not rows:
        return None
    values: list[Any] = list(rows[0])
    values[3] = {name: Decimal(text) for name, text in json.loads(values[3]).items()}
    return LiveAccount(*values)


def open_live_account(
    store: Store, account: LiveAccount, *, sole_currency: str | None = None
) -> str | None:
    """Store a live account; an account that is stored already stays unchanged.

    Args:
        store: The open database.
        account: The account.
        sole_currency: Currency whose whole balance at the exchange the account uses. The account is
            then not stored if another account uses the same balance. None: accounts may share.

    Returns:
        Name of the other account, which another process may just be opening; None: the account is
        stored.

    Raises:
        StoreError: the file cannot be written.
    """
    baseline = {name: format_decimal(amount) for name, amount in account.baseline.items()}
    with store.write(durable=True) as connection:
        other = None if sole_currency is None else _find_sharer(connection, account, sole_currency)
        if other is not None:
            return other
        connection.execute(
            "INSERT OR IGNORE INTO live_accounts (account, exchange, exchange_account, baseline, "
            "opened_ms, confirmed_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (
                account.account,
                account.exchange,
                account.exchange_account,
                json.dumps(baseline, sort_keys=True),
                account.opened_ms,
                account.confirmed_ms,
            ),
        )
    return None


def _find_sharer(connection: DatabaseConnection, account: LiveAccount, currency: str) -> str | None:
    """Return the oldest other account that uses the same balance at the exchange; None: none does.

    An account without a start balance is just being opened, so it counts for every currency.
    """
    return connection.execute(
        "SELECT l.account FROM live_accounts l LEFT JOIN accounts a USING (account) "
        "WHERE l.exchange = ? AND l.exchange_account = ? AND l.account <> ? "
        "AND (a.account IS NULL OR (a.currency = ? AND a.start_balance IS NOT NULL)) "
        "ORDER BY l.opened_ms, l.account LIMIT 1",
        (account.exchange, account.exchange_account, account.account, currency),
    ).get


def read_first_opened_ms(store: Store) -> int | None:
    """Return the opening time of the oldest live account in the database, epoch milliseconds.

    None: there is no live account.
    """
    with store.read() as connection:
        return connection.execute("SELECT min(opened_ms) FROM live_accounts").get


def correct_baseline(
    store: Store, fence: Fence, found: StoredDifference, currency: str, amount: Decimal,
    *, ended_ms: int,
) -> None:  # fmt: skip
    """Subtract coins from an account's `baseline`, and end the difference, in one transaction.

    Args:
        store: The open database.
        fence: The lease of account and symbol.
        found: The difference that a person has decided.
        currency: Currency of the coins.
        amount: Amount of the coins; the baseline does not get negative.
        ended_ms: Market time, epoch milliseconds.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        text = connection.execute(
            "SELECT baseline FROM live_accounts WHERE account = ?", (found.account,)
        ).get
        baseline: dict[str, str] = json.loads(text or "{}")
        left = max(Decimal(baseline.get(currency, "0")) - amount, Decimal(0))
        connection.execute(
            "UPDATE live_accounts SET baseline = ? WHERE account = ?",
            (
                json.dumps(baseline | {currency: format_decimal(left)}, sort_keys=True),
                found.account,
            ),
        )
        connection.execute(
            "UPDATE account_differences SET ended_ms = ? WHERE id = ?", (ended_ms, found.number)
        )


def confirm_live_account(store: Store, account: str, *, confirmed_ms: int) -> None:
    """Store that a person has confirmed the first entry of an account.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        connection.execute(
            "UPDATE live_accounts SET confirmed_ms = ifnull(confirmed_ms, ?) WHERE account = ?",
            (confirmed_ms, account),
        )


def add_difference(
    store: Store, fence: Fence | None, account: str, kind: str, subject: str,
    document: Mapping[str, Any], *, seen_ms: int,
) -> bool:  # fmt: skip
    """Store a difference; return False if it is stored already.

    Args:
        store: The open database.
        fence: The lease of account and symbol; None: no process trades the symbol.
        account: Name of the account.
        kind: Kind of the difference, such as `missing coins`.
        subject: What differs; each subject has at most one open difference of a kind.
        document: Text, symbol and further values of the difference, as JSON can hold them.
        seen_ms: Market time, epoch milliseconds.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        if fence is not None:
            check_lease(connection, fence)
        known = connection.execute(
            "SELECT 1 FROM account_differences WHERE account = ? AND kind = ? AND subject = ? "
            "AND ended_ms IS NULL",
            (account, kind, subject),
        ).get
        if known is not None:
            return False
        insert_row(
            connection,
            "account_differences",
            {
                "account": account,
                "kind": kind,
                "subject": subject,
                "document": json.dumps(dict(document), sort_keys=True),
                "seen_ms": seen_ms,
            },
        )
        return True


def read_open_differences(store: Store, account: str | None = None) -> list[StoredDifference]:
    """Return the differences that have not ended, oldest first.

    Args:
        store: The open database.
        account: Name of the account; None: all accounts.
    """
    condition = "ended_ms IS NULL AND account = ifnull(?, account)"
    return _read_differences(store, condition, account)


def read_last_difference(
    store: Store, account: str, kind: str, subject: str
) -> StoredDifference | None:
    """Return the newest difference of a kind and subject, ended or not; None: there is none.

    Args:
        store: The open database.
        account: Name of the account.
        kind: Kind of the difference, such as `missing coins`.
        subject: What differs.
    """
    condition = "account = ? AND kind = ? AND subject = ?"
    return next(reversed(_read_differences(store, condition, account, kind, subject)), None)


def _read_differences(store: Store, condition: str, *values: str | None) -> list[StoredDifference]:
    with store.read() as connection:
        rows = connection.execute(
            "SELECT id, account, kind, subject, document, seen_ms, answer, ended_ms "
            f"FROM account_differences WHERE {condition} ORDER BY id",
            values,
        ).fetchall()
    found: list[StoredDifference] = []
    for row in rows:
        fields: list[Any] = [*row[:4], json.loads(row[4]), *row[5:]]
        found.append(StoredDifference(*fields))
    return found


def read_delisted_difference(store: Store, account: str, symbol: str) -> StoredDifference | None:
    """Return the open difference of a position whose market is not listed any more; None: none."""
    for difference in read_open_differences(store, account):
        if (difference.kind, difference.subject) == (DELISTED, symbol):
            return difference
    return None


def store_difference_answer(
    store: Store, number: int, answer: Answer, *, answered_ms: int, price: Decimal | None = None
) -> bool:
    """Store a person's decision about a difference; return False if it is not open.

    Args:
        store: The open database.
        number: Number of the difference.
        answer: Decision of a person.
        answered_ms: Time of the answer by the computer's clock, epoch milliseconds.
        price: Price at which a forgotten position was sold, quote currency; None: not stated.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        connection.execute(
            "UPDATE account_differences SET answer = ?, answered_ms = ?, "
            "document = json_set(document, '$.price', ?) WHERE id = ? AND ended_ms IS NULL",
            (answer, answered_ms, None if price is None else format_decimal(price), number),
        )
        return connection.changes() == 1


def end_difference(store: Store, number: int, *, ended_ms: int) -> None:
    """Store that a difference has ended.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        connection.execute(
            "UPDATE account_differences SET ended_ms = ? WHERE id = ?", (ended_ms, number)
        )


def read_exchange_order_ids(
    store: Store, exchange: str, symbol: str, *, account: str | None = None
) -> dict[str, str]:
    """Return the client order id of each live order in a market, by the exchange's id.

    Orders without an id of the exchange are left out.

    Args:
        store: The open database.
        exchange: CCXT exchange id.
        symbol: Symbol of the market.
        account: Name of the account; None: all accounts.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange_order_id, client_order_id FROM orders WHERE mode = 'live' "
            "AND exchange = ? AND symbol = ? AND exchange_order_id IS NOT NULL "
            "AND account = ifnull(?, account)",
            (exchange, symbol, account),
        ).fetchall()
    return dict(rows)


def is_order_stored(store: Store, client_order_id: str) -> bool:
    """Return whether an order with this client order id is stored, in any mode and status."""
    with store.read() as connection:
        found = connection.execute(
            "SELECT 1 FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).get
    return found is not None


def is_live_trader_running(store: Store, exchange: str, now_ms: int) -> bool:
    """Return whether a trader of any live account on an exchange holds a valid lease.

    Args:
        store: The open database.
        exchange: CCXT exchange id.
        now_ms: The computer's time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT 1 FROM live_accounts a JOIN leases l "
            "ON substr(l.name, 1, length(a.account) + 2) = a.account || ', ' "
            "WHERE a.exchange = ? AND l.expires_ms > ? LIMIT 1",
            (exchange, now_ms),
        )
    return row.get is not None
