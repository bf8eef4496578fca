"""Differences between the database's and the exchange's records of one market of an account.

`find_differences` compares two snapshots and returns a list. The exchange is right about money.
`trader/live/reconciling.py` calls it, and decides by the kind of a difference what follows: the
order is taken over, no entries, or no orders until a person has decided.
An own order has a client order id that begins with the tag of this database; a foreign order was
sent by another program or by hand.
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
"""Kind of a difference.

own order, own fills: open or executed at the exchange, with an id of this database, not stored
older order: an own order from before the account was opened, so an older backup was restored
other copy: an own order that another copy of this database has sent
foreign order, foreign fills: an open order, or executions, of another program or person
missing coins: the account has fewer coins than the position
missing order: the database has an open stop that the exchange does not list
"""


class ExchangeOrder(Struct, frozen=True):
    """An order that the exchange lists, or that one of its executions belongs to."""

    exchange_order_id: str
    """The exchange's id of the order."""
    client_order_id: str
    """Id that the sender gave the order; empty: none."""
    is_open: bool
    """Whether the order may still be filled."""
    created_ms: int = 0
    """Exchange time at which the order was accepted, epoch milliseconds; 0: not stated."""


class LedgerSnapshot(Struct, frozen=True):
    """The database's record of one market of an account (its ledger)."""

    tag: str
    """First characters of all client order ids that this database makes."""
    client_order_ids: Mapping[str, str]
    """Client order ids of all own orders, by the exchange's id of the order."""
    open_orders: frozenset[str]
    """Client order ids of orders that should be open at the exchange."""
    trade_ids: frozenset[str]
    """The exchange's trade ids of all stored fills."""
    position: Decimal
    """Amount of the open position by the stored fills, base currency."""
    base: str
    """Base currency of the market."""
    baseline: Decimal = Decimal(0)
    """Amount in the account before its first session, base currency, which is never sold."""
    sold_by_others: Decimal = Decimal(0)
    """Amount that other programs and persons have sold while the position was open, less the amount
    that they have bought, base currency."""
    began_ms: int | None = None
    """Time since which only this process sends orders of this database, exchange time, epoch
    milliseconds; None: unknown."""
    opened_ms: int | None = None
    """Time at which the account was opened in the database, exchange time, epoch milliseconds;
    None: older orders count as own orders, too."""


class ExchangeSnapshot(Struct, frozen=True):
    """The exchange's record of the same market and account."""

    base_total: Decimal
    """Free and locked balance of the base currency."""
    orders: tuple[ExchangeOrder, ...]
    """Open orders, and orders with executions since the last comparison."""
    fills: Mapping[str, str]
    """The exchange's ids of orders, by the trade ids of their executions."""


class AccountDifference(Struct, frozen=True):
    """One difference between the database's and the exchange's record."""

    kind: DifferenceKind
    subject: str
    """Currency of missing coins; client order id of a missing order; otherwise the exchange's id of
    the order."""
    text: str
    """Description for a person, in one line."""


def find_differences(ledger: LedgerSnapshot, exchange: ExchangeSnapshot) -> list[AccountDifference]:
    """Return the differences: missing coins, then unknown orders as listed, then missing orders.

    Args:
        ledger: The database's record.
        exchange: The exchange's record, read after the database's.
    """
    found: list[AccountDifference] = []
    if compute_covered_amount(ledger, exchange.base_total) < ledger.position:
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
    """Return a difference for each order, open or executed, that the database does not have.

    Each order is stored before it is sent. So the database has lost an order with its tag when a
    backup was restored ("own order"), or another copy of the database has sent it ("other copy").
    It was another copy if the exchange accepted the order after `ledger.began_ms`. An order from
    before the account was opened belongs to an earlier record of the account ("older order").

    Args:
        ledger: The database's record.
        orders: Orders of the exchange, oldest first.
        fills: The exchange's ids of orders, by the trade ids of their executions.
    """
    found: list[AccountDifference] = []
    unknown_fills = _count_unknown_fills(ledger, fills)
    for order in orders:
        if order.exchange_order_id in ledger.client_order_ids:
            continue
        is_own = order.client_order_id.startswith(ledger.tag)
        executions = unknown_fills.get(order.exchange_order_id, 0)
        if not (order.is_open or executions):
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
        own: DifferenceKind = "own fills" if executions else "own order"
        foreign: DifferenceKind = "foreign fills" if executions else "foreign order"
        kind = own if is_own else foreign
        found.append(AccountDifference(kind, order.exchange_order_id, text))
    return found


def compute_covered_amount(ledger: LedgerSnapshot, base_total: Decimal) -> Decimal:
    """Return the amount of the position that is still in the account, base currency.

    The account may have had coins before its first session (`ledger.baseline`), and the balance
    alone does not show whose coins a sale by hand has sold. Sales of others reduce the position as
    far as the account has less than the baseline plus the position. A withdrawal alone, or a sale
    that a deposit or a buy makes up for, leaves the position covered.

    Args:
        ledger: The database's record.
        base_total: Free and locked balance of the base currency.
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
