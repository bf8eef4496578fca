"""Records of an account at a real exchange: snapshots, balances, old executions, absent orders."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from msgspec import Struct

from onetape.exchange.trading_records import Balance, OrderSnapshot, OwnTrade
from onetape.execution.events import Acknowledged, FillReport, OrderEvent, StatusReport

#: Executions are requested from this long before the wanted time on, milliseconds: clocks differ.
OVERLAP_MS: Final = 60_000


class AbsenceResponse(Struct, frozen=True):
    """Result of a look-up whose complete response lacks the order."""

    client_order_id: str
    """Client order id of the order that is missing."""
    requested_ms: int
    """Exchange time right before the requests, epoch milliseconds."""
    fills: tuple[OwnTrade, ...]
    """Executions in the market since the order was sent; some may be fills of the order."""
    balances: dict[str, Balance]
    """Balances by currency."""


class AccountSnapshot(Struct, frozen=True):
    """Balances, open orders and recent executions of an account in one market."""

    requested_ms: int
    """Exchange time right before the requests, epoch milliseconds."""
    begun: float
    """Monotonic time right before the requests, seconds."""
    balances: dict[str, Balance]
    """Balances by currency."""
    open_orders: tuple[OrderSnapshot, ...]
    fills: tuple[OwnTrade, ...]
    """Executions since the requested time, oldest first."""
    found: tuple[OrderSnapshot, ...]
    """Orders of these executions that were not known before, and were looked up."""
    nameless: frozenset[str] = frozenset()
    """Exchange ids of executed orders whose look-up failed: their client order ids are unknown."""


class BalanceReading(Struct, frozen=True):
    """Balances of an account; orders and executions of the same reading may be missing."""

    requested_ms: int
    """Exchange time right before the request, epoch milliseconds."""
    begun: float
    """Monotonic time right before the request, seconds."""
    balances: dict[str, Balance]
    """Balances by currency."""


class AccountHistory(Struct, frozen=True):
    """Executions of an account in one market since a time that may be long ago."""

    begun: float
    """Monotonic time right before the requests, seconds; later events may be missing."""
    fills: tuple[OwnTrade, ...]
    """Executions since that time, oldest first."""
    found: tuple[OrderSnapshot, ...]
    """Orders of these executions that were not known before, and could be looked up."""


def make_order_events(found: OrderSnapshot, fills: Iterable[OwnTrade]) -> list[OrderEvent]:
    """Return an order of the exchange as events: acknowledged, its fills, then its status."""
    reports = [make_fill_report(fill) for fill in fills]
    known = sum((one.amount for one in reports), Decimal(0))
    filled = known if found.filled is None else max(known, found.filled)
    acknowledged = Acknowledged(found.exchange_order_id)
    return [acknowledged, *reports, StatusReport(found.status, filled)]


def make_fill_report(fill: OwnTrade) -> FillReport:
    """Return an execution as an event of its order."""
    return FillReport(
        fill.trade_id, fill.price, fill.amount, fill.fee, fill.fee_currency, fill.executed_ms
    )
