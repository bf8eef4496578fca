"""Operations of the account with Binance's parameters and replies: orders, balances, own trades.

The signed REST endpoints and the WebSocket API call the same operations by their names in the
WebSocket API, such as `order.place`. Order lists are in `list_api.py`.
"""

from collections.abc import Callable
from typing import Final, cast

from onetape.core.clock import Clock
from onetape.simulator.faults.registry import Faults
from onetape.simulator.market.symbols import ACCEPTED_NAMES, REFUSED_NAME_PATTERN, SpotSymbol
from onetape.simulator.server import error_replies
from onetape.simulator.server.exchange_info import RATE_LIMITS
from onetape.simulator.server.wire import JsonObject
from onetape.simulator.trading import order_refusals, replies
from onetape.simulator.trading.account_reading import AccountReading
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.list_api import (
    ListApi,
    check_restrictions,
    get_default_response_kind,
    parse_response_kind,
)
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.orders import SimulatedOrder
from onetape.simulator.trading.params import (
    Params,
    check_known,
    read_client_id,
    read_integer,
    read_order,
    read_range,
    require,
)

_DAY_MS: Final = 86_400_000
Operation = Callable[[Params], object]
#: Operations for which a key needs the permission to trade.
TRADING: Final = frozenset(
    {"order.place", "order.test", "order.cancel", "openOrders.cancelAll", "order.cancelReplace",
     "orderList.place", "orderList.place.oco", "orderList.cancel"}
)  # fmt: skip


#: Parameters of each operation; an operation that is not listed checks its parameters itself.
_PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "account.status": ("omitZeroBalances",),
    "account.commission": ("symbol",),
    "account.rateLimits.orders": (),
    "order.status": ("symbol", "orderId", "origClientOrderId"),
    "order.cancel": (
        "symbol", "orderId", "origClientOrderId", "newClientOrderId", "cancelRestrictions",
    ),
    "openOrders.status": ("symbol",),
    "openOrders.cancelAll": ("symbol",),
    "allOrders": ("symbol", "orderId", "startTime", "endTime", "limit"),
    "myTrades": ("symbol", "orderId", "fromId", "startTime", "endTime", "limit"),
}  # fmt: skip


class AccountApi:
    """Operations of the account by their name in the WebSocket API; each may raise a Refusal."""

    def __init__(
        self,
        exchange: Exchange,
        clock: Clock,
        faults: Faults | None = None,
        account_id: int = replies.USER_ID,
    ) -> None:
        """Initialise with an account.

        Args:
            exchange: The account and its orders.
            clock: Market time.
            faults: Faults that delay or shorten responses; None: no faults.
            account_id: Number of the account in replies (`uid`).
        """
        self._exchange = exchange
        self._account_id = account_id
        self._reading = AccountReading(exchange, clock, Faults() if faults is None else faults)
        self._clock = clock
        self._ids = {symbol.id: symbol for symbol in exchange.symbols}
        self.operations: dict[str, Operation] = {
            "account.status": self._get_account,
            "account.commission": self._get_commission,
            "account.rateLimits.orders": self._get_order_counts,
            "order.place": self._place,
            "order.test": self._test_order,
            "order.status": self._get_order_status,
            "order.cancel": self._cancel,
            "openOrders.status": self._get_open_orders,
            "openOrders.cancelAll": self._cancel_all,
            "allOrders": self._get_all_orders,
            "myTrades": self._get_own_trades,
        }
        self._lists = ListApi(exchange, clock, self.parse_symbol)
        self.operations |= self._lists.operations

    def run(self, operation: str, params: Params) -> object:
        """Match orders up to now, then carry out an operation and return its reply as JSON.

        Args:
            operation: Name in the WebSocket API, such as `order.place`.
            params: Parameters of the request.

        Raises:
            Refusal: Binance would refuse the request; with Binance's code and text.
            KeyError: there is no such operation.
        """
        if operation in _PARAMETERS:
            check_known(params, _PARAMETERS[operation])
        self._exchange.settle(self._clock.now_ms())
        return self.operations[operation](params)

    def parse_symbol(self, params: Params) -> SpotSymbol:
        """Return the market that `symbol` names.

        Raises:
            Refusal: the parameter is missing, or no market has that name.
        """
        name = require(params, "symbol")
        if not ACCEPTED_NAMES.fullmatch(name):
            raise error_replies.make_illegal_characters_refusal("symbol", REFUSED_NAME_PATTERN)
        symbol = self._ids.get(name)
        if symbol is None or symbol.listed * 1_000 > self._clock.now_ms():
            raise error_replies.make_invalid_symbol_refusal()
        return symbol

    def _get_account(self, params: Params) -> JsonObject:
        account, fees = self._exchange.account, self._exchange.fees
        held = set(account.get_assets())
        if params.get("omitZeroBalances") != "true":
            held |= {
                asset for symbol in self._exchange.symbols for asset in (symbol.base, symbol.quote)
            }
        balances = [
            {"asset": asset, "free": format_money(free), "locked": format_money(locked)}
            for asset, free, locked in self._reading.get_balances(sorted(held))
            if free or locked or params.get("omitZeroBalances") != "true"
        ]
        return {
            "makerCommission": int(fees.maker * 10_000),
            "takerCommission": int(fees.taker * 10_000),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": replies.make_fee_rates(fees),
            "canTrade": True,
            "canWithdraw": True,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": account.updated_ms,
            "accountType": "SPOT",
            "balances": balances,
            "permissions": ["SPOT"],
            "uid": self._account_id,
        }

    def _get_commission(self, params: Params) -> JsonObject:
        return replies.make_commission_reply(self.parse_symbol(params).id, self._exchange.fees)

    def _get_order_counts(self, params: Params) -> list[JsonObject]:
        del params
        now_ms = self._clock.now_ms()
        times = [order.time_ms for order in self._exchange.orders.values()]
        lengths = {"SECOND": 1_000, "MINUTE": 60_000, "DAY": _DAY_MS}
        rows: list[JsonObject] = []
        for limit in cast("list[JsonObject]", RATE_LIMITS):
            if limit["rateLimitType"] == "ORDERS":
                length = lengths[str(limit["interval"])] * int(str(limit["intervalNum"]))
                start = now_ms - now_ms % length
                rows.append({**limit, "count": sum(time >= start for time in times)})
        return rows

    def _place(self, params: Params) -> JsonObject:
        symbol = self.parse_symbol(params)
        request = read_order(params, symbol)
        kind = parse_response_kind(params, get_default_response_kind(request.type))
        kind = "ACK" if self._reading.is_ack_only(symbol) else kind
        now_ms, first = self._clock.now_ms(), len(self._exchange.fills)
        order = self._exchange.place(request, now_ms)
        return replies.make_new_order_reply(order, kind, self._exchange.fills[first:], now_ms)

    def _test_order(self, params: Params) -> JsonObject:
        symbol = self.parse_symbol(params)
        self._exchange.check(read_order(params, symbol), self._clock.now_ms())
        if params.get("computeCommissionRates") != "true":
            return {}
        every = replies.make_commission_reply(symbol.id, self._exchange.fees)
        fees = replies.make_fee_rates(self._exchange.fees)
        names = ("maker", "taker")
        return {
            "standardCommissionForOrder": {name: fees[name] for name in names},
            "specialCommissionForOrder": dict.fromkeys(names, "0.00000000"),
            "taxCommissionForOrder": dict.fromkeys(names, "0.00000000"),
            "discount": every["discount"],
        }

    def _get_order_status(self, params: Params) -> JsonObject:
        order = self._find_named_order(params)
        order = None if order is None else self._reading.find_order(order)
        if order is None:
            raise order_refusals.make_no_such_order_refusal()
        return replies.make_order_reply(order)

    def _cancel(self, params: Params) -> JsonObject:
        order = self._find_named_order(params)
        if order is None:
            raise order_refusals.make_unknown_order_refusal()
        check_restrictions(params, order)
        return self._cancel_order(order, read_client_id(params, "newClientOrderId") or "")

    def _cancel_order(self, order: SimulatedOrder, cancel_id: str = "") -> JsonObject:
        cancel_id = self._exchange.cancel(order, self._clock.now_ms(), cancel_id)
        return replies.make_cancelled_order_reply(order, cancel_id)

    def _find_named_order(self, params: Params) -> SimulatedOrder | None:
        symbol = self.parse_symbol(params)
        number = read_integer(params, "orderId")
        name = read_client_id(params, "origClientOrderId")
        if number is None and name is None:
            raise order_refusals.make_both_missing_refusal("origClientOrderId", "orderId")
        found = self._exchange.find(symbol, number, name)
        both = found is not None and number is not None and name is not None
        return None if found is not None and both and found.client_id != name else found

    def _get_open_orders(self, params: Params) -> list[JsonObject]:
        symbol = self.parse_symbol(params) if params.get("symbol") else None
        return [
            replies.make_order_reply(order)
            for order in self._reading.get_orders()
            if order.is_open and symbol in (None, order.symbol)
        ]

    def _cancel_all(self, params: Params) -> list[JsonObject]:
        orders = self._exchange.get_open_orders(self.parse_symbol(params))
        if not orders:
            raise order_refusals.make_unknown_order_refusal()
        replies: list[JsonObject] = []
        for order in orders:
            if order.is_open and order.list is not None:
                replies.append(self._lists.cancel_list(order.list))
            elif order.is_open:
                replies.append(self._cancel_order(order))
        return replies

    def _get_all_orders(self, params: Params) -> list[JsonObject]:
        symbol = self.parse_symbol(params)
        start, end, limit = read_range(params)
        from_id = read_integer(params, "orderId")
        found = [
            order
            for order in self._reading.get_orders()
            if order.symbol == symbol
            and start <= order.time_ms <= end
            and (from_id is None or order.id >= from_id)
        ]
        oldest_first = from_id is not None or bool(params.get("startTime"))
        found = found[:limit] if oldest_first else found[-limit:]
        return [replies.make_order_reply(order) for order in found]

    def _get_own_trades(self, params: Params) -> list[JsonObject]:
        symbol = self.parse_symbol(params)
        start, end, limit = read_range(params)
        from_id, order_id = read_integer(params, "fromId"), read_integer(params, "orderId")
        found = [
            fill
            for fill in self._reading.get_fills()
            if fill.symbol == symbol
            and start <= fill.time_ms <= end
            and (from_id is None or fill.id >= from_id)
            and (order_id is None or fill.order_id == order_id)
        ]
        oldest_first = from_id is not None or bool(params.get("startTime"))
        found = found[:limit] if oldest_first else found[-limit:]
        orders = self._exchange.orders
        return [replies.make_own_fill_reply(fill, orders[fill.order_id].list_id) for fill in found]
