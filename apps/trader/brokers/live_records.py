"""Records of an account at a real exchange, and its orders and executions as events."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from msgspec import Struct

from onetape.exchange.trading_records import Balance, OrderSnapshot, OwnTrade
from onetape.execution.events import Acknowledged, FillReport, OrderEvent, StatusReport

#: Time before the first possible own trade from which trades are requested, milliseconds.
OVERLAP_MS: Final = 60_000


class AbsenceAnswer(Struct, frozen=True):
    """The exchange's complete response lacks the order."""

    client_order_id: str
    requested_ms: int
    """Exchange time right before the requests, epoch milliseconds."""
    fills: tuple[OwnTrade, ...]
    """Executions in the market since the order was sent; some may be fills of the order."""
    balances: dict[str, Balance]


class AccountSnapshot(Struct, frozen=True):
    """State of the account in one market, as the exchange returned it."""

    requested_ms: int
    """Exchange time right before the requests, epoch milliseconds."""
    begun: float
    """Monotonic time right before the requests, seconds."""
    balances: dict[str, Balance]
    open_orders: tuple[OrderSnapshot, ...]
    fills: tuple[OwnTrade, ...]
    """Executions since the requested time."""
    found: tuple[OrderSnapshot, ...]
    """Orders that were not known before, of the executions read."""
    nameless: frozenset[str] = frozenset()
    """Exchange ids of executed orders that could not be looked up, so the owner is unknown."""


class BalanceReading(Struct, frozen=True):
    """Balances of an account, also without a reading of its orders and executions."""

    requested_ms: int
    """Exchange time right before the request, epoch milliseconds."""
    begun: float
    """Monotonic time right before the request, seconds."""
    balances: dict[str, Balance]


class AccountHistory(Struct, frozen=True):
    """Executions in one market since a time that may be long ago."""

    begun: float
    """Monotonic time right before the requests, seconds; later events may be missing."""
    fills: tuple[OwnTrade, ...]
    """Executions before the start, oldest first."""
    found: tuple[OrderSnapshot, ...]
    """Orders that were not known before and could be looked up, of the executions read."""


def make_order_events(found: OrderSnapshot, fills: Iterable[OwnTrade]) -> list[OrderEvent]:
    """Return an order of the exchange as events: its existence, its fills, then its status."""
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
