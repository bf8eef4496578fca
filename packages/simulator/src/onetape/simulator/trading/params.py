"""The parameters of a request as Binance checks them, and orders read from them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server import refusals
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.filters import steps_of, ticks_of
from onetape.simulator.trading.money import ZERO
from onetape.simulator.trading.orders import OrderRequest, OrderType

Params = Mapping[str, str]
_DECIMAL: Final = "^([0-9]{1,20})(\\.[0-9]{1,20})?$"
_WHOLE: Final = "^[0-9]{1,20}$"
_CLIENT_ID: Final = "^[a-zA-Z0-9-_]{1,36}$"
#: What each offered type of order needs, and may have, besides symbol, side and type.
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "MARKET": (),
    "LIMIT": ("timeInForce", "quantity", "price"),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
_AMOUNTS: Final = ("timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice")
#: Read of every new order; the other side of a trade is never the account itself.
_COMMON: Final = (
    "symbol", "side", "type", "newClientOrderId", "newOrderRespType", "selfTradePreventionMode",
    "strategyId", "strategyType", "computeCommissionRates", "returnRateLimits",
    "timestamp", "recvWindow", "signature", "apiKey",
)  # fmt: skip
#: Digits of an asset's quantities (`baseAssetPrecision`).
_DIGITS: Final = 8


def read_order(params: Params, symbol: SpotSymbol) -> OrderRequest:
    """Read a new order.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    side, kind = require(params, "side"), require(params, "type")
    if side not in ("BUY", "SELL"):
        raise order_refusals.invalid_side()
    if kind not in _NEEDS:
        raise order_refusals.invalid_type()
    _check_names(params, kind)
    time_in_force = params.get("timeInForce", "GTC")
    if time_in_force not in ("GTC", "IOC", "FOK"):
        raise order_refusals.invalid_time_in_force()
    quantity, quote = read_positive(params, "quantity"), read_positive(params, "quoteOrderQty")
    places = symbol.price_places
    price, stop = read_positive(params, "price", places), read_positive(params, "stopPrice", places)
    return OrderRequest(
        symbol,
        side,
        cast("OrderType", kind),
        time_in_force,
        0 if quantity is None else steps_of(symbol, quantity),
        quote or ZERO,
        0 if price is None else ticks_of(symbol, price),
        0 if stop is None else ticks_of(symbol, stop),
        read_client_id(params, "newClientOrderId") or "",
    )


def _check_names(params: Params, kind: str) -> None:
    """Refuse parameters that are missing, not wanted, or unknown."""
    needs = _NEEDS[kind]
    for name in needs:
        require(params, name)
    may: tuple[str, ...] = needs
    if kind == "MARKET":
        amounts = [name for name in ("quantity", "quoteOrderQty") if params.get(name)]
        if not amounts:
            raise order_refusals.both_missing("quantity", "quoteOrderQty")
        may = (amounts[0],)
    for name in _AMOUNTS:
        if name in params and name not in may:
            raise order_refusals.not_required(name)
    known = sum(name in _COMMON or name in may for name in params)
    if known < len(params):
        raise order_refusals.unread(known, len(params))


def require(params: Params, name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        Refusal: it is missing or empty.
    """
    value = params.get(name, "")
    if not value:
        raise refusals.missing(name)
    return value


def read_positive(params: Params, name: str, places: int = _DIGITS) -> Decimal | None:
    """Return a number above zero, or None where it was not sent.

    Args:
        params: Of the request.
        name: Of the parameter.
        places: Digits after the point that it may have.

    Raises:
        Refusal: it is no number, is zero, or has more digits after the point.
    """
    if name not in params:
        return None
    text = require(params, name)
    if not re.fullmatch(_DECIMAL, text):
        raise refusals.illegal(name, _DECIMAL)
    value = Decimal(text)
    if value and value.scaleb(places) % 1:
        raise order_refusals.too_precise(name)
    if not value:
        spoken = {"quantity": "quantity", "quoteOrderQty": "quantity"}.get(name, "price")
        raise order_refusals.not_positive(spoken)
    return value


def read_integer(params: Params, name: str) -> int | None:
    """Return a whole number of zero or more, or None where it was not sent.

    Raises:
        Refusal: it is something else.
    """
    text = params.get(name, "")
    if not text:
        return None
    if not re.fullmatch(_WHOLE, text):
        raise refusals.illegal(name, _WHOLE)
    return int(text)


def read_client_id(params: Params, name: str) -> str | None:
    """Return a client order id, or None where it was not sent.

    Raises:
        Refusal: it has other characters than letters, digits, - and _, or more than 36.
    """
    text = params.get(name, "")
    if not text:
        return None
    if not re.fullmatch(_CLIENT_ID, text):
        raise refusals.illegal(name, _CLIENT_ID)
    return text
