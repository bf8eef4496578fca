"""Accounts of traders: what each one trades, and the start balance that is stored once."""

from decimal import Decimal
from typing import Any

from msgspec import Struct

from onetape.core.steps import decimal_text
from onetape.core.trading import Mode
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease


class Account(Struct, frozen=True):
    """An account and the one series and strategy that it belongs to."""

    name: str
    mode: Mode
    exchange: str
    symbol: str
    timeframe: str
    strategy: str
    """Name of the strategy that trades the account."""
    currency: str
    """Currency of the start balance."""
    start_balance: Decimal | None
    """Money at the start, in `currency`; None for an account of an earlier version of Onetape."""
    opened_ms: int
    """Market time of the first session, epoch milliseconds."""


def read_account(store: Store, name: str) -> Account | None:
    """Return the account of this name, or None where no trader has opened it."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT account, mode, exchange, symbol, timeframe, strategy, currency, "
            "start_balance, opened_ms FROM accounts WHERE account = ?",
            (name,),
        ).fetchall()
    if not rows:
        return None
    values: list[Any] = list(rows[0])
    balance = values[7]
    values[7] = None if balance is None else Decimal(balance)
    return Account(*values)


def open_account(store: Store, account: Account, fence: Fence) -> None:
    """Store an account that is new, or the start balance of one that has none yet.

    Args:
        store: The open database.
        account: With its start balance.
        fence: The lease of the account.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    balance = None if account.start_balance is None else decimal_text(account.start_balance)
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        connection.execute(
            "INSERT INTO accounts (account, mode, exchange, symbol, timeframe, strategy, "
            "currency, start_balance, opened_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (account) DO UPDATE "
            "SET start_balance = ifnull(start_balance, excluded.start_balance)",
            (
                account.name,
                account.mode,
                account.exchange,
                account.symbol,
                account.timeframe,
                account.strategy,
                account.currency,
                balance,
                account.opened_ms,
            ),
        )
