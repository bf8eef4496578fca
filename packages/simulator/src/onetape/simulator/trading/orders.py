"""Orders, order lists and fills of the account, as the exchange has them.

Prices are whole ticks (price steps of the market), amounts are whole steps (amount steps).
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading.money import (
    ZERO,
    round_down_to_unit,
    round_up_to_unit,
    scale_to_decimal,
)
from onetape.simulator.trading.trade_feed import Side

OrderType = Literal[
    "MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
]  # fmt: skip
TimeInForce = Literal["GTC", "IOC", "FOK"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]
#: Types of orders that wait until their stop price is reached.
STOP_TYPES: Final = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
#: Types of orders that wait for a price better than the market's.
TARGET_TYPES: Final = ("TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
#: Types of orders without a limit price: they are filled at any price once they trade.
MARKET_TYPES: Final = ("MARKET", "STOP_LOSS", "TAKE_PROFIT")
#: Types of orders with a limit price.
LIMIT_TYPES: Final = ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")


@dataclass(frozen=True, slots=True)
class RequestedOrder:
    """An order as it was requested, in whole ticks and steps."""

    symbol: SpotSymbol
    side: Side
    type: OrderType
    time_in_force: TimeInForce = "GTC"
    quantity: int = 0
    """Amount of the order, in steps; 0 where `quote_quantity` is given."""
    quote_quantity: Decimal = ZERO
    """Quote currency that a market order spends or receives; 0 where `quantity` is given."""
    price: int = 0
    """Limit price, in ticks; 0 without one."""
    stop: int = 0
    """Stop price that activates the order, in ticks; 0 without one."""
    client_id: str = ""
    """Order id chosen by the client; empty: the exchange chooses one."""


@dataclass(slots=True)
class SimulatedOrder:
    """An order of the account, changed only by the exchange."""

    request: RequestedOrder
    """The order as it was requested."""
    id: int
    """Number of the order, from 1; -1: refused; 0: a trial order, for checks before acceptance."""
    client_id: str
    """Client order id, chosen by the client or the exchange."""
    time_ms: int
    """Time at which the exchange received the order, epoch milliseconds."""
    quantity: int
    """Amount of the order, in steps; for a market order by value, the amount that was filled."""
    status: Status = "NEW"
    filled: int = 0
    """Amount filled so far, in steps."""
    value: Decimal = ZERO
    """Quote currency paid or received so far, without fees."""
    locked: Decimal = ZERO
    """Amount still reserved for the order, in the asset that it spends."""
    update_ms: int = 0
    """Time of the last change of the order, epoch milliseconds."""
    working_ms: int = -1
    """Time at which the order began to trade or entered the book, epoch milliseconds; -1 before its
    stop price is reached."""
    list: "OrderList | None" = field(default=None, repr=False, compare=False)
    """Order list (OCO) that the order belongs to; None: it is a single order."""
    lost_to_sibling: bool = False
    """Whether the other order of the list traded or was activated first."""

    @property
    def list_id(self) -> int:
        """Number of the order's list; -1: the order is in no list."""
        return -1 if self.list is None else self.list.id

    @property
    def sibling(self) -> "SimulatedOrder | None":
        """The other order of the order list, while that order is open."""
        if self.list is None:
            return None
        return next(
            (order for order in self.list.orders if order is not self and order.is_open), None
        )

    @property
    def symbol(self) -> SpotSymbol:
        """Market of the order."""
        return self.request.symbol

    @property
    def side(self) -> Side:
        """Side of the order, BUY or SELL."""
        return self.request.side

    @property
    def is_open(self) -> bool:
        """Whether the order is open: it may be filled, cancelled or expire."""
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def is_waiting(self) -> bool:
        """Whether the order waits for its stop price."""
        return self.working_ms < 0

    @property
    def remaining(self) -> int:
        """Amount that is not filled yet, in steps."""
        return self.quantity - self.filled

    @property
    def spends(self) -> str:
        """Asset that the order spends."""
        return self.symbol.quote if self.side == "BUY" else self.symbol.base

    @property
    def falls_to_stop(self) -> bool:
        """Whether a falling price triggers the order: the stop of a sell or the target of a buy."""
        return (self.request.type not in TARGET_TYPES) == (self.side == "SELL")

    @property
    def expiry_reason(self) -> str:
        """Reason why the order expired, by Binance's name."""
        request = self.request
        if self.lost_to_sibling:
            return "OCO_TRIGGER"
        if self.is_waiting:
            return "EXCHANGE_CANCELED"  # its market was delisted
        if request.type in LIMIT_TYPES:
            unfilled = {"IOC": "UNFILLED_IOC_QUANTITY_EXPIRED", "FOK": "UNFILLED_FOK_ORDER_EXPIRED"}
            return unfilled.get(request.time_in_force, "EXCHANGE_CANCELED")
        if request.type in MARKET_TYPES and request.stop and self.side == "BUY":
            return "REJECTED"  # it was triggered, and the account could not pay its cost then
        return "INSUFFICIENT_LIQUIDITY"

    def is_stopped_by(self, price: int) -> bool:
        """Return whether a trade at a price (ticks) triggers the order."""
        stop = self.request.stop
        return price <= stop if self.falls_to_stop else price >= stop

    def compute_needed_lock(self) -> Decimal:
        """Return the amount to reserve for the rest of the order, in the asset that it spends.

        The two orders of a list never both trade: the first open one locks the amount for both.
        """
        sibling = self.sibling
        if sibling is None or self.list is None or not self.is_open:
            return self._compute_own_lock()
        if self is not self.list.orders[0]:
            return ZERO
        return max(self._compute_own_lock(), sibling._compute_own_lock())

    def _compute_own_lock(self) -> Decimal:
        kind = self.request.type
        by_market = kind == "MARKET" or (kind in MARKET_TYPES and not self.is_waiting)
        if not self.is_open or by_market:
            return ZERO
        if self.side == "SELL":
            return scale_to_decimal(self.remaining, self.symbol.amount_digits)
        price = self.request.price or self.request.stop
        return round_up_to_unit(compute_exact_value(self.symbol, price, self.remaining))


@dataclass(slots=True, eq=False)
class OrderList:
    """Two orders of which one cancels the other (OCO)."""

    id: int
    """Number of the list, from 1."""
    client_id: str
    """Client id of the list, chosen by the client or the exchange."""
    time_ms: int
    """Time at which the exchange received the list, epoch milliseconds."""
    orders: tuple[SimulatedOrder, SimulatedOrder]
    """The order below the market's price, then the order above it."""

    @property
    def is_open(self) -> bool:
        """Whether one of the list's orders is open."""
        return any(order.is_open for order in self.orders)


@dataclass(frozen=True, slots=True)
class SimulatedFill:
    """One execution of an order."""

    id: int
    """Trade id of the account's fill, from 1."""
    order_id: int
    """Number of the order."""
    symbol: SpotSymbol
    side: Side
    price: int
    """Price of the fill, in ticks."""
    quantity: int
    """Amount of the fill, in steps."""
    value: Decimal
    """Quote currency paid or received, without the fee."""
    fee: Decimal
    """Fee of the fill, in `fee_asset`."""
    fee_asset: str
    """Asset in which the fee is paid."""
    time_ms: int
    """Time of the fill, epoch milliseconds."""
    maker: bool
    """Whether the order rested in the order book, so that the maker's fee applies."""


def compute_exact_value(symbol: SpotSymbol, price: int, quantity: int) -> Decimal:
    """Return price (ticks) times quantity (steps) in quote currency, without rounding."""
    return scale_to_decimal(price * quantity, symbol.price_digits + symbol.amount_digits)


def compute_booked_value(symbol: SpotSymbol, price: int, quantity: int) -> Decimal:
    """Return the quote currency that a fill pays or receives, rounded down to eight decimals."""
    return round_down_to_unit(compute_exact_value(symbol, price, quantity))
