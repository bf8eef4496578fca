"""Reads the parameters of a request, with Binance's checks and errors."""

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Final, cast

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server import error_replies
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.filters import convert_to_steps, convert_to_ticks
from onetape.simulator.trading.money import ZERO
from onetape.simulator.trading.orders import OrderType, RequestedOrder

#: Parameters of a request as texts, by name.
Params = Mapping[str, str]
_DECIMAL: Final = "^([0-9]{1,20})(\\.[0-9]{1,20})?$"
_WHOLE: Final = "^[0-9]{1,20}$"
_CLIENT_ID: Final = "^[a-zA-Z0-9-_]{1,36}$"
#: Parameters that a type of order needs in addition to symbol, side and type.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "MARKET": (),
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
#: Parameters that only some types of orders may have.
_BY_TYPE: Final = ("timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice")
#: Parameters that every new order may have.
_COMMON: Final = (
    "symbol", "side", "type", "newClientOrderId", "newOrderRespType", "selfTradePreventionMode",
    "strategyId", "strategyType", "computeCommissionRates",
)  # fmt: skip
#: Parameters that every signed request may have.
SIGNED: Final = frozenset({"timestamp", "recvWindow", "signature", "apiKey", "returnRateLimits"})
#: Errors for parameters of order features that the simulator does not have.
_NOT_OFFERED: Final[dict[str, Callable[[], Refusal]]] = {
    "trailingDelta": order_refusals.make_trailing_stop_refusal,
    "icebergQty": order_refusals.make_iceberg_refusal,
    "pegPriceType": order_refusals.make_pegged_order_refusal,
}
#: Number of rows that a list returns without `limit`.
DEFAULT_ROWS: Final = 500
#: Largest number of rows that a list returns.
MOST_ROWS: Final = 1_000
_DAY_MS: Final = 86_400_000
#: Digits of an asset's quantities (`baseAssetPrecision`).
_DIGITS: Final = 8


def read_order(params: Params, symbol: SpotSymbol, more: Collection[str] = ()) -> RequestedOrder:
    """Return the new order that parameters describe.

    Args:
        params: Parameters of the request.
        symbol: The market of the order.
        more: Names of further parameters that the request may have.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    side, kind = require(params, "side"), require(params, "type")
    if side not in ("BUY", "SELL"):
        raise order_refusals.make_invalid_side_refusal()
    if kind not in _NEEDED:
        raise order_refusals.make_invalid_order_type_refusal()
    _check_names(params, kind, more)
    time_in_force = params.get("timeInForce", "GTC")
    if time_in_force not in ("GTC", "IOC", "FOK"):
        raise order_refusals.make_invalid_time_in_force_refusal()
    quantity, quote = read_positive(params, "quantity"), read_positive(params, "quoteOrderQty")
    places = symbol.price_places
    price, stop = read_positive(params, "price", places), read_positive(params, "stopPrice", places)
    return RequestedOrder(
        symbol,
        side,
        cast("OrderType", kind),
        time_in_force,
        0 if quantity is None else convert_to_steps(symbol, quantity),
        quote or ZERO,
        0 if price is None else convert_to_ticks(symbol, price),
        0 if stop is None else convert_to_ticks(symbol, stop),
        read_client_id(params, "newClientOrderId") or "",
    )


def check_known(params: Params, known: Collection[str]) -> None:
    """Refuse a request with parameters that its endpoint does not read.

    Args:
        params: Parameters of the request.
        known: Names of the endpoint's parameters, without those of every signed request.

    Raises:
        Refusal: -1104, or Binance's error for an order feature that the market does not have.
    """
    for name, refusal in _NOT_OFFERED.items():
        if any(
            parameter == name or parameter.endswith(name[:1].upper() + name[1:])
            for parameter in params
        ):
            raise refusal()
    read = sum(name in known or name in SIGNED for name in params)
    if read < len(params):
        raise order_refusals.make_unread_parameters_refusal(read, len(params))


def _check_names(params: Params, kind: str, more: Collection[str]) -> None:
    """Refuse parameters that are missing, not allowed, or unknown."""
    needed = _NEEDED[kind]
    for name in needed:
        require(params, name)
    allowed: tuple[str, ...] = needed
    if kind == "MARKET":
        amounts = [name for name in ("quantity", "quoteOrderQty") if params.get(name)]
        if not amounts:
            raise order_refusals.make_both_missing_refusal("quantity", "quoteOrderQty")
        allowed = (amounts[0],)
    for name in _BY_TYPE:
        if name in params and name not in allowed:
            raise order_refusals.make_not_required_refusal(name)
    check_known(params, {*_COMMON, *allowed, *more})


def require(params: Params, name: str) -> str:
    """Return a parameter that the request must have.

    Raises:
        Refusal: the parameter is missing or empty.
    """
    value = params.get(name, "")
    if not value:
        raise error_replies.make_missing_parameter_refusal(name)
    return value


def read_positive(params: Params, name: str, places: int = _DIGITS) -> Decimal | None:
    """Return a number above zero, or None where it was not sent.

    Args:
        params: Parameters of the request.
        name: Name of the parameter.
        places: Digits after the point that it may have.

    Raises:
        Refusal: the parameter is no number, is zero, or has more digits after the point.
    """
    if name not in params:
        return None
    text = require(params, name)
    if not re.fullmatch(_DECIMAL, text):
        raise error_replies.make_illegal_characters_refusal(name, _DECIMAL)
    value = Decimal(text)
    if value and value.scaleb(places) % 1:
        raise order_refusals.make_too_precise_refusal(name)
    if not value:
        stated = {"quantity": "quantity", "quoteOrderQty": "quantity"}.get(name, "price")
        raise order_refusals.make_not_positive_refusal(stated)
    return value


def read_integer(params: Params, name: str) -> int | None:
    """Return a whole number of zero or more, or None where it was not sent.

    Raises:
        Refusal: the parameter is no such number.
    """
    text = params.get(name, "")
    if not text:
        return None
    if not re.fullmatch(_WHOLE, text):
        raise error_replies.make_illegal_characters_refusal(name, _WHOLE)
    return int(text)


def read_client_id(params: Params, name: str) -> str | None:
    """Return a client order id, or None where it was not sent.

    Raises:
        Refusal: the id has other characters than letters, digits, - and _, or more than 36.
    """
    text = params.get(name, "")
    if not text:
        return None
    if not re.fullmatch(_CLIENT_ID, text):
        raise error_replies.make_illegal_characters_refusal(name, _CLIENT_ID)
    return text


def read_range(params: Params) -> tuple[int, int, int]:
    """Return first and last time (epoch milliseconds, inclusive) and the largest number of rows.

    Raises:
        Refusal: a parameter is no number, the range is over 24 hours, or `limit` is 0.
    """
    start, end = read_integer(params, "startTime"), read_integer(params, "endTime")
    if start is not None and end is not None and end - start > _DAY_MS:
        raise order_refusals.make_range_too_long_refusal()
    limit = read_integer(params, "limit")
    rows = DEFAULT_ROWS if limit is None else min(limit, MOST_ROWS)
    if not rows:
        raise error_replies.make_invalid_value_refusal("limit")
    return start or 0, end if end is not None else 1 << 62, rows
