"""The account's own events through CCXT Pro: orders, executions and changes of balances.

An exchange may lose an event, repeat it, or send it late. So an event proves nothing, and the
reader of events also reads the account itself from time to time. CCXT wakes no task for a frame
that comes between two calls, and returns rows that later frames change: here each frame wakes the
reader, which copies what is new out of CCXT's caches.
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

#: The longest pause before the stream is opened again, in addition to CCXT's between dials, wall
#: seconds.
LONGEST_PAUSE_SECONDS: Final = 10.0
#: Time in which the exchange must begin with events, wall seconds.
OPEN_SECONDS: Final = 10.0
_LONGEST_REASON: Final = 200


class UserStreamOpened(Struct, frozen=True):
    """Events arrive from now on; what happened before may be missing."""


class UserStreamLost(Struct, frozen=True):
    """No event arrives until the stream is open again."""

    reason: str


class OrderUpdate(Struct, frozen=True):
    """An order of the account, as the exchange had it at one moment."""

    order: OrderSnapshot


class TradeMade(Struct, frozen=True):
    """An execution of an order of the account."""

    trade: OwnTrade
    client_order_id: str | None
    """Client order id of the fill's order; None where no event has named it."""


class BalanceMoved(Struct, frozen=True):
    """A balance has changed, and not by an order: a deposit, a withdrawal, a transfer."""


UserEvent = UserStreamOpened | UserStreamLost | OrderUpdate | TradeMade | BalanceMoved


class UserStream:
    """The events of one account. Use it as an async context manager; it reconnects by itself."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        markets: Mapping[str, Any],
        *,
        now_ms: Callable[[], int],
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            endpoint: Endpoint of the exchange.
            credentials: Credentials of the account.
            markets: Markets as CCXT loaded them.
            now_ms: Returns the exchange's time, epoch milliseconds.
        """
        self._exchange = endpoint.exchange
        self._frame_event = asyncio.Event()
        client = make_guarded_client(endpoint, on_connected=self._frame_event.set)
        redact_client(client)
        client.apiKey, client.secret = credentials.key, credentials.secret
        client.password = credentials.password or None
        client.milliseconds = now_ms
        # Prices and amounts stay the exchange's own digits.
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
        """Begin to read in the background."""
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
        """Pass the events to a function, in the stream's event loop; thread-safe.

        The first one is `UserStreamOpened` where the stream is open already.
        """
        self._listeners.append(listener)
        if self.is_open:
            listener(UserStreamOpened())

    def reconnect(self, reason: str) -> None:
        """End the connection, because an event is missing on it; dial again."""
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
                # Any error inside CCXT: nothing depends on an event, and the next connection
                # is a new one.
                self._note_lost(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # CCXT cancels what waits for a socket that it closes.
                self._note_lost(NetworkError("CCXT closed the stream"))
            self.reconnect("the stream is opened again")
            await asyncio.sleep(pause.take_next_seconds())

    async def _open(self) -> None:
        if self._has_one_connection:
            # Before the response to this no event is sent.
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
        tasks = [asyncio.create_task(_keep(watch, self._frame_event)) for watch in watching]
        try:
            while True:
                await self._frame_event.wait()
                self._frame_event.clear()
                self._take()
                for task in tasks:
                    if task.done():
                        task.result()
                if not self._is_subscribed:
                    raise NetworkError("the exchange has ended the events")
                if client.connections != self._connections and self._has_one_connection:
                    # CCXT has dialled again by itself: the events in between are missing.
                    raise NetworkError("the connection has ended")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _has_one_connection(self) -> bool:
        """Return whether all events come on one connection that is open before they are read."""
        return self._client.id == "binance"

    @property
    def _is_subscribed(self) -> bool:
        """Return whether CCXT still has its subscription to the events.

        After Binance's `eventStreamTerminated` it has none, and wakes no task that waits for one.
        """
        if not self._has_one_connection:
            return True
        return any("spot" in one.subscriptions for one in self._client.clients.values())

    def _take(self) -> None:
        """Pass on what CCXT's caches have that was not passed on before, orders first."""
        client = self._client
        orders: dict[str, OrderSnapshot] = {}
        with translating_ccxt_errors(self._exchange):
            for row in client.orders or ():
                order = parse_order(row)
                orders[order.exchange_order_id] = order
            trades = {(row["symbol"], row["id"]): row for row in client.myTrades or ()}
            made = [parse_own_trade(row) for key, row in trades.items() if key not in self._trades]
        changed = [one for key, one in orders.items() if self._orders.get(key) != one]
        self._orders, self._trades = orders, set(trades)
        for order in changed:
            self._emit(OrderUpdate(order))
        for trade in made:
            order = orders.get(trade.exchange_order_id)
            self._emit(TradeMade(trade, None if order is None else order.client_order_id))
        self._note_balances()

    def _note_balances(self) -> None:
        """Pass on that a balance has changed by something else than an order."""
        balances: dict[str, Any] = self._client.balance
        for account, balance in balances.items():
            # CCXT keeps the last event.
            event = get_fields(get_fields(balance).get("info"))
            if not event or event == self._balance_events.get(account):
                continue
            self._balance_events[account] = event
            if event.get("e") != "outboundAccountPosition":
                self._emit(BalanceMoved())

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
    """Return the exchange's own error: CCXT may fail over it while it cleans up."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, BaseError):
            return link
        link = link.__cause__ or link.__context__
    return error


async def _keep(watch: Callable[[], Awaitable[Any]], frame: asyncio.Event) -> None:
    """Wait for one of CCXT's streams again and again; its error ends the connection."""
    try:
        while True:
            await watch()
    finally:
        frame.set()
