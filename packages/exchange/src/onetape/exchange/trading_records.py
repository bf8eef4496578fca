"""Records of private requests and responses: orders, executions, balances, and their errors.

Also the conversion of CCXT's rows to these records. Amounts and prices are Decimals.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, cast

from msgspec import Struct

from onetape.core.trading import Side

#: CCXT's statuses of an order that has ended.
_ENDS: Final = ("closed", "canceled", "expired", "rejected")


class Credentials(Struct, frozen=True):
    """An API key and its secret, which never appear in the record's repr."""

    key: str
    """API key."""
    secret: str
    """Secret that belongs to the key."""
    password: str = ""
    """Passphrase that some exchanges issue together with a key; otherwise empty."""

    def __repr__(self) -> str:
        """Return a text without the credentials."""
        return "Credentials(...)"


class OrderRequest(Struct, frozen=True):
    """A market order or a stop order that is to be sent."""

    client_order_id: str
    symbol: str
    """CCXT spot symbol."""
    side: Side
    amount: Decimal
    """Amount in base currency, a whole number of the market's amount steps."""
    timestamp_ms: int
    """Exchange time of the intent, epoch milliseconds; the exchange refuses the order if it arrives
    `window_ms` later."""
    stop_price: Decimal | None = None
    """Price that triggers a stop order, quote currency; None: a market order."""
    limit_price: Decimal | None = None
    """Lowest price of a triggered stop, quote currency; None: it becomes a market order."""


class OwnTrade(Struct, frozen=True):
    """An execution of an order of the account (CCXT: own trade)."""

    trade_id: str
    """The exchange's id of the execution."""
    exchange_order_id: str
    symbol: str
    side: Side
    price: Decimal
    """Price in quote currency."""
    amount: Decimal
    """Amount in base currency."""
    fee: Decimal
    """Fee in `fee_currency`; 0: the exchange states none."""
    fee_currency: str
    """Currency of the fee; empty: the exchange states none."""
    executed_ms: int
    """Exchange time of the execution, epoch milliseconds."""


class OrderSnapshot(Struct, frozen=True):
    """State of an order in one response of the exchange."""

    exchange_order_id: str
    client_order_id: str
    """Client order id; empty: the response does not have it."""
    symbol: str
    side: Side
    status: Literal["open", "closed", "canceled", "expired", "rejected"]
    amount: Decimal | None
    """Ordered amount, base currency; None: the response does not have it."""
    filled: Decimal | None
    """Filled amount, base currency; None: the response does not have it, so look up the order."""
    stop_price: Decimal | None
    """Price that triggers a stop order, quote currency; None: no stop."""
    created_ms: int
    """Exchange time of the order, epoch milliseconds; 0: the response does not have it."""
    trades: tuple[OwnTrade, ...] = ()
    """Executions in the response; the order may have others."""


class Balance(Struct, frozen=True):
    """Balance of an account in one currency."""

    free: Decimal
    """Amount that orders may use."""
    locked: Decimal
    """Amount that open orders hold."""

    @property
    def total(self) -> Decimal:
        """Return the sum of the free and the locked amount."""
        return self.free + self.locked


class Replacement(Struct, frozen=True):
    """Result of the replacement of a stop: what has become of the old and of the new order."""

    old: Literal["cancelled", "open", "unknown"]
    """Whether the old stop was cancelled, is still open, or may be either."""
    old_filled: Decimal
    """Amount that the cancelled stop had sold, base currency."""
    reason: str
    """Reason why the old stop is, or may be, still open; empty: it was cancelled."""
    new: "OrderSnapshot | OrderRefused | OrderUnknown"
    """The new stop, or the error of its placement."""


class OrderRefused(Exception):
    """The exchange has refused the request, which had no effect and will have none."""

    def __init__(
        self, reason: str, code: str = "", *, is_absent: bool = False, is_of_key: bool = False
    ) -> None:
        """Set the fields of the error.

        Args:
            reason: Message of the exchange, one line.
            code: Error code of the exchange; empty: the request was never sent.
            is_absent: Whether the reason is that there is no such open order.
            is_of_key: Whether the reason is that the API key may not do this.
        """
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.is_absent = is_absent
        self.is_of_key = is_of_key


class OrderUnknown(Exception):
    """It is not known whether the request had an effect."""

    def __init__(self, reason: str) -> None:
        """Set the reason, one line."""
        super().__init__(reason)
        self.reason = reason


def get_fields(document: object) -> dict[str, Any]:
    """Return the fields of a JSON object; empty if the document is no object."""
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def parse_order(row: Mapping[str, Any]) -> OrderSnapshot:
    """Return the order of a row of CCXT, whose numbers are texts; without a status it is open.

    Raises:
        LookupError: a required field is missing.
        ArithmeticError: a number cannot be read.
    """
    side: Side = row["side"]
    moment = row.get("timestamp")
    trades = tuple(
        parse_own_trade({**execution, "side": side, "timestamp": moment}, str(row["id"]))
        for execution in row.get("trades") or ()
        if execution.get("id") is not None
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
    """Return the execution of a row of CCXT, whose numbers are texts.

    Args:
        row: The execution.
        exchange_order_id: The exchange's id of the order, if the row does not have it; None: the
            row has it.
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
