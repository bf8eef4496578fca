"""Build the CCXT call for each private request of an order: place, cancel, look up, list.

Nothing is sent here: `request_tap` performs a `CcxtCall`. A market order never has a price, because
for several exchanges CCXT would turn its amount into a cost. Amounts and prices are texts of
Decimals that are already rounded to the market's steps.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct, field

from onetape.core.errors import UsageError
from onetape.core.trading import Side
from onetape.exchange.dialects import Dialect, OrderQuery

#: Length of a client order id in hexadecimal digits, which all exchanges accept.
_ID_LENGTH: Final = 32
_HEX: Final = frozenset("0123456789abcdef")


class SendWindow(Struct, frozen=True):
    """Time window of a request: if it arrives later, it must have no effect."""

    intended_ms: int
    """Exchange time of the intent, epoch milliseconds; the request states it, even if sent late."""
    window_ms: int
    """Length of the window from the intent, milliseconds."""

    @property
    def deadline_ms(self) -> int:
        """Return the exchange time from which the request has no effect, epoch milliseconds."""
        return self.intended_ms + self.window_ms


class OrderTerms(Struct, frozen=True):
    """What is ordered: symbol, side, and amount or cost."""

    client_order_id: str
    symbol: str
    """CCXT spot symbol of the order."""
    side: Side
    amount: Decimal | None
    """Amount of the order, base currency; None only for a buy that states its cost."""
    cost: Decimal | None = None
    """Quote currency to spend; only for market buys."""


class CcxtCall(Struct, frozen=True):
    """A call of a method of a CCXT client, with its arguments."""

    method: str
    """Name of the method, such as `create_order`."""
    args: tuple[Any, ...]
    """Positional arguments."""
    params: Mapping[str, Any]
    """CCXT's argument `params`: parameters of the exchange."""
    window: SendWindow | None = None
    """Time window of a request that must have no effect when it arrives late; None: any time."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTTP headers in addition to those of CCXT."""
    list_path: tuple[str, ...] | None = None
    """Keys that lead to the list in a complete response; None: the response is one order."""
    is_page: bool = False
    """Whether the list is one page, so that a further call may return more."""
    is_pinned: bool = False
    """Whether the request states the time of its intent instead of that of the send."""


def make_market_order_call(dialect: Dialect, terms: OrderTerms, intended_ms: int) -> CcxtCall:
    """Return the call that places a market order.

    Args:
        dialect: Dialect of the exchange.
        terms: Terms of the order; a cost only if the dialect can state one.
        intended_ms: Exchange time of the intent, epoch milliseconds.

    Raises:
        UsageError: the terms are invalid, or the exchange does not take such an order.
    """
    _check_terms(terms)
    params: dict[str, Any] = {dialect.id_param: terms.client_order_id}
    if terms.cost is not None:
        if terms.side != "buy" or dialect.cost_params is None:
            raise UsageError("a market order that states its cost must be a buy")
        params |= {**dialect.cost_params, "cost": format_plain_decimal(terms.cost)}
    elif terms.side == "buy" and dialect.buys_by == "cost":
        raise UsageError("this exchange buys by cost: state the cost, not the amount")
    amount = None if terms.cost is not None else _format_amount(terms)
    args = (terms.symbol, "market", terms.side, amount, None)
    return _make_call_with_deadline(dialect, "create_order", args, params, intended_ms)


def make_stop_order_call(
    dialect: Dialect,
    terms: OrderTerms,
    intended_ms: int,
    *,
    trigger: Decimal,
    limit: Decimal | None = None,
) -> CcxtCall:
    """Return the call that places a protective stop: a sell once the price falls to `trigger`.

    Args:
        dialect: Dialect of the exchange.
        terms: Terms of a sell with an amount.
        intended_ms: Exchange time of the intent, epoch milliseconds.
        trigger: Price that triggers the stop, quote currency.
        limit: Lowest price of the sell, quote currency; None: a market sell.

    Raises:
        UsageError: the terms are invalid, or the exchange has no such stop.
    """
    params: dict[str, Any] = {
        **dict.fromkeys((dialect.id_param, *dialect.stop_id_params), terms.client_order_id),
        dialect.stop_price_param: format_plain_decimal(trigger),
        **dialect.stop_params,
    }
    args = _make_stop_args(dialect, terms, ("market", "limit"), limit)
    return _make_call_with_deadline(dialect, "create_order", args, params, intended_ms)


def make_replace_stop_call(
    dialect: Dialect,
    terms: OrderTerms,
    intended_ms: int,
    *,
    replaced_id: str,
    trigger: Decimal,
    limit: Decimal | None = None,
) -> CcxtCall:
    """Return the call that cancels a stop and places another in one request.

    If the cancel fails, the exchange places nothing.

    Args:
        dialect: Dialect of the exchange.
        terms: Terms of the new stop.
        intended_ms: Exchange time of the intent, epoch milliseconds.
        replaced_id: Client order id of the stop that is cancelled.
        trigger: Price that triggers the new stop, quote currency.
        limit: Lowest price of the sell, quote currency; None: a market sell.

    Raises:
        UsageError: the exchange cannot do both in one request.
    """
    if not dialect.is_stop_replaceable:
        raise UsageError("this exchange replaces no stop in one request: cancel it, then place one")
    params = {
        dialect.id_param: terms.client_order_id,
        "cancelOrigClientOrderId": replaced_id,
        "stopPrice": format_plain_decimal(trigger),
    }
    args = (None, *_make_stop_args(dialect, terms, ("STOP_LOSS", "STOP_LOSS_LIMIT"), limit))
    return _make_call_with_deadline(dialect, "edit_order", args, params, intended_ms)


def make_cancel_order_call(
    dialect: Dialect,
    client_order_id: str,
    symbol: str,
    *,
    exchange_order_id: str | None = None,
    is_stop: bool = False,
) -> CcxtCall:
    """Return the call that cancels an order.

    A cancel that arrives late does no harm, so it has no deadline.

    Args:
        dialect: Dialect of the exchange.
        client_order_id: Client order id of the order.
        symbol: CCXT spot symbol.
        exchange_order_id: The exchange's id of the order, for exchanges that cancel only by it.
        is_stop: Whether the order is a protective stop.

    Raises:
        UsageError: the exchange cancels by its own id only, and that id is not known.
    """
    params: dict[str, Any] = dict(dialect.stop_cancel_params) if is_stop else {}
    if dialect.cancel_id_param is not None:
        params[dialect.cancel_id_param] = client_order_id
        return CcxtCall("cancel_order", (None, symbol), params)
    if exchange_order_id is None:
        raise UsageError(
            "this exchange cancels an order by its own id only, which is not known yet: look the "
            "order up first"
        )
    return CcxtCall("cancel_order", (exchange_order_id, symbol), params)


def make_look_up_calls(
    dialect: Dialect, client_order_id: str, symbol: str, *, since_ms: int, is_stop: bool = False
) -> tuple[CcxtCall, ...]:
    """Return the calls that find an order by its client order id, in the order to call them.

    The order is absent only if all of them have complete responses without it.

    Args:
        dialect: Dialect of the exchange.
        client_order_id: Client order id of the order.
        symbol: CCXT spot symbol.
        since_ms: Time before the intent of the order, epoch milliseconds; lists begin there.
        is_stop: Whether the order is a protective stop.
    """
    queries = (dialect.stop_queries if is_stop else ()) or dialect.queries
    return tuple(_make_query_call(query, client_order_id, symbol, since_ms) for query in queries)


def make_number_look_up_call(dialect: Dialect, exchange_order_id: str, symbol: str) -> CcxtCall:
    """Return the call that finds an order by the exchange's own id.

    Args:
        dialect: Dialect of the exchange.
        exchange_order_id: The exchange's id.
        symbol: CCXT spot symbol.
    """
    return CcxtCall("fetch_order", (exchange_order_id, symbol), dialect.number_params)


def make_open_orders_call(dialect: Dialect, symbol: str, *, of_stops: bool = False) -> CcxtCall:
    """Return the call that lists the open orders of a market, those of other programs included.

    Args:
        dialect: Dialect of the exchange.
        symbol: CCXT spot symbol.
        of_stops: Whether stops are listed, on an exchange that lists them separately.
    """
    params = dict(dialect.stop_cancel_params) if of_stops else {}
    paths = {query.method: query.list_path for query in dialect.queries}
    path = paths.get("fetch_open_orders") or paths.get("fetch_orders") or dialect.trades_path
    return CcxtCall("fetch_open_orders", (symbol,), params, list_path=path)


def make_own_trades_call(
    dialect: Dialect,
    symbol: str,
    *,
    since_ms: int,
    until_ms: int | None = None,
    position: str | None = None,
    exchange_order_id: str | None = None,
) -> CcxtCall:
    """Return the call for one page of the account's own trades in a market.

    Args:
        dialect: Dialect of the exchange.
        symbol: CCXT spot symbol.
        since_ms: Start of the range, epoch milliseconds.
        until_ms: End of the range, epoch milliseconds; None: as far as one request may go.
        position: Position that `find_next_position` returned for the page before; None: first page.
        exchange_order_id: Only trades of the order with this id, if the exchange can list them by
            order; None: of all orders.
    """
    params: dict[str, Any] = {}
    since: int | None = since_ms
    window_ms = dialect.trades_window_ms
    if until_ms is None and window_ms is not None:
        until_ms = since_ms + window_ms
    if until_ms is not None:
        params["until"] = until_ms
    if position is not None:
        params[dialect.trades_paging] = position
        if dialect.trades_paging == "fromId":
            # Binance refuses an id together with times.
            since = None
            params.pop("until", None)
    if exchange_order_id is not None and dialect.trades_order_param is not None:
        params[dialect.trades_order_param] = exchange_order_id
        if dialect.trades_paging == "fromId":
            # Binance refuses the id of an order together with times, too.
            since = None
    # Kraken's limit would only cut the response, after the next page's position was computed.
    limit = None if dialect.trades_paging == "ofs" else dialect.trades_limit
    args = (symbol, since, limit)
    path = dialect.trades_path
    return CcxtCall("fetch_my_trades", args, params, list_path=path, is_page=True)


def format_plain_decimal(value: Decimal) -> str:
    """Return a decimal as text without an exponent; CCXT sends the text unchanged."""
    return f"{value:f}"


def _make_query_call(
    query: OrderQuery, client_order_id: str, symbol: str, since_ms: int
) -> CcxtCall:
    """Return a call that looks an order up by its client order id, or lists orders since a time."""
    params: dict[str, Any] = dict(query.params)
    if query.id_param is not None:
        params[query.id_param] = client_order_id
    if query.method == "fetch_order":
        return CcxtCall(query.method, (None, symbol), params)
    # With an id the exchange searches all orders; without one the list needs a start.
    since = since_ms if query.id_param is None else None
    return CcxtCall(query.method, (symbol, since, None), params, list_path=query.list_path)


def _make_call_with_deadline(
    dialect: Dialect, method: str, args: tuple[Any, ...], params: dict[str, Any], intended_ms: int
) -> CcxtCall:
    """Return a call that the exchange refuses if it arrives after a deadline.

    Dialects state the deadline as a parameter, as a header or by the time of the request; the
    dialect's window is the time from `intended_ms` to the deadline.
    """
    window = SendWindow(intended_ms, dialect.window_ms)
    headers: dict[str, str] = {}
    is_pinned = dialect.deadline in ("timestamp", "token")
    if dialect.deadline == "parameter":
        moment = datetime.fromtimestamp(window.deadline_ms / 1_000, UTC)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        params = {**params, "deadline": text}
    elif dialect.deadline == "header":
        headers = {"expTime": str(window.deadline_ms)}
    elif method in ("create_order", "edit_order") and dialect.id_param == "newClientOrderId":
        params = {**params, "timestamp": intended_ms, "recvWindow": dialect.window_ms}
    return CcxtCall(method, args, params, window, headers, is_pinned=is_pinned)


def _check_terms(terms: OrderTerms) -> None:
    """Refuse terms of an order that no exchange should receive.

    Raises:
        UsageError: the id has another form, or the order has not exactly one of amount and cost.
    """
    name = terms.client_order_id
    if len(name) != _ID_LENGTH or not set(name) <= _HEX:
        raise UsageError(f"a client order id has 32 hexadecimal digits, found {name!r}")
    for value in (terms.amount, terms.cost):
        if value is not None and not (value.is_finite() and value > 0):
            raise UsageError(f"an order's amount and cost must be above 0, found {value}")
    if (terms.amount is None) == (terms.cost is None):
        raise UsageError("an order states either its amount or its cost")


def _make_stop_args(
    dialect: Dialect, terms: OrderTerms, types: tuple[str, str], limit: Decimal | None
) -> tuple[Any, ...]:
    """Return symbol, type, side, amount and price of a stop.

    Args:
        dialect: Dialect of the exchange.
        terms: Terms of a sell with an amount.
        types: Names of a stop that becomes a market order, and of one that becomes a limit order.
        limit: Lowest price of the sell; None: a market sell.

    Raises:
        UsageError: the exchange has no such stop.
    """
    _check_terms(terms)
    if terms.side != "sell" or terms.amount is None:
        raise UsageError("a protective stop is a sell that states its amount")
    kind = "market" if limit is None else "limit"
    if kind not in dialect.stop_kinds:
        raise UsageError(f"this exchange has no stop that becomes a {kind} order")
    price = None if limit is None else format_plain_decimal(limit)
    type_ = types[0] if limit is None else types[1]
    return terms.symbol, type_, "sell", _format_amount(terms), price


def _format_amount(terms: OrderTerms) -> str | None:
    return None if terms.amount is None else format_plain_decimal(terms.amount)
