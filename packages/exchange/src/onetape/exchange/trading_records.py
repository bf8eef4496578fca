"""Records of private requests and their responses, and CCXT's rows turned into them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, cast

from msgspec import Struct

Side = Literal["buy", "sell"]
#: Status of an order that the exchange does nothing more with, in CCXT's words.
_ENDS: Final = ("closed", "canceled", "expired", "rejected")


class Credentials(Struct, frozen=True):
    """An API key and its secret. Neither is ever part of a text."""

    key: str
    secret: str
    password: str = ""
    """Passphrase that some exchanges issue together with a key; otherwise empty."""

    def __repr__(self) -> str:
        """Return a text without the credentials."""
        return "Credentials(...)"


class OrderRequest(Struct, frozen=True):
    """A market order, or a stop that becomes one at its price."""

    client_order_id: str
    symbol: str
    side: Side
    amount: Decimal
    """Base currency, a whole number of the market's amount steps."""
    timestamp_ms: int
    """Exchange time of the request: the exchange refuses it a stated time (`window_ms`) later."""
    stop_price: Decimal | None = None
    """Trigger price of a stop order; None: a market order."""
    limit_price: Decimal | None = None
    """Lowest price of a stop, once its price is reached; None: it becomes a market order."""


class OwnTrade(Struct, frozen=True):
    """An execution of an order of the account."""

    trade_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_currency: str
    executed_ms: int


class OrderSnapshot(Struct, frozen=True):
    """An order as the exchange has it."""

    exchange_order_id: str
    client_order_id: str
    symbol: str
    side: Side
    status: Literal["open", "closed", "canceled", "expired", "rejected"]
    amount: Decimal | None
    filled: Decimal | None
    """Filled amount; None: the response does not state it, so the order has to be looked up."""
    stop_price: Decimal | None
    created_ms: int
    trades: tuple[OwnTrade, ...] = ()
    """Executions that came with the response."""


class Balance(Struct, frozen=True):
    """Free and locked balance of an account in one currency."""

    free: Decimal
    locked: Decimal

    @property
    def total(self) -> Decimal:
        """Return the free and the locked balance together."""
        return self.free + self.locked


class Replacement(Struct, frozen=True):
    """Outcome of the replacement of a stop: of the old and of the new order."""

    old: Literal["cancelled", "kept", "unknown"]
    old_filled: Decimal
    """Amount that the cancelled stop had sold, base currency."""
    reason: str
    """Reason why the old order was not cancelled, or may not be; empty: it was cancelled."""
    new: "OrderSnapshot | OrderRefused | OrderUnknown"


class OrderRefused(Exception):
    """The exchange has refused the request; it has not been carried out and will not be."""

    def __init__(
        self, reason: str, code: str = "", *, is_absent: bool = False, is_of_key: bool = False
    ) -> None:
        """Begin.

        Args:
            reason: The exchange's words.
            code: Error code of the exchange.
            is_absent: Whether it has no such open order.
            is_of_key: Whether the key may not do this.
        """
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.is_absent = is_absent
        self.is_of_key = is_of_key


class OrderUnknown(Exception):
    """Whether the exchange has carried out the request is not known."""

    def __init__(self, reason: str) -> None:
        """Take the reason, one line."""
        super().__init__(reason)
        self.reason = reason


def get_fields(document: object) -> dict[str, Any]:
    """Return the fields of a JSON object; none where the document is something else."""
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def parse_order(row: Mapping[str, Any]) -> OrderSnapshot:
    """Return an order of CCXT, whose numbers are strings; without a status it is open."""
    side: Side = row["side"]
    moment = row.get("timestamp")
    trades = tuple(
        parse_own_trade({**trade, "side": side, "timestamp": moment}, str(row["id"]))
        for trade in row.get("trades") or ()
        if trade.get("id") is not None
    )
    stop = _parse_decimal(row.get("triggerPrice") or row.get("stopPrice"))
    return OrderSnapshot(
        exchange_order_id=str(row["id"]),
        client_order_id=str(row.get("clientOrderId") or ""),
        symbol=str(row["symbol"]),
        side=side,
        status=row["status"] if row.get("status") in _ENDS else "open",
        amount=_parse_decimal(row.get("amount")),
        filled=_parse_decimal(row.get("filled")),
        stop_price=stop or None,
        created_ms=int(moment or 0),
        trades=trades,
    )


def parse_own_trade(row: Mapping[str, Any], exchange_order_id: str | None = None) -> OwnTrade:
    """Return an execution of CCXT, whose numbers are strings.

    Args:
        row: The execution.
        exchange_order_id: Where the row does not name its order.
    """
    fee = get_fields(row.get("fee"))
    return OwnTrade(
        trade_id=str(row["id"]),
        exchange_order_id=exchange_order_id or str(row["order"]),
        symbol=str(row["symbol"]),
        side=row["side"],
        price=Decimal(str(row["price"])),
        amount=Decimal(str(row["amount"])),
        fee=_parse_decimal(fee.get("cost")) or Decimal(0),
        fee_currency=str(fee.get("currency") or ""),
        executed_ms=int(row.get("timestamp") or 0),
    )


def _parse_decimal(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))
