"""Requests about single orders at a real exchange: send, replace, cancel, look up.

The results are reported as events of the order. An order is sent once, whatever happens.
"""

from collections.abc import Callable, Iterable

from onetape.core.errors import ExchangeError
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import (
    OrderRefused,
    OrderRequest,
    OrderSnapshot,
    OrderUnknown,
    OwnTrade,
)
from onetape.execution.broker import OrderReport
from onetape.execution.events import (
    Acknowledged,
    CancelRefused,
    OrderEvent,
    StatusReport,
    UnclearResponse,
)
from trader.brokers.live_records import OVERLAP_MS, AbsenceResponse, make_order_events


class OrderRequests:
    """Sends requests about the orders of one market; methods run in the client's event loop."""

    def __init__(
        self,
        client: PrivateClient,
        symbol: str,
        *,
        add_report: Callable[[OrderReport], None],
        add_absence: Callable[[AbsenceResponse], None],
        note_key_refused: Callable[[], None],
    ) -> None:
        """Initialise; nothing is requested yet.

        Args:
            client: CCXT client of the account.
            symbol: The market.
            add_report: Called with each event of an order.
            add_absence: Called with each look-up whose response lacks the order.
            note_key_refused: Called if a request is refused because of the API key.
        """
        self._client = client
        self._symbol = symbol
        self._add_report = add_report
        self._add_absence = add_absence
        self._note_key_refused = note_key_refused

    async def submit(self, request: OrderRequest) -> None:
        """Send an order, once; report its outcome, which may be unknown."""
        identity = request.client_order_id
        try:
            sent = await self._client.submit(request)
        except OrderRefused as refused:
            self._note_refusal(refused)
            self._report(identity, StatusReport("rejected", reason=refused.reason))
        except OrderUnknown as unknown:
            self._report(identity, UnclearResponse(unknown.reason))
        except BaseException as error:
            # The loop is closed while the request is under way: its outcome is unknown.
            self._report(identity, UnclearResponse(f"interrupted: {type(error).__name__}"))
            raise
        else:
            await self._report_sent(request, sent)

    async def _report_sent(self, request: OrderRequest, sent: OrderSnapshot) -> None:
        """Report an order that was accepted; look it up if the response has no fills."""
        identity = request.client_order_id
        if sent.filled is not None:
            self._report_order(identity, sent, sent.trades)
            return
        # The response is only an acknowledgement.
        self._report(identity, Acknowledged(sent.exchange_order_id))
        is_stop = request.stop_price is not None
        await self.look_up(identity, request.timestamp_ms, is_stop=is_stop)

    async def replace_stop(self, request: OrderRequest, replaced_id: str) -> None:
        """Replace a stop by another with one request, sent once; report the outcome of both."""
        identity = request.client_order_id
        try:
            found = await self._client.replace_stop(request, replaced_id)
        except BaseException as error:
            reason = f"interrupted: {type(error).__name__}"
            self._report(replaced_id, CancelRefused(reason))
            self._report(identity, UnclearResponse(reason))
            raise
        # The old stop comes first: the outcome of the new one depends on whether the old one rests.
        if found.old == "cancelled":
            self._report(replaced_id, StatusReport("canceled", found.old_filled))
        else:
            is_proven = found.old == "open"
            self._report(replaced_id, CancelRefused(found.reason, is_proven=is_proven))
        match found.new:
            case OrderRefused():
                self._note_refusal(found.new)
                self._report(identity, StatusReport("rejected", reason=found.new.reason))
            case OrderUnknown():
                self._report(identity, UnclearResponse(found.new.reason))
            case sent:
                await self._report_sent(request, sent)

    async def cancel(
        self, client_order_id: str, exchange_order_id: str | None, *, is_stop: bool, is_again: bool
    ) -> None:
        """Cancel an order; report its final status, or that the cancellation is not proven."""
        try:
            ended = await self._client.cancel(
                self._symbol, client_order_id, exchange_order_id=exchange_order_id, is_stop=is_stop
            )
        except OrderRefused as refused:
            self._note_refusal(refused)
            # A connection that drops makes the HTTP client send a cancel again by itself: an order
            # that is gone may have been cancelled by the first one.
            is_proven = not (is_again or refused.is_absent)
            self._report(client_order_id, CancelRefused(refused.reason, is_proven=is_proven))
        except OrderUnknown as unknown:
            self._report(client_order_id, CancelRefused(f"no response: {unknown.reason}"))
        else:
            self._report_order(client_order_id, ended, ())

    async def look_up(self, client_order_id: str, sent_ms: int, *, is_stop: bool) -> None:
        """Look an order up; report its state as events, or a response that lacks the order.

        Nothing is reported if a request fails.
        """
        client, symbol, since_ms = self._client, self._symbol, sent_ms - OVERLAP_MS
        try:
            requested_ms = await client.fetch_server_ms()
            found = await client.look_up(
                symbol, client_order_id, since_ms=since_ms, is_stop=is_stop
            )
            if found is not None:
                fills = await self._fetch_fills(found, since_ms)
                self._report_order(client_order_id, found, fills)
                return
            since = await client.fetch_fills(symbol, since_ms=since_ms)
            balances = await client.fetch_balances()
        except (ExchangeError, OrderUnknown):
            # A failed look-up proves nothing; the order stays as it is, and is looked up again.
            return
        self._add_absence(AbsenceResponse(client_order_id, requested_ms, since, balances))

    async def _fetch_fills(self, found: OrderSnapshot, since_ms: int) -> tuple[OwnTrade, ...]:
        """Return the executions of an order that was found.

        If executions cannot be read, none are known: the status and the filled amount are reported
        all the same, and the order is looked up again until its executions add up to that amount.

        Raises:
            ExchangeError: executions cannot be read, and the order does not state its filled
                amount.
            OrderUnknown: as for ExchangeError, if the exchange does not know the order.
        """
        if found.filled == 0:
            return ()
        try:
            return await self._client.fetch_fills(
                self._symbol, since_ms=since_ms, exchange_order_id=found.exchange_order_id
            )
        except (ExchangeError, OrderUnknown):
            if found.filled is None:
                raise
            return ()

    def _note_refusal(self, refused: OrderRefused) -> None:
        """Note a refusal that is due to the API key."""
        if refused.is_of_key:
            self._note_key_refused()

    def _report_order(
        self, client_order_id: str, found: OrderSnapshot, fills: Iterable[OwnTrade]
    ) -> None:
        """Report an order of the exchange as events: acknowledged, its fills, then its status."""
        for event in make_order_events(found, fills):
            self._report(client_order_id, event)

    def _report(self, client_order_id: str, event: OrderEvent) -> None:
        self._add_report(OrderReport(client_order_id, event))
