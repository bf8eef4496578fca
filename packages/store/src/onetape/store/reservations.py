"""Cash of an account, and the reservation of money for orders to buy.

All symbols and processes of an account share its cash, which is the start balance plus the payments
of the stored fills (table `trades`). Before an order to buy is sent, the money that it may spend is
reserved, in a transaction that reads all fills and all other reservations. So two processes never
spend the same money. A reservation ends with its order; money that the order's fills have spent is
no longer counted as reserved.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, Final

from msgspec import Struct

from onetape.core.errors import StoreError
from onetape.core.symbols import split_symbol
from onetape.core.trading import Mode
from onetape.core.trading_rules import format_decimal
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease, make_lease_name, revoke_lease

#: Number of digits for the exact sum of products of prices and amounts.
PRECISION: Final = 80


class FeeSum(Struct, frozen=True):
    """Fees of an account in one currency that is neither base nor quote of the traded market."""

    amount: Decimal
    """Sum of the fees, in the currency of the fees; negative for rebates."""
    value: Decimal
    """Value of the fills that the fees were paid for, quote currency."""


class AccountCash:
    """The money of one account. The first call reads all fills; later calls read only new fills."""

    def __init__(self, store: Store, account: str, mode: Mode) -> None:
        """Initialise; nothing is read yet.

        Args:
            store: The open database.
            account: Name of the account.
            mode: Mode of the account: paper or live.
        """
        self._store = store
        self._account = account
        self._mode = mode
        self._newest = 0
        """Row id of the newest fill that has been read."""
        self._flow = Decimal(0)
        """Sum of the payments of all fills up to `_newest`, quote currency; buys are negative."""
        self.other_fees: dict[str, FeeSum] = {}
        """Fees of the fills read so far in currencies other than base and quote, by currency; the
        cash does not contain them."""

    def read(self) -> Decimal:
        """Return the cash of the account, with reserved money, quote currency.

        Raises:
            StoreError: the file cannot be read, or the account has no start balance.
        """
        with self._store.read() as connection:
            return self._compute_cash(connection)

    def reserve(
        self,
        client_order_id: str,
        fence: Fence,
        choose: Callable[[Decimal], Decimal],
        *,
        reserved_ms: int,
    ) -> Decimal:
        """Reserve money for an order; return the reserved amount, quote currency.

        Args:
            client_order_id: The order, whose intent is stored already; at most one reservation for
                each order.
            fence: The lease of the account and symbol.
            choose: Function that gets the free money (0 or more, quote currency) and returns the
                amount that the order may spend; called inside the transaction. 0: nothing is
                reserved.
            reserved_ms: Market time, epoch milliseconds.

        Raises:
            SafetyRefusal: another process took the symbol over.
            StoreError: the file cannot be written, the account has no start balance, or more was
                chosen than is free.
        """
        with self._store.write(durable=True) as connection:
            check_lease(connection, fence)
            free = max(self._compute_cash(connection) - self._sum_reserved(connection), Decimal(0))
            amount = choose(free)
            if amount > free:
                raise StoreError(
                    f"account {self._account}: an order of {amount} was to reserve more than the "
                    f"{free} that are free; nothing is ordered"
                )
            if amount > 0:
                connection.execute(
                    "INSERT INTO reservations (client_order_id, account, mode, amount, "
                    "reserved_ms) VALUES (?, ?, ?, ?, ?)",
                    (
                        client_order_id,
                        self._account,
                        self._mode,
                        format_decimal(amount),
                        reserved_ms,
                    ),
                )
            return amount

    def _compute_cash(self, connection: DatabaseConnection) -> Decimal:
        """Return the start balance plus the payments of all fills.

        Only fills that were stored since the last call are read.
        """
        start = connection.execute(
            "SELECT start_balance FROM accounts WHERE account = ?", (self._account,)
        ).get
        if start is None:
            raise StoreError(f"account {self._account} has no start balance in {self._store.path}")
        rows = connection.execute(
            "SELECT id, symbol, side, price, amount, fee, fee_currency FROM trades "
            "WHERE account = ? AND mode = ? AND id > ? ORDER BY id",
            (self._account, self._mode, self._newest),
        ).fetchall()
        with localcontext(prec=PRECISION):
            for row in rows:
                self._flow += _compute_flow(row[1:])
                self._add_fee(*row[1:])
                self._newest = row[0]
            return Decimal(start) + self._flow

    def _add_fee(
        self, symbol: str, side: str, price: str, amount: str, fee: str, fee_currency: str
    ) -> None:
        """Add the fee of a fill if it was paid in a third currency, such as BNB."""
        del side
        if fee_currency in split_symbol(symbol) or not Decimal(fee):
            return
        before = self.other_fees.get(fee_currency, FeeSum(Decimal(0), Decimal(0)))
        self.other_fees[fee_currency] = FeeSum(
            before.amount + Decimal(fee), before.value + Decimal(price) * Decimal(amount)
        )

    def _sum_reserved(self, connection: DatabaseConnection) -> Decimal:
        """Return the money that open orders may still spend, quote currency."""
        rows = connection.execute(
            "SELECT client_order_id, amount FROM reservations WHERE account = ? AND mode = ?",
            (self._account, self._mode),
        ).fetchall()
        with localcontext(prec=PRECISION):
            left = [Decimal(amount) + _sum_spent(connection, order) for order, amount in rows]
            return sum((amount for amount in left if amount > 0), Decimal(0))


def read_reserved_symbols(store: Store, account: str, mode: Mode) -> set[tuple[str, str]]:
    """Return exchange and symbol of each order that has a reservation: buys that have not ended.

    Inside the transaction of a reservation no other process can add an order meanwhile.

    Args:
        store: The open database.
        account: Name of the account.
        mode: Mode of the account.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT o.exchange, o.symbol FROM reservations r JOIN orders o USING (client_order_id) "
            "WHERE r.account = ? AND r.mode = ?",
            (account, mode),
        ).fetchall()
    return {(exchange, symbol) for exchange, symbol in rows}


def release_abandoned(store: Store, account: str, is_traded: Callable[[str], bool]) -> list[str]:
    """End the reservations of orders whose process was killed before it sent or filled them.

    These are unsent orders, and paper orders that are not filled. A process that trades the symbol
    again would cancel such an order, but the symbol may not be in the settings any more. A live
    order that was sent keeps its reservation. The lease of the symbol is revoked, so that a process
    that was only suspended can neither send nor fill the order.

    Args:
        store: The open database.
        account: Name of the account.
        is_traded: Function that returns whether a running process trades a symbol for the account;
            called inside the transaction.

    Returns:
        The symbols whose reservations ended.

    Raises:
        StoreError: the file cannot be read or written.
    """
    abandoned = (
        "SELECT r.client_order_id, o.symbol FROM reservations r "
        "JOIN orders o USING (client_order_id) "
        "WHERE r.account = ? AND (o.status = 'intent' OR r.mode = 'paper')"
    )
    with store.read() as connection:
        if not connection.execute(abandoned, (account,)).fetchall():
            return []
    with store.write(durable=True) as connection:
        rows = connection.execute(abandoned, (account,)).fetchall()
        ended = [(order, symbol) for order, symbol in rows if not is_traded(symbol)]
        for order, symbol in ended:
            revoke_lease(connection, make_lease_name(account, symbol))
            release_reservation(connection, order)
    return [symbol for _, symbol in ended]


def release_reservation(connection: DatabaseConnection, client_order_id: str) -> None:
    """Delete the reservation of an order, inside the transaction that stores the order's end."""
    connection.execute("DELETE FROM reservations WHERE client_order_id = ?", (client_order_id,))


def _sum_spent(connection: DatabaseConnection, client_order_id: str) -> Decimal:
    """Return the cash flow of the fills of an order, quote currency; negative: money spent."""
    rows = connection.execute(
        "SELECT symbol, side, price, amount, fee, fee_currency FROM trades "
        "WHERE client_order_id = ?",
        (client_order_id,),
    ).fetchall()
    return sum((_compute_flow(row) for row in rows), Decimal(0))


def _compute_flow(row: tuple[Any, ...]) -> Decimal:
    """Return the cash flow of a fill, quote currency; negative: money spent."""
    symbol, side, price, amount, fee, fee_currency = row
    value = Decimal(price) * Decimal(amount)
    flow = value if side == "sell" else -value
    return flow - Decimal(fee) if fee_currency == split_symbol(symbol)[1] else flow
