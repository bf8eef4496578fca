"""The market's filters (Binance's name): limits of price, amount, value and number of orders."""

from decimal import Decimal
from typing import Final

from onetape.simulator.market.symbols import MAX_NOTIONAL, SpotSymbol
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.money import scale_to_decimal
from onetape.simulator.trading.orders import STOP_TYPES, RequestedOrder, compute_exact_value
from onetape.simulator.trading.rules import RuleBook

#: Highest limit price as a multiple of the five-minute mean (PERCENT_PRICE_BY_SIDE).
PRICE_UP: Final = 5
#: Lowest limit price as a multiple of the five-minute mean (PERCENT_PRICE_BY_SIDE).
PRICE_DOWN: Final = Decimal("0.2")
#: Maximum number of open orders in one market (MAX_NUM_ORDERS).
MOST_ORDERS: Final = 200
#: Maximum number of open orders with a stop price in one market (MAX_NUM_ALGO_ORDERS).
MOST_STOPS: Final = 5


def check_filters(
    request: RequestedOrder, average: Decimal | None, open_types: list[str], rules: RuleBook
) -> None:
    """Refuse an order outside the filters that `exchangeInfo` states.

    Args:
        request: Request in whole ticks and steps.
        average: Mean price of the last five minutes, in ticks; None lets every price pass.
        open_types: The type of each open order of the market.
        rules: Present steps and limits of each market.

    Raises:
        Refusal: with Binance's code and the name of the filter.
    """
    _check_prices(request, average, rules)
    if request.quantity:
        rules.check_quantity(request.symbol, request.quantity)
        _check_quantity(request, rules.get_rules(request.symbol).max_market_quantity)
    _check_value(request, average, rules.get_rules(request.symbol).min_notional)
    if len(open_types) >= MOST_ORDERS:
        raise order_refusals.make_filter_refusal("MAX_NUM_ORDERS")
    stops = sum(kind in STOP_TYPES for kind in open_types)
    if request.type in STOP_TYPES and stops >= MOST_STOPS:
        raise order_refusals.make_filter_refusal("MAX_NUM_ALGO_ORDERS")


def convert_to_steps(symbol: SpotSymbol, quantity: Decimal) -> int:
    """Return a quantity in whole steps.

    Raises:
        Refusal: the quantity is no multiple of the step.
    """
    return _convert_to_units(quantity, symbol.amount_digits, "LOT_SIZE")


def convert_to_ticks(symbol: SpotSymbol, price: Decimal) -> int:
    """Return a price in whole ticks.

    Raises:
        Refusal: the price is no multiple of the tick.
    """
    return _convert_to_units(price, symbol.price_digits, "PRICE_FILTER")


def _convert_to_units(value: Decimal, digits: int, name: str) -> int:
    units = value.scaleb(digits)
    if units != int(units):
        raise order_refusals.make_filter_refusal(name)
    return int(units)


def _check_prices(request: RequestedOrder, average: Decimal | None, rules: RuleBook) -> None:
    symbol = request.symbol
    highest = Decimal(symbol.max_price)
    for price in (request.price, request.stop):
        rules.check_price(symbol, price)
        if scale_to_decimal(price, symbol.price_digits) > highest:
            raise order_refusals.make_filter_refusal("PRICE_FILTER")
    if (
        request.price
        and average is not None
        and not average * PRICE_DOWN <= request.price <= average * PRICE_UP
    ):
        raise order_refusals.make_filter_refusal("PERCENT_PRICE_BY_SIDE")


def _check_quantity(request: RequestedOrder, most_at_market: Decimal) -> None:
    symbol = request.symbol
    quantity = scale_to_decimal(request.quantity, symbol.amount_digits)
    if quantity > Decimal(symbol.max_quantity):
        raise order_refusals.make_filter_refusal("LOT_SIZE")
    by_market = request.type in ("MARKET", "STOP_LOSS")
    if by_market and quantity > most_at_market:
        raise order_refusals.make_filter_refusal("MARKET_LOT_SIZE")


def _check_value(request: RequestedOrder, average: Decimal | None, smallest_value: Decimal) -> None:
    """Refuse a value outside NOTIONAL, at the limit, the stop price or the five-minute mean."""
    symbol = request.symbol
    limit = request.price or request.stop
    if request.quote_quantity:
        value = request.quote_quantity
    elif limit:
        value = compute_exact_value(symbol, limit, request.quantity)
    elif average is not None:
        value = compute_exact_value(symbol, 1, request.quantity) * average
    else:
        return
    too_much = bool(request.price) and value > MAX_NOTIONAL
    if value < smallest_value or too_much:
        raise order_refusals.make_filter_refusal("NOTIONAL")
