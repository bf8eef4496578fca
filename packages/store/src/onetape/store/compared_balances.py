"""Balances of live accounts at the exchange when no coins of a position were missing.

From this balance and the orders since then a trader computes the balance that the account must have
now; if the account has less, coins of a position are missing.
"""

from decimal import Decimal

from msgspec import Struct

from onetape.core.trading_rules import format_decimal
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease


class ComparedBalance(Struct, frozen=True):
    """Balance of a currency at the last reading in which no coins of a position were missing."""

    total: Decimal
    """Amount of the currency."""
    read_ms: int
    """Exchange time of the reading, epoch milliseconds."""


def read_compared_balance(
    store: Store, exchange: str, exchange_account: str, currency: str
) -> ComparedBalance | None:
    """Return the balance at the last reading without missing coins; None: no such reading.

    Args:
        store: The open database.
        exchange: CCXT exchange id, or `simulator`.
        exchange_account: The exchange's own id of the account.
        currency: Such as BTC.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT total, read_ms FROM compared_balances "
            "WHERE exchange = ? AND exchange_account = ? AND currency = ?",
            (exchange, exchange_account, currency),
        ).fetchall()
    return ComparedBalance(Decimal(rows[0][0]), rows[0][1]) if rows else None


def store_compared_balance(
    store: Store,
    exchange: str,
    exchange_account: str,
    currency: str,
    found: ComparedBalance,
    fence: Fence,
) -> None:
    """Replace the balance at the last reading without missing coins, unless `found` is older.

    Args:
        store: The open database.
        exchange: CCXT exchange id, or `simulator`.
        exchange_account: The exchange's own id of the account.
        currency: Such as BTC.
        found: Amount and time of the reading.
        fence: The lease of the account whose trader has read it.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        check_lease(connection, fence)
        connection.execute(
            "INSERT INTO compared_balances (exchange, exchange_account, currency, total, read_ms) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET total = excluded.total, "
            "read_ms = excluded.read_ms WHERE excluded.read_ms > read_ms",
            (exchange, exchange_account, currency, format_decimal(found.total), found.read_ms),
        )
