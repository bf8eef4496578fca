"""Operations of order lists and cancelReplace, with Binance's parameters and replies.

An order list is a pair of orders of which one cancels the other (OCO). cancelReplace cancels an
order and places another one in one request.
"""

from collections.abc import Callable
from typing import Final

from onetape.core.clock import Clock
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server import error_replies
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.server.wire import JsonObject
from onetape.simulator.trading import order_refusals, replies
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.list_params import Legs, read_oco, read_old_oco
from onetape.simulator.trading.orders import OrderList, SimulatedOrder
from onetape.simulator.trading.params import (
    Params,
    check_known,
    read_client_id,
    read_integer,
    read_order,
    read_range,
    require,
)

#: Parameters of cancelReplace in addition to those of the new order.
_REPLACE_PARAMETERS: Final = (
    "cancelReplaceMode", "cancelNewClientOrderId", "cancelOrigClientOrderId", "cancelOrderId",
    "cancelRestrictions", "orderRateLimitExceededMode",
)  # fmt: skip
#: Values of `cancelRestrictions`, with the status that the order must have.
_RESTRICTIONS: Final = {"ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}


class ListApi:
    """Operations of order lists by their names in the WebSocket API; each may raise a Refusal."""

    def __init__(
        self, exchange: Exchange, clock: Clock, parse_symbol: Callable[[Params], SpotSymbol]
    ) -> None:
        """Initialise with an account.

        Args:
            exchange: The account and its orders.
            clock: Market time.
            parse_symbol: Returns the market that the parameters of a request name.
        """
        self._exchange = exchange
        self._clock = clock
        self._parse_symbol = parse_symbol
        self.operations: dict[str, Callable[[Params], object]] = {
            "orderList.place.oco": lambda params: self._place(params, read_oco),
            "orderList.place": lambda params: self._place(params, read_old_oco),
            "orderList.status": self._get_list_status,
            "orderList.cancel": self._cancel,
            "openOrderLists.status": self._get_open_lists,
            "allOrderLists": self._get_all_lists,
            "order.cancelReplace": self._cancel_replace,
        }

    def _place(self, params: Params, read: Callable[[Params, SpotSymbol], Legs]) -> JsonObject:
        legs = read(params, self._parse_symbol(params))
        kind = parse_response_kind(params, "RESULT")
        name = read_client_id(params, "listClientOrderId") or ""
        now_ms = self._clock.now_ms()
        placed = self._exchange.place_list(legs, name, now_ms)
        reports = [replies.make_new_order_reply(order, kind, (), now_ms) for order in placed.orders]
        return replies.make_list_reply(placed, reports)

    def _get_list_status(self, params: Params) -> JsonObject:
        check_known(params, ("orderListId", "origClientOrderId"))
        found = self._find_named_list(params, "origClientOrderId")
        if found is None:
            raise order_refusals.make_no_such_order_refusal()
        return replies.make_list_reply(found)

    def _cancel(self, params: Params) -> JsonObject:
        check_known(params, ("symbol", "orderListId", "listClientOrderId", "newClientOrderId"))
        symbol = self._parse_symbol(params)
        found = self._find_named_list(params, "listClientOrderId")
        if found is None or not found.is_open or found.orders[0].symbol != symbol:
            raise order_refusals.make_unknown_order_refusal()
        return self.cancel_list(found, read_client_id(params, "newClientOrderId") or "")

    def cancel_list(self, order_list: OrderList, cancel_id: str = "") -> JsonObject:
        """Cancel an open order list and return Binance's reply.

        Args:
            order_list: An open order list.
            cancel_id: Client id of the cancel request; empty lets the exchange choose.
        """
        first = next(order for order in order_list.orders if order.is_open)
        name = self._exchange.cancel(first, self._clock.now_ms(), cancel_id)
        reports = [replies.make_cancelled_order_reply(order, name) for order in order_list.orders]
        return replies.make_list_reply(order_list, reports)

    def _get_open_lists(self, params: Params) -> list[JsonObject]:
        check_known(params, ())
        return [
            replies.make_list_reply(order_list)
            for order_list in self._exchange.lists.values()
            if order_list.is_open
        ]

    def _get_all_lists(self, params: Params) -> list[JsonObject]:
        check_known(params, ("fromId", "startTime", "endTime", "limit"))
        start, end, limit = read_range(params)
        from_id = read_integer(params, "fromId")
        found = [
            order_list
            for order_list in self._exchange.lists.values()
            if start <= order_list.time_ms <= end and (from_id is None or order_list.id >= from_id)
        ]
        oldest_first = from_id is not None or bool(params.get("startTime"))
        found = found[:limit] if oldest_first else found[-limit:]
        return [replies.make_list_reply(order_list) for order_list in found]

    def _find_named_list(self, params: Params, client_id: str) -> OrderList | None:
        """Return the order list of a request: by `orderListId` or by the parameter `client_id`."""
        number, name = read_integer(params, "orderListId"), read_client_id(params, client_id)
        if number is None and name is None:
            raise order_refusals.make_both_missing_refusal(client_id, "orderListId")
        if number is not None:
            found = self._exchange.lists.get(number)
            return found if found is None or name in (None, found.client_id) else None
        named = (
            order_list
            for order_list in self._exchange.lists.values()
            if order_list.client_id == name
        )
        return max(named, key=lambda order_list: order_list.id, default=None)

    def _cancel_replace(self, params: Params) -> JsonObject:
        """Cancel an order, then place another; filters of the new order are checked before both."""
        symbol, exchange = self._parse_symbol(params), self._exchange
        mode = require(params, "cancelReplaceMode")
        if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
            raise error_replies.make_invalid_value_refusal("cancelReplaceMode")
        request = read_order(params, symbol, _REPLACE_PARAMETERS)
        kind = parse_response_kind(params, get_default_response_kind(request.type))
        now_ms = self._clock.now_ms()
        canceling = self._find_order_to_replace(params, symbol)
        exchange.check_filters(request, now_ms)
        data: JsonObject = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
        data |= {"cancelResponse": None, "newOrderResponse": None}
        try:
            data["cancelResponse"] = self._cancel_first(params, canceling, now_ms)
        except Refusal as refusal:
            data |= {"cancelResult": "FAILURE", "cancelResponse": refusal.make_body()}
        if data["cancelResult"] == "SUCCESS" or mode == "ALLOW_FAILURE":
            first = len(exchange.fills)
            try:
                order = exchange.place(request, now_ms)
            except Refusal as refusal:
                data |= {"newOrderResult": "FAILURE", "newOrderResponse": refusal.make_body()}
            else:
                reply = replies.make_new_order_reply(order, kind, exchange.fills[first:], now_ms)
                data |= {"newOrderResult": "SUCCESS", "newOrderResponse": reply}
        done = (data["cancelResult"], data["newOrderResult"]).count("SUCCESS")
        if done < 2:
            raise order_refusals.make_replace_failed_refusal(data, partially=done == 1)
        return data

    def _find_order_to_replace(self, params: Params, symbol: SpotSymbol) -> SimulatedOrder | None:
        number = read_integer(params, "cancelOrderId")
        name = read_client_id(params, "cancelOrigClientOrderId")
        if number is None and name is None:
            raise order_refusals.make_both_missing_refusal(
                "cancelOrigClientOrderId", "cancelOrderId"
            )
        found = self._exchange.find(symbol, number, name)
        return found if found is None or name in (None, found.client_id) else None

    def _cancel_first(
        self, params: Params, order: SimulatedOrder | None, now_ms: int
    ) -> JsonObject:
        if order is None or not order.is_open:
            raise order_refusals.make_unknown_order_refusal()
        check_restrictions(params, order)
        cancel_id = read_client_id(params, "cancelNewClientOrderId") or ""
        cancel_id = self._exchange.cancel(order, now_ms, cancel_id)
        return replies.make_cancelled_order_reply(order, cancel_id)


def check_restrictions(params: Params, order: SimulatedOrder) -> None:
    """Refuse a cancellation that its `cancelRestrictions` forbid.

    Raises:
        Refusal: the order has another status, or there is no such restriction.
    """
    restriction = params.get("cancelRestrictions")
    if restriction is None:
        return
    if restriction not in _RESTRICTIONS:
        raise order_refusals.make_invalid_restrictions_refusal()
    if order.is_open and order.status != _RESTRICTIONS[restriction]:
        raise order_refusals.make_cancel_restricted_refusal()


def parse_response_kind(params: Params, default: str) -> str:
    """Return the requested kind of reply to a new order: ACK, RESULT or FULL.

    Args:
        params: Parameters of the request.
        default: Kind if the request names none.

    Raises:
        Refusal: the parameter has another value.
    """
    kind = params.get("newOrderRespType") or default
    if kind not in ("ACK", "RESULT", "FULL"):
        raise Refusal(-1138, "Invalid newOrderRespType.")
    return kind


def get_default_response_kind(order_type: str) -> str:
    """Return Binance's default kind of reply to a new order of a type, such as MARKET."""
    return "FULL" if order_type in ("MARKET", "LIMIT") else "ACK"
