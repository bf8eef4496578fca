"""How each exchange places, cancels and finds orders through CCXT 4.5.90, as data.

A `Dialect` has the parameters of an exchange, and the corrections of requests that CCXT makes
wrong. Each entry was read in CCXT's classes; tests compare the HTTP requests that are sent.
`order_calls` builds the calls from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

from onetape.core.errors import UsageError
from onetape.core.symbols import SIMULATOR_ID

#: How far the entry of an exchange was tested.
TestLevel = Literal["tested against the simulator", "recorded replies", "untested"]
#: What makes a request that arrives late have no effect: a timestamp with a window, a parameter or
#: a header with the deadline, or a token that expires.
DeadlineKind = Literal["timestamp", "parameter", "header", "token"]


class OrderQuery(Struct, frozen=True):
    """A call that finds an order by its client order id."""

    method: str
    """Method of CCXT; `fetch_order` takes (id, symbol), the others (symbol, since, limit)."""
    id_param: str | None
    """Parameter with the client order id; None: the returned list is searched for the id."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    list_path: tuple[str, ...] = ()
    """Keys to the list or table of orders in the response; empty: the response is one order."""


class Dialect(Struct, frozen=True, kw_only=True):
    """Parameters of the private requests to one exchange, for orders on spot markets."""

    id_param: str
    """Parameter of `create_order` that carries the client order id."""
    stop_id_params: tuple[str, ...] = ()
    """Parameters of a stop order that also carry the client order id."""
    buys_by: Literal["amount", "cost"] = "amount"
    """Amount in a market buy: of base currency, or of quote currency to spend."""
    cost_params: Mapping[str, Any] | None = None
    """Parameters of a market buy that states its cost; None: only an amount can be stated."""
    stop_price_param: str
    """Parameter of the price that triggers a stop."""
    stop_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further parameters of a stop order."""
    stop_kinds: tuple[Literal["market", "limit"], ...] = ("market", "limit")
    """Order types that a triggered stop can become."""
    is_stop_replaceable: bool = False
    """Whether one request cancels a stop and places the next."""
    fired_order_field: str | None = None
    """Field with the id of a triggered stop's new order; None: the order keeps its id."""
    cancel_id_param: str | None
    """Parameter of a cancel for the client order id; None: only the exchange's id works."""
    stop_cancel_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further parameters of a request that cancels or lists stops; empty: stops need none."""
    queries: tuple[OrderQuery, ...]
    """Requests that together find any order; an order that is in no response is absent."""
    stop_queries: tuple[OrderQuery, ...] = ()
    """Requests that find a stop order; empty: `queries`."""
    deadline: DeadlineKind
    """What makes an order that arrives late have no effect."""
    window_ms: int = 5_000
    """Time after its intent in which an order may still arrive and have an effect."""
    number_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Parameters of a look-up by the exchange's order id."""
    balances_path: tuple[str, ...]
    """Keys that lead to the balances in a response."""
    trades_limit: int
    """Maximum number of own trades in one response."""
    trades_path: tuple[str, ...]
    """Keys that lead to the own trades in a response."""
    trades_paging: Literal["fromId", "ofs", "after", "cursor"]
    """Parameter that requests the next page of own trades."""
    trades_order_param: str | None = None
    """Parameter that requests the own trades of one order; None: there is no such parameter."""
    trades_window_ms: int | None = None
    """Longest range of one request for own trades, milliseconds; None: any length."""
    has_fills: bool = False
    """Whether the response to `create_order` has the fills, so that no look-up is needed."""
    client_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options that the CCXT client needs."""
    has_rising_nonces: bool = False
    """Whether each request of a key must have a higher number than the one before it."""
    first_call: str | None = None
    """Method of CCXT that reads the account before the first order; call it at the start."""
    order_rates: tuple[tuple[int, int], ...]
    """Order limits of an account, each a number of orders and seconds; entries use half of each."""
    evidence: TestLevel = "untested"
    """How far this entry was tested."""
    corrections: tuple[str, ...] = ()
    """Texts on requests that CCXT makes wrong and that are corrected, for the docs."""


_DAY_MS: Final = 86_400_000
_BINANCE: Final = Dialect(
    id_param="newClientOrderId",
    stop_price_param="stopLossPrice",
    cost_params={},
    is_stop_replaceable=True,
    cancel_id_param="origClientOrderId",
    queries=(OrderQuery("fetch_order", "origClientOrderId"),),
    deadline="timestamp",
    window_ms=3_000,
    balances_path=("balances",),
    trades_order_param="orderId",
    trades_limit=1_000,
    trades_path=(),
    trades_paging="fromId",
    has_fills=True,
    order_rates=((50, 10), (160_000, 86_400)),
    evidence="tested against the simulator",
    corrections=(
        "edit_order of a market order ignores stopLossPrice: it replaces a stop by a market order",
    ),
)
DIALECTS: Final[Mapping[str, Dialect]] = {
    "binance": _BINANCE,
    "kraken": Dialect(
        id_param="clientOrderId",
        stop_price_param="stopLossPrice",
        cost_params={},
        cancel_id_param="clientOrderId",
        queries=(
            OrderQuery(
                "fetch_open_orders", "clientOrderId", {"trades": True}, ("result", "open")
            ),
            OrderQuery(
                "fetch_closed_orders", "clientOrderId", {"trades": True}, ("result", "closed")
            ),
        ),
        deadline="parameter",
        has_rising_nonces=True,
        balances_path=("result",),
        trades_limit=50,
        trades_path=("result", "trades"),
        trades_paging="ofs",
        order_rates=((60, 60),),
        corrections=(
            "fetch_order ignores the client order id: it requests userref=ID&txid=None",
            "triggerPrice is no stop: a market order goes out at once",
        ),
    ),
    "okx": Dialect(
        id_param="clientOrderId",
        stop_id_params=("algoClOrdId",),
        stop_price_param="triggerPrice",
        cost_params={"tgtCcy": "quote_ccy"},
        fired_order_field="ordId",
        cancel_id_param="clientOrderId",
        stop_cancel_params={"trigger": True},
        queries=(OrderQuery("fetch_order", "clientOrderId"),),
        stop_queries=(OrderQuery("fetch_order", "clientOrderId", {"trigger": True}),),
        deadline="header",
        balances_path=("data",),
        trades_order_param="ordId",
        trades_limit=100,
        trades_path=("data",),
        trades_paging="after",
        order_rates=((60, 2),),
        corrections=(
            "stopLossPrice is a margin order (tdMode cross), triggerPrice one for cash",
            "the client order id of a stop goes out as clOrdId, where OKX reads algoClOrdId",
            "an order that a stop has become is read under the stop's id, its trades under its own",
        ),
    ),
    "bybit": Dialect(
        id_param="clientOrderId",
        stop_price_param="triggerPrice",
        stop_params={"orderFilter": "tpslOrder"},
        cost_params={},
        cancel_id_param="orderLinkId",
        stop_cancel_params={"orderFilter": "tpslOrder"},
        queries=(
            OrderQuery("fetch_open_orders", "orderLinkId", {}, ("result", "list")),
            OrderQuery(
                "fetch_canceled_and_closed_orders", "orderLinkId", {}, ("result", "list")
            ),
        ),
        deadline="timestamp",
        number_params={"acknowledged": True},
        balances_path=("result", "list"),
        trades_order_param="orderId",
        trades_limit=100,
        trades_path=("result", "list"),
        trades_paging="cursor",
        trades_window_ms=7 * _DAY_MS,
        order_rates=((10, 1),),
        client_options={"recvWindow": 5_000},
        first_call="is_unified_enabled",
        corrections=(
            "cancel_order ignores clientOrderId: it takes orderLinkId",
            "fetch_order requests orderId=None, so orders are listed by orderLinkId",
            "a price that is passed with a market buy turns its amount into a cost",
            "the first order sends two requests about the account before it",
        ),
    ),
    "coinbase": Dialect(
        id_param="client_order_id",
        buys_by="cost",
        cost_params={},
        stop_price_param="stopLossPrice",
        stop_kinds=("limit",),
        cancel_id_param=None,
        queries=(OrderQuery("fetch_orders", None, {}, ("orders",)),),
        deadline="token",
        window_ms=120_000,
        balances_path=("accounts",),
        trades_order_param="order_id",
        trades_limit=250,
        trades_path=("fills",),
        trades_paging="cursor",
        order_rates=((30, 1),),
        corrections=(
            "clientOrderId is dropped, so that an order gets an id of CCXT's",
            "triggerPrice of a sell is a stop upwards: it sells at once",
        ),
    ),
}  # fmt: skip


def get_dialect(exchange: str) -> Dialect:
    """Return the dialect of an exchange.

    Args:
        exchange: CCXT exchange id, or `simulator`, which implements Binance's protocol.

    Raises:
        UsageError: no live orders on that exchange; the text lists the exchanges that have them.
    """
    dialect = DIALECTS.get("binance" if exchange == SIMULATOR_ID else exchange)
    if dialect is None:
        raise UsageError(
            f"no live orders on {exchange}: how it takes, cancels and finds orders was not "
            f"examined; live orders go to {', '.join((*DIALECTS, SIMULATOR_ID))}",
            setting="exchange",
        )
    return dialect


def find_entry_rate_obstacle(
    dialect: Dialect, count_sent_since: Callable[[int], int]
) -> str | None:
    """Return the reason why an entry must wait because of the exchange's order limits, or None.

    Entries use at most half of each limit: the rest is for exits and stops.

    Args:
        dialect: Dialect of the exchange.
        count_sent_since: Function that returns how many orders the account has sent in the last
            seconds; its argument is the number of seconds.
    """
    for most, seconds in dialect.order_rates:
        sent = count_sent_since(seconds)
        if 2 * (sent + 1) > most:
            return (
                f"{sent} orders in {seconds} s are half of what the exchange takes; "
                "the rest is for exits"
            )
    return None


def check_evidence(exchange: str, *, is_untested_allowed: bool) -> None:
    """Refuse live orders on an exchange whose dialect was not tested against the simulator.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        is_untested_allowed: Whether the user has allowed such an exchange (`--untested-exchange`).

    Raises:
        UsageError: the dialect is not tested, and the user has not allowed it.
    """
    evidence = get_dialect(exchange).evidence
    if evidence != "tested against the simulator" and not is_untested_allowed:
        raise UsageError(
            f"live orders on {exchange} are {evidence}: docs/exchanges.md lists what was tried; "
            "add --untested-exchange to send them all the same",
            setting="exchange",
        )
