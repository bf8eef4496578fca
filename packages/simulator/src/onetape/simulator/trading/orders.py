"""Orders, order lists and fills of the account."""

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
#: Orders that wait until a price is reached.
STOPS: Final = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
#: Orders that wait for a price better than the market's.
TARGETS: Final = ("TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
#: Orders that take any price once they trade.
BY_MARKET: Final = ("MARKET", "STOP_LOSS", "TAKE_PROFIT")
#: Orders that never pay more, or take less, than their own price.
LIMITS: Final = ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")


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
    id: int
    client_id: str
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
    working_ms: int = -1
    """Time at which the order began to trade or entered the book, epoch milliseconds; -1 before its
    stop price is reached."""
    list: "OrderList | None" = field(default=None, repr=False, compare=False)
    """Number of the order list (OCO) that the order belongs to."""
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
        return next((one for one in self.list.orders if one is not self and one.is_open), None)

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
        """Whether a falling price reaches its stop: a stop of a sale, a target of a purchase."""
        return (self.request.type not in TARGETS) == (self.side == "SELL")

    @property
    def expiry_reason(self) -> str:
        """Reason why the order expired, by Binance's name."""
        request = self.request
        if self.lost_to_sibling:
            return "OCO_TRIGGER"
        if self.is_waiting:
            return "EXCHANGE_CANCELED"  # its market was delisted
        if request.type in LIMITS:
            unfilled = {"IOC": "UNFILLED_IOC_QUANTITY_EXPIRED", "FOK": "UNFILLED_FOK_ORDER_EXPIRED"}
            return unfilled.get(request.time_in_force, "EXCHANGE_CANCELED")
        if request.type in BY_MARKET and request.stop and self.side == "BUY":
            return "REJECTED"  # it woke, and the account could not pay its cost at that time
        return "INSUFFICIENT_LIQUIDITY"

    def is_stopped_by(self, price: int) -> bool:
        """Return whether a trade at a price (ticks) activates the stop."""
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
        by_market = kind == "MARKET" or (kind in BY_MARKET and not self.is_waiting)
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
    client_id: str
    time_ms: int
    """Time at which the exchange received the list, epoch milliseconds."""
    orders: tuple[SimulatedOrder, SimulatedOrder]
    """The stop or target below the price first, then the order above it."""

    @property
    def is_open(self) -> bool:
        """Whether one of the list's orders is open."""
        return any(order.is_open for order in self.orders)


@dataclass(frozen=True, slots=True)
class SimulatedFill:
    """One execution of an order."""

    id: int
    order_id: int
    symbol: SpotSymbol
    side: Side
    price: int
    """Price of the fill, in ticks."""
    quantity: int
    """Amount of the fill, in steps."""
    value: Decimal
    """Quote currency paid or received, without the fee."""
    fee: Decimal
    fee_asset: str
    time_ms: int
    maker: bool


def compute_exact_value(symbol: SpotSymbol, price: int, quantity: int) -> Decimal:
    """Return price times quantity in quote currency, however many digits it has."""
    return scale_to_decimal(price * quantity, symbol.price_digits + symbol.amount_digits)


def compute_booked_value(symbol: SpotSymbol, price: int, quantity: int) -> Decimal:
    """Return the quote currency that an execution moves, rounded down to a whole unit."""
    return round_down_to_unit(compute_exact_value(symbol, price, quantity))
