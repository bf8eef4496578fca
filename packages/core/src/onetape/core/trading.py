"""Sessions, decisions, orders and fills: the records that a trader stores.

Times are epoch milliseconds unless a field states otherwise.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct, field

Mode = Literal["paper", "live"]
Side = Literal["buy", "sell"]
Action = Literal["BUY", "SELL", "HOLD"]
#: Reasons for closing a position, as the type of the exit order: `market` is a SELL of the
#: strategy, `command` a command of a person.
ExitCause = Literal["market", "time_stop", "stop_loss", "trailing_stop", "target", "command"]
OrderStatus = Literal[
    "intent", "sent", "open", "closed", "canceled", "rejected", "expired", "unknown", "absent"
]


class Session(Struct, frozen=True):
    """One run of a trader, from its start to its end."""

    session: str
    """Unique id of the session."""
    app: str
    """Name of the program, such as `trader`."""
    mode: Mode
    account: str
    """Name of the account; the fills of one account make its positions."""
    exchange: str
    symbol: str
    """CCXT symbol that the session trades."""
    timeframe: str
    strategy: str
    """Name of the strategy."""
    parameters: Mapping[str, object]
    """Parameters of the strategy by name."""
    code_digest: str
    """sha256 of the strategy's source, so that an audit can find the code that decided."""
    started_ms: int
    """Time of the start."""
    rules: Mapping[str, object] = field(default_factory=dict[str, object])
    """Settings of order size, costs and exits; empty for a session of an earlier version."""


class Decision(Struct, frozen=True):
    """Signal of a strategy for one closed candle, and its outcome."""

    decision: str
    """Unique id of the decision."""
    session: str
    """Id of the session that decided."""
    timestamp: int
    """The candle's open, epoch SECONDS, as in `ohlcv_data`."""
    signal: int
    """Signal of the strategy: 1 BUY, -1 SELL, 0 HOLD."""
    indicators: Mapping[str, float | None]
    """Values of the strategy's indicators on the candle, by name; None: not a finite number."""
    gates: Mapping[str, str]
    """Each check that an order must pass, with its verdict: `ok`, or the reason against it."""
    action: Action
    """Resulting action; HOLD if a check or the position stopped the signal."""
    decided_ms: int
    """Time of the decision."""


class Order(Struct, frozen=True):
    """An order from intent to final state."""

    client_order_id: str
    """Id that the trader gave the order."""
    session: str
    """Id of the session that made the order."""
    mode: Mode
    account: str
    exchange: str
    symbol: str
    timeframe: str
    side: Side
    type: str
    """CCXT's order type, such as `market`, or the exit reason, such as `stop_loss`."""
    status: OrderStatus
    decision: str | None
    """Id of the decision that led to the order; None: a stop or a target."""
    signal_timestamp: int
    """The open of the candle that gave the signal, or reached the level, epoch SECONDS."""
    decided_ms: int
    """Time of the decision to order."""
    bid: float | None
    """Best bid when decided, quote currency; None before the first ticker."""
    ask: float | None
    """Best ask when decided, quote currency; None before the first ticker."""
    intended_price: Decimal
    """The close that the signal was computed from, quote currency."""
    reason: str
    """Reason of the order, as a text."""
    strategy: str
    """Name of the strategy."""
    parameters: Mapping[str, object]
    """Parameters of the strategy by name."""
    code_digest: str
    """sha256 of the strategy's source."""
    entry_order_id: str | None = None
    """Client order id of the buy that opened the position that is sold; None for a buy."""
    obligation: str | None = None
    """Id of the exit obligation that this order fulfils; None for a buy."""
    ordered_amount: Decimal | None = None
    """Ordered amount, base currency; None if the amount is computed when the order is sent."""
    stop_price: Decimal | None = None
    """Trigger price of a stop order that rests on the exchange, quote currency; otherwise None."""
    is_protection: bool = False
    """Whether the order is the stop that rests at the exchange during a position."""


class ExitObligation(Struct, frozen=True):
    """An exit of a position that was decided and is not filled yet.

    The obligation outlives the candle, the stream and the process, and ends with its position.
    """

    obligation: str
    """Unique id of the exit obligation."""
    account: str
    mode: Mode
    exchange: str
    symbol: str
    entry_order_id: str
    """Client order id of the order that opened the position."""
    cause: ExitCause
    """Reason for closing the position, as the type of the exit order."""
    signal_timestamp: int
    """The open of the candle that gave the signal, or reached the level, epoch SECONDS."""
    level: Decimal | None
    """Price of the stop or target, quote currency; None for a SELL of the strategy or a command."""
    created_ms: int
    """Time of the decision to exit."""
    reason: str
    """Reason of the exit, as a text."""


class Fill(Struct, frozen=True):
    """An execution, a row of `trades`. Positions are sums of fills and are stored nowhere else."""

    exchange: str
    symbol: str
    exchange_trade_id: str
    """Id of the fill at the exchange."""
    client_order_id: str
    """Id of the order that was filled."""
    session: str
    """Id of the session whose order was filled."""
    mode: Mode
    account: str
    side: Side
    price: Decimal
    """Price of the fill, quote currency per unit of base currency."""
    amount: Decimal
    """Amount of the fill, base currency, before any fee taken from it."""
    fee: Decimal
    """Fee paid to the exchange, in `fee_currency`; negative for a maker rebate."""
    fee_currency: str
    executed_ms: int
    """Time of the fill at the exchange."""
    min_sell_amount: Decimal | None = None
    """Minimum amount that could be sold at the time of a sell, base currency; None: unknown."""
