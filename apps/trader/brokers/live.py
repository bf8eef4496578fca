"""The broker of live orders: each call starts a request, and its result arrives as an event later.

The requests (`order_requests`, `account_requests`) run in the event loop of the connections, in the
main thread; the trading thread takes the events. An order is sent once, whatever happens.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Coroutine, Set
from concurrent.futures import Future
from decimal import Decimal
from typing import Any, TypeVar

from onetape.cli.output import print_line
from onetape.core.errors import ExchangeError
from onetape.core.message_text import format_error
from onetape.core.trading import Order
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import (
    OrderRequest,
    OrderUnknown,
)
from onetape.execution.broker import OrderReport
from onetape.websocket.user_stream import (
    BalanceUpdate,
    ExecutionUpdate,
    OrderUpdate,
    UserEvent,
    UserStream,
    UserStreamLost,
    UserStreamOpened,
)
from trader.brokers.account_requests import AccountRequests
from trader.brokers.comparison_faults import ComparisonFaults
from trader.brokers.key_rights import KeyRights
from trader.brokers.live_records import (
    AbsenceResponse,
    AccountHistory,
    AccountSnapshot,
    BalanceReading,
    make_fill_report,
    make_order_events,
)
from trader.brokers.order_requests import OrderRequests

T = TypeVar("T")


class LiveBroker:
    """One market of an account at an exchange: starts requests, and collects their results."""

    def __init__(
        self,
        client: PrivateClient,
        symbol: str,
        stream: UserStream | None = None,
        key_rights: KeyRights | None = None,
    ) -> None:
        """Initialise in the event loop that takes the events; nothing is requested yet.

        Args:
            client: CCXT client of the account; open, in any event loop.
            symbol: The market.
            stream: Stream of the account's events, in the loop of the client; None: there is none.
            key_rights: Rights of the API key; None: they are not read again.
        """
        self._client = client
        client.symbols.add(symbol)
        self._stream = stream
        self.key_rights = key_rights
        """Rights of the API key; None: they are not read again."""
        self._symbol = symbol
        self._loop = asyncio.get_running_loop()
        self.reported = asyncio.Event()
        """Set when a report, a response or a reading of the account has arrived."""
        self._reports: deque[OrderReport] = deque()
        self._absences: deque[AbsenceResponse] = deque()
        self._snapshots: deque[AccountSnapshot] = deque()
        self._histories: deque[AccountHistory] = deque()
        self._account = AccountRequests(client, symbol)
        self.comparison_faults = ComparisonFaults()
        """Error that comparing the account has raised, and the pause after it."""
        self._orders = OrderRequests(
            client,
            symbol,
            add_report=self._reports.append,
            add_absence=self._absences.append,
            note_key_refused=self._note_key_refused,
        )
        self._running: dict[tuple[str, str], Future[None]] = {}
        """Requests under way, by kind and subject (`is_request_running`)."""
        self.fault: str = ""
        """Reason why the last attempt to read the account failed; empty: it did not fail."""
        self.history_fault: str = ""
        """Reason why old executions could not be read at the last failed attempt; empty: none."""
        self._unexpected = ""
        """The last unexpected error of another request, which did not come from the exchange."""
        self._is_reading_due = False
        """Whether an event requires that the account is read again."""
        self.stream_opened_ms: int | None = None
        """Exchange time since which the account's events arrive; None: no events arrive."""
        if stream is not None:
            stream.add_listener(self._note_user_event)
        self.prices: dict[str, tuple[Decimal, float]] = {}
        """Price of the last trade over REST by symbol, with the monotonic time before its request.
        """

    @property
    def name(self) -> str:
        """Return the id of the exchange, which is stored as the source of events."""
        return self._client.endpoint.exchange

    @property
    def symbols(self) -> int:
        """Return the number of markets in which the account is traded and read."""
        return len(self._client.symbols)

    @property
    def window_ms(self) -> int:
        """Return the maximum age at which the exchange accepts an order, from its timestamp, ms."""
        return self._client.window_ms

    def is_request_running(self, kind: str, subject: str) -> bool:
        """Return whether a request is under way.

        Args:
            kind: `submit`, `cancel`, `replace` (of the stop that rests), `look_up`, `refresh`,
                `history` or `price`.
            subject: The client order id; for the last three kinds, the symbol.
        """
        running = self._running.get((kind, subject))
        return running is not None and not running.done()

    def submit(
        self, order: Order, timestamp_ms: int, *, limit_price: Decimal | None = None
    ) -> None:
        """Send an order whose intent and whose send are stored; once, whatever happens.

        Args:
            order: Order with its amount.
            timestamp_ms: Exchange time that the request carries, epoch milliseconds.
            limit_price: Lowest price of a stop, quote currency; None: it becomes a market order.
        """
        work = self._orders.submit(_make_request(order, timestamp_ms, limit_price))
        self._start("submit", order.client_order_id, work)

    @property
    def can_replace_stops(self) -> bool:
        """Return whether one request cancels a stop and places the next."""
        return self._client.dialect.is_stop_replaceable

    def replace_stop(
        self,
        order: Order,
        timestamp_ms: int,
        replaced_id: str,
        *,
        limit_price: Decimal | None = None,
    ) -> None:
        """Replace a stop by another, whose intent and send are stored; once, whatever happens.

        Args:
            order: The new stop, with its amount.
            timestamp_ms: Exchange time that the request carries, epoch milliseconds.
            replaced_id: Client order id of the stop that rests now.
            limit_price: Lowest price of the new stop; None: it becomes a market order.
        """
        work = self._orders.replace_stop(
            _make_request(order, timestamp_ms, limit_price), replaced_id
        )
        self._start("submit", order.client_order_id, work)
        self._running["replace", replaced_id] = self._running["submit", order.client_order_id]

    def cancel(
        self,
        client_order_id: str,
        *,
        exchange_order_id: str | None,
        is_stop: bool,
        is_again: bool = False,
    ) -> None:
        """Request the cancellation of an open order.

        Args:
            client_order_id: Client order id of the order.
            exchange_order_id: The exchange's own id of the order; None: not known.
            is_stop: Whether the order is a protective stop.
            is_again: Whether the cancellation was requested before: then a refusal does not prove
                that another program has cancelled the order.
        """
        work = self._orders.cancel(
            client_order_id, exchange_order_id, is_stop=is_stop, is_again=is_again
        )
        self._start("cancel", client_order_id, work)

    def look_up(self, client_order_id: str, sent_ms: int, *, is_stop: bool) -> None:
        """Look up an order: its status and fills, or a response without it.

        Args:
            client_order_id: Client order id of the order.
            sent_ms: Exchange time at which the order was sent, epoch milliseconds; executions since
                then are read if there is no such order.
            is_stop: Whether the order is a protective stop.
        """
        if not self.is_request_running("look_up", client_order_id):
            work = self._orders.look_up(client_order_id, sent_ms, is_stop=is_stop)
            self._start("look_up", client_order_id, work)

    def refresh(self, since_ms: int, known: Set[str]) -> None:
        """Read balances, open orders and executions, unless a reading is under way.

        Args:
            since_ms: Exchange time from which on executions are read, epoch milliseconds.
            known: The exchange's ids of orders whose client order ids are known.
        """
        if not self.is_request_running("refresh", self._symbol):
            self._start("refresh", self._symbol, self._refresh(since_ms, known))

    def read_history(self, since_ms: int, known: Set[str]) -> None:
        """Read executions that may be old, unless such a reading is under way.

        Args:
            since_ms: Exchange time from which on executions are read, epoch milliseconds.
            known: The exchange's ids of orders whose client order ids are known.
        """
        if not self.is_request_running("history", self._symbol):
            self._start("history", self._symbol, self._read_history(since_ms, known))

    @property
    def last_price(self) -> tuple[Decimal, float] | None:
        """Return the market's last price over REST, with the monotonic time of its request."""
        return self.prices.get(self._symbol)

    def has_market(self, symbol: str) -> bool:
        """Return whether the exchange lists a spot market, traded or not."""
        return bool(self._client.markets.get(symbol, {}).get("spot"))

    def request_price(self, symbol: str | None = None) -> None:
        """Read the price of a market's last trade, unless such a request is under way.

        Args:
            symbol: The market; None: that of this broker.
        """
        symbol = symbol or self._symbol
        if not self.is_request_running("price", symbol):
            self._start("price", symbol, self._fetch_price(symbol))

    def take_events(self) -> list[OrderReport]:
        """Return the events of orders that arrived since the last call, in their order."""
        return _drain_queue(self._reports)

    def add(self, report: OrderReport) -> None:
        """Add an event of an order from the account's stream; any thread may call it."""
        self._reports.append(report)
        self._set_reported()

    def take_reading_due(self) -> bool:
        """Return whether an event since the last call requires that the account is read."""
        is_due, self._is_reading_due = self._is_reading_due, False
        return is_due

    def reconnect_stream(self, reason: str) -> None:
        """Open the account's stream again, because it has left out an event."""
        self.stream_opened_ms = None
        if self._stream is not None:
            self._client.loop.call_soon_threadsafe(self._stream.reconnect, reason)

    def take_absences(self) -> list[AbsenceResponse]:
        """Return the look-ups since the last call whose response lacks the order."""
        return _drain_queue(self._absences)

    def take_snapshots(self) -> list[AccountSnapshot]:
        """Return the readings of the account since the last call."""
        return _drain_queue(self._snapshots)

    @property
    def last_balances(self) -> BalanceReading | None:
        """Return the last balances that were read, also where the rest of a reading has failed."""
        return self._account.balances

    def take_histories(self) -> list[AccountHistory]:
        """Return the readings of old executions since the last call."""
        return _drain_queue(self._histories)

    async def settle(self, seconds: float) -> bool:
        """Wait until no order or cancellation is being sent; return whether it was in time."""
        running = [
            asyncio.wrap_future(future)
            for (kind, _), future in self._running.items()
            if kind in ("submit", "cancel") and not future.done()
        ]
        if not running:
            return True
        _, left = await asyncio.wait(running, timeout=seconds)
        return not left

    def _note_user_event(self, event: UserEvent) -> None:
        """Take an event of the account's stream; orders of others are left out later."""
        match event:
            case OrderUpdate(order) if order.symbol == self._symbol:
                for one in make_order_events(order, ()):
                    self.add(OrderReport(order.client_order_id, one))
            case ExecutionUpdate(fill, client_order_id) if fill.symbol == self._symbol:
                if client_order_id is None:
                    self._is_reading_due = True
                else:
                    self.add(OrderReport(client_order_id, make_fill_report(fill)))
            case UserStreamOpened():
                self.stream_opened_ms = self._client.now_ms()
                self._is_reading_due = True
                if self.key_rights is not None:
                    # The stream may have been lost because the key was changed.
                    self.key_rights.read_soon()
            case UserStreamLost():
                self.stream_opened_ms = None
            case BalanceUpdate():
                self._is_reading_due = True
            case _:
                return
        self._set_reported()

    def _start(self, kind: str, subject: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a request in the event loop of the client."""
        self._running = {key: one for key, one in self._running.items() if not one.done()}
        future = asyncio.run_coroutine_threadsafe(self._run(kind, work), self._client.loop)
        self._running[kind, subject] = future

    async def _run(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._note_unexpected(kind, f"{type(error).__name__}: {format_error(error)}")
        finally:
            self._set_reported()

    def _note_unexpected(self, kind: str, text: str) -> None:
        """Note or print an error that did not come from the exchange; the request is repeated."""
        if kind == "refresh":
            self.fault = f"unexpected {text}"
        elif text != self._unexpected:
            self._unexpected = text
            print_line(f"a request ({kind}) has failed: unexpected {text}", level="ERROR")

    def _set_reported(self) -> None:
        # The loop may have ended; then the events are not read any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.reported.set)

    def _note_key_refused(self) -> None:
        if self.key_rights is not None:
            self.key_rights.read_soon()

    async def _refresh(self, since_ms: int, known: Set[str]) -> None:
        try:
            snapshot = await self._account.read(since_ms, known)
        except (ExchangeError, OrderUnknown) as error:
            self.fault = str(error)
            if self.key_rights is not None and isinstance(error, ExchangeError):
                self.key_rights.note_refused(error)
            return
        self.fault = ""
        if self.key_rights is not None:
            self.key_rights.note_accepted()
        self._snapshots.append(snapshot)

    async def _read_history(self, since_ms: int, known: Set[str]) -> None:
        try:
            self._histories.append(await self._account.read_history(since_ms, known))
        except (ExchangeError, OrderUnknown) as error:
            self.history_fault = str(error)

    async def _fetch_price(self, symbol: str) -> None:
        begun = time.monotonic()
        # If the price cannot be read, the last one gets too old, which is checked elsewhere.
        with contextlib.suppress(ExchangeError):
            self.prices[symbol] = await self._client.fetch_last_price(symbol), begun


def _make_request(order: Order, timestamp_ms: int, limit_price: Decimal | None) -> OrderRequest:
    if order.ordered_amount is None:
        raise ValueError("an order without an amount cannot be sent")
    return OrderRequest(
        order.client_order_id,
        order.symbol,
        order.side,
        order.ordered_amount,
        timestamp_ms,
        order.stop_price,
        limit_price,
    )


def _drain_queue(queue: "deque[T]") -> "list[T]":
    """Return the items of a queue and empty the queue; another thread may add items meanwhile."""
    found: list[T] = []
    while queue:
        found.append(queue.popleft())
    return found
