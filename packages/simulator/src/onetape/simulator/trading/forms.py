"""The parameters of a request as Binance checks them, and orders read from them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from onetape.simulator import refusals
from onetape.simulator.symbols import SpotSymbol
from onetape.simulator.trading import refused
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


def order_request(params: Params, symbol: SpotSymbol) -> OrderRequest:
    """Read a new order.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    side, kind = needed(params, "side"), needed(params, "type")
    if side not in ("BUY", "SELL"):
        raise refused.invalid_side()
    if kind not in _NEEDS:
        raise refused.invalid_type()
    _check_names(params, kind)
    time_in_force = params.get("timeInForce", "GTC")
    if time_in_force not in ("GTC", "IOC", "FOK"):
        raise refused.invalid_time_in_force()
    quantity, quote = positive(params, "quantity"), positive(params, "quoteOrderQty")
    places = symbol.price_places
    price, stop = positive(params, "price", places), positive(params, "stopPrice", places)
    return OrderRequest(
        symbol,
        side,
        cast("OrderType", kind),
        time_in_force,
        0 if quantity is None else steps_of(symbol, quantity),
        quote or ZERO,
        0 if price is None else ticks_of(symbol, price),
        0 if stop is None else ticks_of(symbol, stop),
        client_id(params, "newClientOrderId") or "",
    )


def _check_names(params: Params, kind: str) -> None:
    """Refuse parameters that are missing, not wanted, or unknown."""
    needs = _NEEDS[kind]
    for name in needs:
        needed(params, name)
    may: tuple[str, ...] = needs
    if kind == "MARKET":
        amounts = [name for name in ("quantity", "quoteOrderQty") if params.get(name)]
        if not amounts:
            raise refused.both_missing("quantity", "quoteOrderQty")
        may = (amounts[0],)
    for name in _AMOUNTS:
        if name in params and name not in may:
            raise refused.not_required(name)
    known = sum(name in _COMMON or name in may for name in params)
    if known < len(params):
        raise refused.unread(known, len(params))


def needed(params: Params, name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        Refusal: it is missing or empty.
    """
    value = params.get(name, "")
    if not value:
        raise refusals.missing(name)
    return value


def positive(params: Params, name: str, places: int = _DIGITS) -> Decimal | None:
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
    text = needed(params, name)
    if not re.fullmatch(_DECIMAL, text):
        raise refusals.illegal(name, _DECIMAL)
    value = Decimal(text)
    if value and value.scaleb(places) % 1:
        raise refused.too_precise(name)
    if not value:
        spoken = {"quantity": "quantity", "quoteOrderQty": "quantity"}.get(name, "price")
        raise refused.not_positive(spoken)
    return value


def whole(params: Params, name: str) -> int | None:
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


def client_id(params: Params, name: str) -> str | None:
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
