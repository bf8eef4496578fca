"""Compares the simulator's orders and fills with the trader's database after a part of a drill."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from onetape.store.read_only import open_read_only

#: First characters of client order ids of orders that a person makes in the simulator.
BY_HAND: Final = "web_"
#: First characters of trade ids of a sell that writes off a position (`trader.delisted`).
_CORRECTION: Final = "correction-"


class OwnRecords(Struct, frozen=True):
    """Orders and fills in the trader's database."""

    sends: frozenset[str]
    """Client order ids of orders whose intent and send are stored."""
    orders: frozenset[str]
    """Client order ids of all stored orders."""
    fills: Mapping[str, tuple[Decimal, Decimal, Decimal, str]]
    """Amount, price, fee and its currency of each fill, by the exchange's trade id."""


class ExchangeRecords(Struct, frozen=True):
    """The simulator's ledger of one account."""

    orders: Sequence[Mapping[str, Any]]
    """Events of orders, oldest first."""
    fills: Sequence[Mapping[str, Any]]
    """Executions, oldest first."""

    @property
    def own(self) -> dict[int, Mapping[str, Any]]:
        """Return the last event of each order of the trader that was accepted, by order number."""
        return {
            row["order_id"]: row
            for row in self.orders
            if not row["client_order_id"].startswith(BY_HAND) and row["event"] != "REJECTED"
        }

    def count_buys(self) -> int:
        """Return the number of the trader's orders to buy that the exchange accepted."""
        return sum(row["side"] == "BUY" for row in self.own.values())

    def count_sells(self) -> int:
        """Return the number of the trader's market orders to sell, without stops."""
        rows = self.own.values()
        return sum(row["side"] == "SELL" and row["type"] == "MARKET" for row in rows)


def read_own_records(db: Path) -> OwnRecords:
    """Read the trader's database; nothing is written.

    Raises:
        StoreError: the database cannot be read.
    """
    with open_read_only(db) as store, store.read() as connection:
        orders = connection.execute("SELECT client_order_id FROM orders").fetchall()
        sent = connection.execute(
            "SELECT client_order_id FROM order_events WHERE kind IN ('intended', 'submitted') "
            "GROUP BY client_order_id HAVING count(DISTINCT kind) = 2"
        ).fetchall()
        stored_fills = connection.execute(
            "SELECT exchange_trade_id, amount, price, fee, fee_currency FROM trades"
        ).fetchall()
    return OwnRecords(
        frozenset(str(row[0]) for row in sent),
        frozenset(str(row[0]) for row in orders),
        {
            str(row[0]): (Decimal(row[1]), Decimal(row[2]), Decimal(row[3]), str(row[4]))
            for row in stored_fills
        },
    )


def find_unstored_sends(exchange: ExchangeRecords, own: OwnRecords) -> list[str]:
    """Return a text for each order at the exchange whose intent or send is not stored."""
    ids = sorted({row["client_order_id"] for row in exchange.own.values()} - own.sends)
    return [f"sent without a stored intent: order {one}" for one in ids]


def find_ledger_differences(exchange: ExchangeRecords, own: OwnRecords) -> list[str]:
    """Return a text for each execution that differs between database and exchange."""
    expected = {
        str(row["trade_id"]): (
            Decimal(row["quantity"]), Decimal(row["price"]), Decimal(row["fee"]), row["fee_asset"],
        )
        for row in exchange.fills
        if row["order_id"] in exchange.own
    }  # fmt: skip
    orphans = sorted(set(expected) - set(own.fills))
    booked = {one for one in own.fills if not one.startswith(_CORRECTION)}
    invented = sorted(booked - set(expected))
    found = [f"execution {one} of the exchange is not booked" for one in orphans]
    found += [f"execution {one} is booked, but not at the exchange" for one in invented]
    for one in sorted(set(expected) & set(own.fills)):
        if expected[one] != own.fills[one]:
            found.append(f"execution {one} is booked as {own.fills[one]}, not {expected[one]}")
    return found
