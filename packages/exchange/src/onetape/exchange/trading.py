"""Place, replace, cancel and look up orders with one API key. An order is sent once, never again.

This is the only module that sends orders. `order_calls` builds each request, and `outcomes` decides
what its response proves. An order counts as refused only after an error code of the exchange that
proves it; after any other failure it is unknown whether the order exists.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_never

from msgspec import structs

from onetape.core.errors import ExchangeError, ExchangeUnreachable, UsageError
from onetape.exchange import order_calls
from onetape.exchange.account_reads import AccountReader
from onetape.exchange.ccxt_errors import translating_ccxt_errors
from onetape.exchange.order_calls import CcxtCall, OrderTerms
from onetape.exchange.outcomes import (
    Accepted,
    Unknown,
    read_cancel,
    read_look_up,
    read_send,
)
from onetape.exchange.proven_refusals import Refused
from onetape.exchange.replacements import read_replace
from onetape.exchange.request_tap import CallResult
from onetape.exchange.trading_records import (
    OrderRefused,
    OrderRequest,
    OrderSnapshot,
    OrderUnknown,
    Replacement,
    get_fields,
    parse_order,
)


class PrivateClient(AccountReader):
    """Client that reads and trades the account of one API key. Use it in `async with`."""

    @property
    def window_ms(self) -> int:
        """Return the time after its timestamp in which an order may have an effect, ms."""
        return self.dialect.window_ms

    async def submit(self, request: OrderRequest) -> OrderSnapshot:
        """Send an order, once; return the order as the exchange has accepted it.

        Raises:
            OrderRefused: the exchange has refused the order, or it was never sent.
            OrderUnknown: the order may exist or not; look it up, and never send it again.
        """
        try:
            call = self._make_order_call(request)
        except UsageError as error:
            raise OrderRefused(f"not sent: {error}") from error
        result = await self.perform(call)
        outcome = read_send(self.endpoint.exchange, result, request.client_order_id)
        return self._parse_sent_order(outcome, request)

    def _parse_sent_order(
        self, outcome: Accepted | Refused | Unknown, request: OrderRequest
    ) -> OrderSnapshot:
        """Return an order that was sent, as the exchange has accepted it.

        Raises:
            OrderRefused: the exchange has refused the order, or it was never sent.
            OrderUnknown: the order may exist or not.
        """
        accepted, name = self._check_accepted(outcome), request.client_order_id
        # A bare acknowledgement has neither market nor side.
        known = {"symbol": request.symbol, "side": request.side, "clientOrderId": name}
        stated = {field: value for field, value in accepted.row.items() if value is not None}
        order = self._parse_order(known | stated)
        # CCXT sets `filled` to 0 if the response does not have it.
        return order if accepted.has_status else structs.replace(order, filled=None)

    async def replace_stop(self, request: OrderRequest, replaced_id: str) -> Replacement:
        """Cancel a stop and place another by one request, which is sent once.

        If the old stop cannot be cancelled, the exchange places nothing.

        Args:
            request: The new stop.
            replaced_id: Client order id of the stop that is cancelled.

        Raises:
            UsageError: the exchange cannot do both in one request, or the new stop has no price.
        """
        if request.stop_price is None:
            raise UsageError("a stop needs a price")
        terms = OrderTerms(request.client_order_id, request.symbol, request.side, request.amount)
        call = order_calls.make_replace_stop_call(
            self.dialect,
            terms,
            request.timestamp_ms,
            replaced_id=replaced_id,
            trigger=request.stop_price,
            limit=request.limit_price,
        )
        outcome = read_replace(self.endpoint.exchange, await self.perform(call), replaced_id)
        try:
            new: OrderSnapshot | OrderRefused | OrderUnknown = self._parse_sent_order(
                outcome.new, request
            )
        except (OrderRefused, OrderUnknown) as failure:
            new = failure
        match outcome.old:
            case Decimal():
                return Replacement("cancelled", outcome.old, "", new)
            case Refused(_, reason):
                return Replacement("open", Decimal(0), reason, new)
            case Unknown(reason):
                return Replacement("unknown", Decimal(0), reason, new)
            case _:
                assert_never(outcome.old)

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        exchange_order_id: str | None = None,
        is_stop: bool = False,
    ) -> OrderSnapshot:
        """Cancel an open order; return the order as it ended.

        Args:
            symbol: CCXT spot symbol.
            client_order_id: Client order id of the order.
            exchange_order_id: The exchange's own id, for exchanges that cancel only by it.
            is_stop: Whether the order is a protective stop.

        Raises:
            OrderRefused: the exchange has not cancelled the order; it may be filled, or not exist.
            OrderUnknown: the order may be cancelled or not; look it up.
        """
        try:
            call = order_calls.make_cancel_order_call(
                self.dialect,
                client_order_id,
                symbol,
                exchange_order_id=exchange_order_id,
                is_stop=is_stop,
            )
        except UsageError as error:
            raise OrderRefused(f"not sent: {error}") from error
        result = await self.perform(call)
        accepted = self._check_accepted(
            read_cancel(self.endpoint.exchange, result, client_order_id)
        )
        if not accepted.has_status:
            raise OrderUnknown("the exchange sent no status of the order")
        return self._parse_order(accepted.row)

    async def look_up(
        self, symbol: str, client_order_id: str, *, since_ms: int, is_stop: bool = False
    ) -> OrderSnapshot | None:
        """Return an order by its client order id; None: the order is proven not to exist now.

        Args:
            symbol: CCXT spot symbol.
            client_order_id: Client order id of the order.
            since_ms: Time before the intent of the order, epoch milliseconds.
            is_stop: Whether the order is a protective stop.

        Raises:
            OrderUnknown: no response, or a response that proves nothing.
        """
        calls = order_calls.make_look_up_calls(
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
                    return await self._fetch_current_order(
                        symbol, client_order_id, found, is_stop=is_stop
                    )
                case Accepted():
                    raise OrderUnknown("the exchange sent no status of the order")
                case Unknown(reason) if len(results) == len(calls):
                    raise OrderUnknown(reason)
                case _:
                    pass
        return None

    async def _fetch_current_order(
        self, symbol: str, client_order_id: str, found: Accepted, *, is_stop: bool
    ) -> OrderSnapshot:
        """Return an order that was found; of a triggered stop, the order that it has become.

        Raises:
            OrderUnknown: a response could not be read.
        """
        order = structs.replace(self._parse_order(found.row), client_order_id=client_order_id)
        field = self.dialect.fired_order_field
        number = get_fields(found.row.get("info")).get(field or "")
        if not is_stop or not number:
            return order
        try:
            fired = await self.look_up_number(symbol, str(number))
        except ExchangeError as error:
            raise OrderUnknown(str(error)) from error
        return structs.replace(fired, client_order_id=client_order_id, stop_price=order.stop_price)

    def _make_order_call(self, request: OrderRequest) -> CcxtCall:
        terms = OrderTerms(request.client_order_id, request.symbol, request.side, request.amount)
        if request.stop_price is None:
            return order_calls.make_market_order_call(self.dialect, terms, request.timestamp_ms)
        return order_calls.make_stop_order_call(
            self.dialect,
            terms,
            request.timestamp_ms,
            trigger=request.stop_price,
            limit=request.limit_price,
        )

    def _check_accepted(self, outcome: Accepted | Refused | Unknown) -> Accepted:
        """Return an outcome if it is `Accepted`.

        Raises:
            OrderRefused: the outcome is `Refused`.
            OrderUnknown: the outcome is `Unknown`.
        """
        match outcome:
            case Accepted():
                return outcome
            case Refused(kind, reason, code):
                text = f"{reason} ({code})" if code else f"not sent: {reason}"
                raise OrderRefused(
                    text, code, is_absent=kind == "no such order", is_of_key=kind == "key"
                )
            case Unknown(reason):
                raise OrderUnknown(reason)
            case _:
                assert_never(outcome)

    def _parse_order(self, row: Mapping[str, Any]) -> OrderSnapshot:
        """Return the order of a row of CCXT.

        Raises:
            OrderUnknown: the order exists, but its row cannot be read.
        """
        try:
            with translating_ccxt_errors(self.endpoint.exchange):
                return parse_order(row)
        except ExchangeUnreachable as error:
            raise OrderUnknown(
                f"the exchange sent an order that cannot be read: {error}"
            ) from error
