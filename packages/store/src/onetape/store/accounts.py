"""Read and write the table `accounts`: each trader account with its start balance, stored once.

A row has the series that the first session traded; an account may trade further symbols.
"""

from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.trading import Mode
from onetape.core.trading_rules import format_decimal
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease

#: Columns of the table accounts, in the order of the fields of `AccountSeries`.
ACCOUNT_COLUMNS: Final = (
    "account, mode, exchange, symbol, timeframe, strategy, currency, start_balance, opened_ms"
)


class AccountSeries(Struct, frozen=True):
    """An account, and one of the series that are traded with its money."""

    name: str
    """Name of the account."""
    mode: Mode
    exchange: str
    symbol: str
    timeframe: str
    strategy: str
    """Name of the strategy that trades the series."""
    currency: str
    """Currency of the start balance."""
    start_balance: Decimal | None
    """Money at the start, in `currency`; None: stored by an earlier version without it."""
    opened_ms: int
    """Market time of the first session of the series, epoch milliseconds."""


def read_account(store: Store, name: str) -> AccountSeries | None:
    """Return the account of this name with the series of its opening; None: not opened."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE account = ?", (name,)
        ).fetchall()
    return convert_account_row(rows[0]) if rows else None


def read_account_series(store: Store, name: str) -> list[AccountSeries]:
    """Return the account of this name, with one record for each symbol that it traded.

    The series of the opening comes first; each other symbol has the timeframe and strategy of its
    newest session. Empty: there is no such account.
    """
    with store.read() as connection:
        first = read_account(store, name)
        if first is None:
            return []
        rows = connection.execute(
            "SELECT symbol, timeframe, strategy FROM "
            "(SELECT *, row_number() OVER (PARTITION BY symbol ORDER BY started_ms DESC, session) "
            "AS newness FROM sessions WHERE account = ? AND exchange = ? AND symbol <> ?) "
            "WHERE newness = 1 ORDER BY symbol",
            (name, first.exchange, first.symbol),
        ).fetchall()
    return [
        first,
        *(
            replace(first, symbol=symbol, timeframe=timeframe, strategy=strategy)
            for symbol, timeframe, strategy in rows
        ),
    ]


def convert_account_row(row: tuple[Any, ...]) -> AccountSeries:
    """Return the account of a row whose values are `ACCOUNT_COLUMNS`."""
    values: list[Any] = list(row)
    balance = values[7]
    values[7] = None if balance is None else Decimal(balance)
    return AccountSeries(*values)


def open_account(store: Store, account: AccountSeries, fence: Fence) -> None:
    """Store a new account; of a stored account only a missing start balance is added.

    Args:
        store: The open database.
        account: Account with its start balance.
        fence: The lease of the account and symbol.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    balance = None if account.start_balance is None else format_decimal(account.start_balance)
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
