"""Differences between the records of the database and those of the exchange.

The exchange is right about money. `trader/live/reconciling.py` and `trader/live/judging.py` decide
by the kind of a difference what follows: nothing, no entries, or no orders until a person answers.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

DifferenceKind = Literal[
    "own order",
    "own fills",
    "older order",
    "other copy",
    "foreign order",
    "foreign fills",
    "missing coins",
    "missing order",
]


class ExchangeOrder(Struct, frozen=True):
    """An order that the exchange lists, or that one of its executions belongs to."""

    exchange_order_id: str
    client_order_id: str
    is_open: bool
    created_ms: int = 0
    """Exchange time at which the order was accepted, epoch milliseconds; 0: not stated."""


class LedgerSnapshot(Struct, frozen=True):
    """The ledger's record of one market of an account."""

    tag: str
    """The first characters of the client order ids of this installation."""
    known: Mapping[str, str]
    """The exchange's ids of all own orders, each with its client order id."""
    open_orders: frozenset[str]
    """Client order ids of orders that should be open at the exchange."""
    trade_ids: frozenset[str]
    position: Decimal
    """Amount of the open position by the stored fills, base currency."""
    base: str
    baseline: Decimal = Decimal(0)
    """Amount in the account before its first session, base currency, which is never sold."""
    sold_by_others: Decimal = Decimal(0)
    """Net amount that others have sold while the position was open, base currency."""
    began_ms: int | None = None
    """Time since which only this process sends orders of this installation, exchange time, epoch
    milliseconds; None: unknown."""
    opened_ms: int | None = None
    """Time at which the account was opened in the ledger, exchange time, epoch milliseconds; None:
    older orders of the account count as own orders, too."""


class ExchangeSnapshot(Struct, frozen=True):
    """The exchange's records of the ledger's market."""

    base_total: Decimal
    """Free and locked balance of the base currency."""
    orders: tuple[ExchangeOrder, ...]
    fills: Mapping[str, str]
    """Trade ids of executions, each with the exchange's id of its order."""


class AccountDifference(Struct, frozen=True):
    """One difference between the ledger's and the exchange's records."""

    kind: DifferenceKind
    subject: str
    """Currency, or the exchange's id of the order."""
    text: str


def find_differences(ledger: LedgerSnapshot, exchange: ExchangeSnapshot) -> list[AccountDifference]:
    """Return the differences: missing coins, then unknown orders as listed, then missing orders.

    Args:
        ledger: Orders and coins of the account by the database.
        exchange: Records of the exchange, read after the ledger.
    """
    found: list[AccountDifference] = []
    if compute_covered(ledger, exchange.base_total) < ledger.position:
        text = (
            f"{exchange.base_total:f} {ledger.base} are there, and the position is "
            f"{ledger.position:f} {ledger.base}"
        )
        if exchange.base_total >= ledger.position:
            text += (
                f"; {ledger.baseline:f} {ledger.base} were there before it, and others have sold "
                f"{ledger.sold_by_others:f} {ledger.base} since (where these were no coins of the "
                "position, answer --keep to their fills)"
            )
        found.append(AccountDifference("missing coins", ledger.base, text))
    found += find_unknown_orders(ledger, exchange.orders, exchange.fills)
    listed = {order.client_order_id for order in exchange.orders if order.is_open}
    found += [
        AccountDifference(
            "missing order", name, f"order {name} is not open at the exchange any more"
        )
        for name in sorted(ledger.open_orders - listed)
    ]
    return found


def find_unknown_orders(
    ledger: LedgerSnapshot, orders: Iterable[ExchangeOrder], fills: Mapping[str, str]
) -> list[AccountDifference]:
    """Return a difference for each order, open or executed, that the ledger does not have.

    An order whose id begins with the tag of this database was sent before a backup was restored. If
    the exchange took such an order since this process alone sends orders with the tag, then another
    copy of the database sent it: each order is stored before it is sent. If the exchange took it
    before the account was opened, then it is of a record of the account that was replaced.

    Args:
        ledger: Orders and coins of the account by the database.
        orders: Orders of the exchange, oldest first.
        fills: Trade ids of executions, each with the exchange's id of its order.
    """
    found: list[AccountDifference] = []
    filled = _count_unknown_fills(ledger, fills)
    for order in orders:
        if order.exchange_order_id in ledger.known:
            continue
        is_own = order.client_order_id.startswith(ledger.tag)
        trades = filled.get(order.exchange_order_id, 0)
        if not (order.is_open or trades):
            continue
        text = (
            f"order {order.client_order_id or order.exchange_order_id} is not in the database"
            f"{', but its id is of this database' if is_own else ''}"
        )
        if is_own and ledger.began_ms is not None and order.created_ms > ledger.began_ms:
            found.append(AccountDifference("other copy", order.exchange_order_id, text))
            continue
        if is_own and ledger.opened_ms is not None and 0 < order.created_ms < ledger.opened_ms:
            found.append(AccountDifference("older order", order.exchange_order_id, text))
            continue
        whose = "own" if is_own else "foreign"
        what = "fills" if trades else "order"
        found.append(AccountDifference(f"{whose} {what}", order.exchange_order_id, text))  # pyright: ignore[reportArgumentType] - one of the kinds
    return found


def compute_covered(ledger: LedgerSnapshot, base_total: Decimal) -> Decimal:
    """Return the amount of a position that is on the account, base currency.

    Coins of the account's own hide a sale by hand: sales of others count as far as the account has
    less than its own coins and the position. A withdrawal alone, or a sale that a deposit or a buy
    makes up for, leaves the position covered.
    """
    if base_total < ledger.position:
        return base_total
    gone = min(ledger.sold_by_others, ledger.baseline + ledger.position - base_total)
    return ledger.position - max(min(gone, ledger.position), Decimal(0))


def _count_unknown_fills(ledger: LedgerSnapshot, fills: Mapping[str, str]) -> dict[str, int]:
    """Return the number of executions missing in the ledger, by the exchange's order id."""
    counts: dict[str, int] = {}
    for trade_id, order_id in fills.items():
        if trade_id not in ledger.trade_ids:
            counts[order_id] = counts.get(order_id, 0) + 1
    return counts
