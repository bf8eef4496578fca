"""Events of an account through CCXT Pro: orders, executions and changes of balances.

An exchange may lose an event, repeat it, or send it late. So an event proves nothing, and a trader
also reads the account over REST from time to time. CCXT wakes no task for a frame between two
calls, and returns rows that later frames change. Here each frame wakes the reading task, which
copies new rows from CCXT's caches.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self

from ccxt import BaseError, NetworkError
from msgspec import Struct

from onetape.core.printable import escape_unprintable
from onetape.exchange.ccxt_errors import translating_ccxt_errors
from onetape.exchange.clients import Endpoint
from onetape.exchange.redaction import redact, redact_client
from onetape.exchange.trading_records import (
    Credentials,
    OrderSnapshot,
    OwnTrade,
    get_fields,
    parse_order,
    parse_own_trade,
)
from onetape.websocket.client import close_exchange_client, drop_connection, make_guarded_client
from onetape.websocket.redial_pause import RedialPause

#: The longest pause before the stream is opened again, in addition to CCXT's own pause between
#: dials, wall seconds.
LONGEST_PAUSE_SECONDS: Final = 10.0
#: Time in which the exchange must confirm the subscription, wall seconds.
OPEN_SECONDS: Final = 10.0
#: Maximum number of characters of a reason.
_LONGEST_REASON: Final = 200


class UserStreamOpened(Struct, frozen=True):
    """The stream is open; events of the time before may be missing."""


class UserStreamLost(Struct, frozen=True):
    """The stream is lost; no event arrives until it is open again."""

    reason: str
    """Cause of the loss, one line."""


class OrderUpdate(Struct, frozen=True):
    """A changed order of the account; the event may be old."""

    order: OrderSnapshot


class ExecutionUpdate(Struct, frozen=True):
    """An execution of an order of the account."""

    execution: OwnTrade
    client_order_id: str | None
    """Client order id of the order that was filled; None: no event of that order is known."""


class BalanceUpdate(Struct, frozen=True):
    """A balance changed without an order: a deposit, a withdrawal or a transfer."""


UserEvent = UserStreamOpened | UserStreamLost | OrderUpdate | ExecutionUpdate | BalanceUpdate


class UserStream:
    """Reads the events of one account and reconnects after a break. Use it in `async with`."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        markets: Mapping[str, Any],
        *,
        now_ms: Callable[[], int],
    ) -> None:
        """Initialise; nothing is sent.

        Args:
            endpoint: Endpoint of the exchange.
            credentials: Credentials of the account.
            markets: Markets as CCXT loaded them.
            now_ms: Function that returns the exchange's time, epoch milliseconds.
        """
        self._exchange = endpoint.exchange
        self._frame_event = asyncio.Event()
        client = make_guarded_client(endpoint, on_connected=self._frame_event.set)
        redact_client(client)
        client.apiKey, client.secret = credentials.key, credentials.secret
        client.password = credentials.password or None
        client.milliseconds = now_ms
        # CCXT returns prices and amounts as texts, with the exchange's own digits.
        client.number = str
        client.set_markets(list(markets.values()))
        self._client = client
        client.frame_events.add(self._frame_event)
        self._listeners: list[Callable[[UserEvent], None]] = []
        self._orders: dict[str, OrderSnapshot] = {}
        self._trades: set[tuple[str, str]] = set()
        self._balance_events: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self.is_open = False
        """Whether the stream is open, as far as is known."""
        self._is_lost = False
        self._connections = 0
        """Number of connections that the client had made when the stream was opened."""

    async def __aenter__(self) -> Self:
        """Begin to read in a background task."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop reading and close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.is_open = False
        await close_exchange_client(self._client)

    @property
    def is_possible(self) -> bool:
        """Return whether CCXT has streams of orders and own trades of the exchange."""
        has = self._client.has
        return bool(has.get("watchOrders") and has.get("watchMyTrades"))

    def add_listener(self, listener: Callable[[UserEvent], None]) -> None:
        """Pass each event to a function, which is called in the stream's event loop.

        If the stream is open already, `UserStreamOpened` is passed at once.
        """
        self._listeners.append(listener)
        if self.is_open:
            listener(UserStreamOpened())

    def reconnect(self, reason: str) -> None:
        """End the connection and open a new one; for a caller that has noticed a missing event.

        Args:
            reason: Cause, for the event `UserStreamLost`.
        """
        for ws_client in list(self._client.clients.values()):
            if not ws_client.closed():
                drop_connection(ws_client, NetworkError(reason))

    async def _run(self) -> None:
        if not self.is_possible:
            return
        longest = LONGEST_PAUSE_SECONDS
        pause = RedialPause(after_dials=longest, after_connections=longest)
        while True:
            try:
                await self._open()
                pause.note_open()
                await self._read_on()
            except Exception as error:
                # Any error inside CCXT may be ignored: events prove nothing, and the next
                # connection begins again.
                self._note_lost(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # This task was not cancelled: CCXT cancels the futures of a socket that it closes.
                self._note_lost(NetworkError("CCXT closed the stream"))
            self.reconnect("the stream is opened again")
            await asyncio.sleep(pause.take_next_seconds())

    async def _open(self) -> None:
        if self._has_one_connection:
            # The exchange sends events only after its response to this.
            async with asyncio.timeout(OPEN_SECONDS):
                await self._client.authenticate({"type": "spot"})
        self._connections = self._client.connections
        self.is_open, self._is_lost = True, False
        self._emit(UserStreamOpened())

    async def _read_on(self) -> None:
        """Read until the connection ends.

        Raises:
            Exception: the connection has ended, or an event could not be read.
        """
        client = self._client
        watching = [client.watch_orders, client.watch_my_trades]
        if client.has.get("watchBalance"):
            watching.append(client.watch_balance)
        tasks = [
            asyncio.create_task(_watch_repeatedly(watch, self._frame_event)) for watch in watching
        ]
        try:
            while True:
                await self._frame_event.wait()
                self._frame_event.clear()
                self._emit_changes()
                for task in tasks:
                    if task.done():
                        task.result()
                if not self._is_subscribed:
                    raise NetworkError("the exchange has ended the events")
                if client.connections != self._connections and self._has_one_connection:
                    # CCXT has dialled again by itself, and events in between are missing.
                    raise NetworkError("the connection has ended")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _has_one_connection(self) -> bool:
        """Return whether all events come on one connection, which `_open` opens first."""
        return self._client.id == "binance"

    @property
    def _is_subscribed(self) -> bool:
        """Return whether CCXT still has its subscription to the events.

        Binance's `eventStreamTerminated` ends the subscription, and CCXT wakes no waiting task.
        """
        if not self._has_one_connection:
            return True
        return any("spot" in client.subscriptions for client in self._client.clients.values())

    def _emit_changes(self) -> None:
        """Emit an event for each new or changed row of CCXT's caches, orders first."""
        client = self._client
        orders: dict[str, OrderSnapshot] = {}
        with translating_ccxt_errors(self._exchange):
            for row in client.orders or ():
                order = parse_order(row)
                orders[order.exchange_order_id] = order
            trades = {(row["symbol"], row["id"]): row for row in client.myTrades or ()}
            new_executions = [
                parse_own_trade(row) for key, row in trades.items() if key not in self._trades
            ]
        changed = [order for key, order in orders.items() if self._orders.get(key) != order]
        self._orders, self._trades = orders, set(trades)
        for order in changed:
            self._emit(OrderUpdate(order))
        for execution in new_executions:
            order = orders.get(execution.exchange_order_id)
            self._emit(ExecutionUpdate(execution, None if order is None else order.client_order_id))
        self._emit_changed_balances()

    def _emit_changed_balances(self) -> None:
        """Emit an event if a balance has changed without an order."""
        balances: dict[str, Any] = self._client.balance
        for account, balance in balances.items():
            # CCXT stores the last event of each account in `info`.
            event = get_fields(get_fields(balance).get("info"))
            if not event or event == self._balance_events.get(account):
                continue
            self._balance_events[account] = event
            if event.get("e") != "outboundAccountPosition":
                self._emit(BalanceUpdate())

    def _note_lost(self, error: Exception) -> None:
        self.is_open = False
        if self._is_lost:
            return
        self._is_lost = True
        cause = _find_exchange_error(error)
        text = escape_unprintable(redact(str(cause)))[:_LONGEST_REASON]
        self._emit(UserStreamLost(f"{type(cause).__name__}{f': {text}' if text else ''}"))

    def _emit(self, event: UserEvent) -> None:
        for listener in list(self._listeners):
            listener(event)


def _find_exchange_error(error: BaseException) -> BaseException:
    """Return the error of the exchange in a chain of errors; CCXT may raise another after it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, BaseError):
            return link
        link = link.__cause__ or link.__context__
    return error


async def _watch_repeatedly(watch: Callable[[], Awaitable[Any]], frame: asyncio.Event) -> None:
    """Call one of CCXT's `watch_...` methods until it raises; then set the event."""
    try:
        while True:
            await watch()
    finally:
        frame.set()
