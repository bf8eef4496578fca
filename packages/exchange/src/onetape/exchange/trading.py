"""The account of one API key: orders, own trades and balances. An order is sent once, never again.

The one place that sends orders. `order_calls` says how each request goes out, `outcomes` what its
answer proves: an order is refused where the exchange itself says so with an error code that leaves
no doubt; every other failure leaves its fate unknown.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_never

from msgspec import structs

from onetape.core.errors import ConfigurationError, ExchangeUnreachable, UsageError
from onetape.exchange import order_calls
from onetape.exchange.order_calls import CcxtCall, OrderTerms
from onetape.exchange.outcomes import (
    Accepted,
    Unknown,
    has_place,
    read_cancel,
    read_look_up,
    read_send,
)
from onetape.exchange.own_trades import next_position, time_windows
from onetape.exchange.permissions import (
    ACCOUNT_EXCHANGES,
    PERMISSION_CALLS,
    KeyPermissions,
    account_in,
    permissions_in,
)
from onetape.exchange.private_connection import PrivateConnection
from onetape.exchange.refusals import Refused
from onetape.exchange.replacements import read_replace
from onetape.exchange.request_tap import CallResult
from onetape.exchange.trading_records import (
    Balance,
    OrderRefused,
    OrderRequest,
    OrderSnapshot,
    OrderUnknown,
    OwnTrade,
    Replacement,
    fields_of,
    order_of,
    trade_of,
)
from onetape.exchange.translate import translated


class PrivateClient(PrivateConnection):
    """The account of one API key. Use it as an async context manager."""

    @property
    def window_ms(self) -> int:
        """Return how long after its timestamp an order may arrive and still have an effect."""
        return self.dialect.window_ms

    async def submit(self, request: OrderRequest) -> OrderSnapshot:
        """Send an order, once; return it as the exchange has taken it.

        Raises:
            OrderRefused: the exchange has refused it, or it was never sent.
            OrderUnknown: it may exist or not; look it up, and never send it again.
        """
        try:
            call = self._order_call(request)
        except UsageError as error:
            raise OrderRefused(f"not sent: {error}") from error
        result = await self.perform(call)
        outcome = read_send(self.endpoint.exchange, result, request.client_order_id)
        return self._placed(outcome, request)

    def _placed(
        self, outcome: Accepted | Refused | Unknown, request: OrderRequest
    ) -> OrderSnapshot:
        """Return an order that was sent, as the exchange has taken it.

        Raises:
            OrderRefused: the exchange has refused it, or it was never sent.
            OrderUnknown: it may exist or not.
        """
        accepted, name = self._accepted(outcome), request.client_order_id
        # An acknowledgement alone has neither market nor side.
        known = {"symbol": request.symbol, "side": request.side, "clientOrderId": name}
        stated = {field: value for field, value in accepted.row.items() if value is not None}
        order = self._order_in(known | stated)
        # CCXT fills in 0 where the exchange has said nothing.
        return order if accepted.has_status else structs.replace(order, filled=None)

    async def replace_stop(self, request: OrderRequest, replaced_id: str) -> Replacement:
        """Put a stop in the place of another, by one request that is sent once.

        Where the old stop cannot be cancelled, the exchange places nothing.

        Args:
            request: The new stop.
            replaced_id: Client order id of the stop that is cancelled.

        Raises:
            UsageError: this exchange cannot do both in one request.
        """
        if request.stop_price is None:
            raise UsageError("a stop needs a price")
        terms = OrderTerms(request.client_order_id, request.symbol, request.side, request.amount)
        call = order_calls.replace_stop(
            self.dialect,
            terms,
            request.timestamp_ms,
            replaced_id=replaced_id,
            trigger=request.stop_price,
            limit=request.limit_price,
        )
        halves = read_replace(self.endpoint.exchange, await self.perform(call), replaced_id)
        try:
            new: OrderSnapshot | OrderRefused | OrderUnknown = self._placed(halves.new, request)
        except (OrderRefused, OrderUnknown) as failure:
            new = failure
        match halves.old:
            case Decimal():
                return Replacement("cancelled", halves.old, "", new)
            case Refused(_, reason):
                return Replacement("kept", Decimal(0), reason, new)
            case Unknown(reason):
                return Replacement("unknown", Decimal(0), reason, new)
            case _:
                assert_never(halves.old)

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        exchange_order_id: str | None = None,
        is_stop: bool = False,
    ) -> OrderSnapshot:
        """Cancel an open order; return it as it ended.

        Args:
            symbol: The market.
            client_order_id: Of the order.
            exchange_order_id: The exchange's own id, which some exchanges cancel by.
            is_stop: Whether the order is a protective stop.

        Raises:
            OrderRefused: the exchange has not cancelled it; it may be filled, or not exist.
            OrderUnknown: it may be cancelled or not; look it up.
        """
        try:
            call = order_calls.cancel_order(
                self.dialect,
                client_order_id,
                symbol,
                exchange_order_id=exchange_order_id,
                is_stop=is_stop,
            )
        except UsageError as error:
            raise OrderRefused(f"not sent: {error}") from error
        result = await self.perform(call)
        accepted = self._accepted(read_cancel(self.endpoint.exchange, result, client_order_id))
        if not accepted.has_status:
            raise OrderUnknown("the exchange sent no status of the order")
        return self._order_in(accepted.row)

    async def look_up(
        self, symbol: str, client_order_id: str, *, since_ms: int, is_stop: bool = False
    ) -> OrderSnapshot | None:
        """Return an order by its client order id; None where the exchange says there is none.

        Args:
            symbol: The market.
            client_order_id: Of the order.
            since_ms: Before the intent of the order, epoch milliseconds.
            is_stop: Whether the order is a protective stop.

        Raises:
            OrderUnknown: no usable answer, or another one, which proves nothing.
        """
        calls = order_calls.look_up_order(
            self.dialect, client_order_id, symbol, since_ms=since_ms, is_stop=is_stop
        )
        results: list[CallResult] = []
        for call in calls:
            results.append(await self.perform(call))
            found = read_look_up(
                self.endpoint.exchange, calls[: len(results)], results, client_order_id
            )
            match found:
                case Accepted() if found.has_status:
                    return self._order_in(found.row)
                case Accepted():
                    raise OrderUnknown("the exchange sent no status of the order")
                case Unknown(reason) if len(results) == len(calls):
                    raise OrderUnknown(reason)
                case _:
                    pass
        return None

    async def look_up_number(self, symbol: str, exchange_order_id: str) -> OrderSnapshot:
        """Return an order by the exchange's own id, which an execution of it names.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        call = order_calls.look_up_number(self.dialect, exchange_order_id, symbol)
        row = fields_of((await self.read(call)).value)
        if str(row.get("id")) != exchange_order_id or not row.get("status"):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent another order, or none")
        with translated(self.endpoint.exchange):
            return order_of(row)

    async def open_orders(self, symbol: str) -> tuple[OrderSnapshot, ...]:
        """Return the open orders of the account in one market.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        calls = [order_calls.open_orders(self.dialect, symbol)]
        if self.dialect.stop_cancel_params:
            calls.append(order_calls.open_orders(self.dialect, symbol, of_stops=True))
        found: dict[str, OrderSnapshot] = {}
        for call in calls:
            rows, _ = await self.read_rows(call)
            with translated(self.endpoint.exchange):
                found.update((one.exchange_order_id, one) for one in map(order_of, rows))
        return tuple(found.values())

    async def fills_since(
        self, symbol: str, *, since_ms: int, exchange_order_id: str | None = None
    ) -> tuple[OwnTrade, ...]:
        """Return the account's executions in one market, oldest first, page by page.

        Args:
            symbol: The market.
            since_ms: From this exchange time on.
            exchange_order_id: Only those of one order.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        dialect = self.dialect
        found: dict[str, OwnTrade] = {}
        for window in time_windows(dialect, since_ms, self.now_ms()):
            position: str | None = None
            rows_read = 0
            while True:
                call = order_calls.own_trades_page(
                    dialect,
                    symbol,
                    since_ms=window[0],
                    until_ms=window[1],
                    position=position,
                    exchange_order_id=exchange_order_id,
                )
                rows, result = await self.read_rows(call)
                with translated(self.endpoint.exchange):
                    found.update((one.trade_id, one) for one in map(trade_of, rows))
                rows_read += len(rows)
                after = next_position(dialect, rows, result.record.body, rows_read)
                if after in (None, position):
                    break
                position = after
        every = sorted(found.values(), key=lambda one: one.executed_ms)
        wanted = exchange_order_id
        return tuple(one for one in every if wanted in (None, one.exchange_order_id))

    async def balances(self) -> dict[str, Balance]:
        """Return what the account has, by currency; currencies without any are left out.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        result = await self.read(CcxtCall("fetch_balance", (), {}))
        if not has_place(result.record, self.dialect.balances_path):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent no balances")
        with translated(self.endpoint.exchange):
            free, used = result.value["free"], result.value["used"]
            every = {
                name: Balance(Decimal(free[name] or 0), Decimal(used[name] or 0)) for name in free
            }
        return {name: balance for name, balance in every.items() if balance.total}

    async def last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade in one market, quote currency.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        result = await self.read(CcxtCall("fetch_ticker", (symbol,), {}))
        last = fields_of(result.value).get("last")
        if not last:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent a ticker without a price")
        return Decimal(str(last))

    async def account_id(self) -> str:
        """Return the exchange's own id of the account, the same for each of its keys.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
            ConfigurationError: the exchange does not say whose the key is.
        """
        uid = None
        name = self.endpoint.ccxt_class
        if name == "binance":
            call = CcxtCall("private_get_account", (), {"omitZeroBalances": "true"})
            uid = fields_of((await self.read(call)).value).get("uid")
        elif name in ACCOUNT_EXCHANGES:
            call = CcxtCall(PERMISSION_CALLS[name], (), {})
            uid = account_in(name, (await self.read(call)).value)
        if uid is None:
            raise ConfigurationError(
                f"{self.endpoint.exchange} does not say which account the key belongs to"
            )
        return str(uid)

    async def permissions(self) -> KeyPermissions:
        """Return what the key may do; nothing is known where the exchange has no such question.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no: the key is not valid, for example.
        """
        name = self.endpoint.ccxt_class
        method = PERMISSION_CALLS.get(name)
        # Binance's test network has no such address.
        if method is None or self.endpoint.is_sandbox:
            return KeyPermissions(None, None)
        return permissions_in(name, (await self.read(CcxtCall(method, (), {}))).value)

    async def server_ms(self) -> int:
        """Return the exchange's own time, fetched now, epoch milliseconds.

        Raises:
            ExchangeUnreachable: no usable answer.
        """
        result = await self.read(CcxtCall("fetch_time", (), {}))
        with translated(self.endpoint.exchange):
            return int(result.value)

    def _order_call(self, request: OrderRequest) -> CcxtCall:
        terms = OrderTerms(request.client_order_id, request.symbol, request.side, request.amount)
        if request.stop_price is None:
            return order_calls.market_order(self.dialect, terms, request.timestamp_ms)
        return order_calls.stop_order(
            self.dialect,
            terms,
            request.timestamp_ms,
            trigger=request.stop_price,
            limit=request.limit_price,
        )

    def _accepted(self, outcome: Accepted | Refused | Unknown) -> Accepted:
        match outcome:
            case Accepted():
                return outcome
            case Refused(_, reason, code):
                raise OrderRefused(f"{reason} ({code})" if code else f"not sent: {reason}", code)
            case Unknown(reason):
                raise OrderUnknown(reason)
            case _:
                assert_never(outcome)

    def _order_in(self, row: Mapping[str, Any]) -> OrderSnapshot:
        """Return the order of a row that the exchange has sent about one of ours.

        Raises:
            OrderUnknown: the order exists, and the rest of the row cannot be read.
        """
        try:
            with translated(self.endpoint.exchange):
                return order_of(row)
        except ExchangeUnreachable as error:
            raise OrderUnknown(
                f"the exchange sent an order that cannot be read: {error}"
            ) from error
