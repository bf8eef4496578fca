"""CCXT's private REST calls: orders, own trades and balances. An order is sent once, never again.

A client and a connection of its own, without CCXT's rate limiter: an order waits behind no other
request. What an answer means is decided here: an order is refused where the exchange itself says
so with an error code that leaves no doubt; every other failure leaves its fate unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import ccxt
import ccxt.async_support as ccxt_async

from onetape.core.errors import ConfigurationError, ExchangeUnreachable
from onetape.core.steps import decimal_text
from onetape.exchange.clients import Endpoint, client_settings, redirect
from onetape.exchange.permissions import PERMISSION_CALLS, KeyPermissions, permissions_in
from onetape.exchange.redaction import redact_client
from onetape.exchange.refusals import refusal_in
from onetape.exchange.trading_records import (
    Balance,
    Credentials,
    OrderRefused,
    OrderRequest,
    OrderSnapshot,
    OrderUnknown,
    OwnTrade,
    fields_of,
    order_of,
    own_order,
    trade_of,
)
from onetape.exchange.translate import translated

T = TypeVar("T")

#: How long one private request may take, milliseconds.
TIMEOUT_MS: Final = 5_000
#: An order that arrives later than this after its timestamp is refused by the exchange (-1021).
RECEIVE_WINDOW_MS: Final = 3_000
#: Own trades that one request returns at most.
TRADES_PER_PAGE: Final = 500
#: Codes of Binance that say that there is no such order.
_NO_SUCH_ORDER: Final = frozenset({-2013})
_LONGEST_REASON: Final = 200


class Reply:
    """HTTP status, text and document of the last answer of one call."""

    status: int | None = None
    body: str = ""
    document: object = None

    @property
    def code(self) -> int | None:
        """Return the error code that the exchange sent as JSON, or None."""
        found = fields_of(self.document).get("code")
        return found if isinstance(found, int) and not isinstance(found, bool) else None


_REPLY: ContextVar[Reply | None] = ContextVar("reply", default=None)


class PrivateClient:
    """The account of one API key. Use it as an async context manager.

    A caller in another thread's event loop waits there; the calls run in the loop of `async with`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        now_ms: Callable[[], int],
        timeout_ms: int = TIMEOUT_MS,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            endpoint: Which exchange.
            credentials: Of the account.
            now_ms: Returns the exchange's time, epoch milliseconds.
            timeout_ms: How long one request may take.
        """
        settings = client_settings(endpoint)
        settings |= {
            "apiKey": credentials.key,
            "secret": credentials.secret,
            "timeout": timeout_ms,
            "enableRateLimit": False,
            "maxRetriesOnFailure": 0,
        }
        self.endpoint = endpoint
        self._now_ms = now_ms
        self._client: Any = _client_class(endpoint.ccxt_class)(settings)
        redact_client(self._client)
        # Prices and amounts stay the exchange's own digits.
        self._client.number = str
        self._client.milliseconds = now_ms
        if endpoint.simulator_url is not None:
            redirect(self._client.urls["api"], endpoint.simulator_url)
            self._client.timeout_on_exit = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Return the client; its connections belong to the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._client.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that the connections belong to."""
        return self._loop or asyncio.get_running_loop()

    async def load_markets(self) -> None:
        """Load the markets, without the key: no signed request is made for them.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        await self._ask(self._load_markets)

    async def submit(self, request: OrderRequest) -> OrderSnapshot:
        """Send an order, once; return it as the exchange has taken it.

        Raises:
            OrderRefused: the exchange has refused it, or it was never sent.
            OrderUnknown: it may exist or not; look it up, and never send it again.
        """
        params: dict[str, Any] = {
            "clientOrderId": request.client_order_id,
            "timestamp": request.timestamp_ms,
            "recvWindow": RECEIVE_WINDOW_MS,
        }
        if request.stop_price is not None:
            params["stopLossPrice"] = decimal_text(request.stop_price)
        amount = decimal_text(request.amount)

        async def send() -> OrderSnapshot:
            sent = await self._client.create_order(
                request.symbol, "market", request.side, amount, None, params
            )
            return own_order(sent, request.client_order_id)

        return await self._act(send)

    async def cancel(self, symbol: str, client_order_id: str) -> OrderSnapshot:
        """Cancel an open order; return it as it ended.

        Raises:
            OrderRefused: the exchange has not cancelled it; it may be filled, or not exist.
            OrderUnknown: it may be cancelled or not; look it up.
        """

        async def send() -> OrderSnapshot:
            ended = await self._client.cancel_order("", symbol, {"clientOrderId": client_order_id})
            return own_order(ended, client_order_id)

        return await self._act(send)

    async def look_up(self, symbol: str, client_order_id: str) -> OrderSnapshot | None:
        """Return an order by its client order id; None where the exchange says there is none.

        Raises:
            ExchangeUnreachable: no usable answer, which proves nothing.
            ExchangeRefused: the exchange answered no, which proves nothing either.
        """

        async def ask() -> OrderSnapshot | None:
            try:
                found = await self._client.fetch_order(
                    "", symbol, {"clientOrderId": client_order_id}
                )
            except ccxt.OrderNotFound:
                reply = _REPLY.get()
                if reply is not None and reply.code in _NO_SUCH_ORDER:
                    return None
                raise
            return own_order(found, client_order_id)

        return await self._ask(ask)

    async def look_up_number(self, symbol: str, exchange_order_id: str) -> OrderSnapshot:
        """Return an order by the exchange's own id, which an execution of it names.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """

        async def ask() -> OrderSnapshot:
            return order_of(await self._client.fetch_order(exchange_order_id, symbol))

        return await self._ask(ask)

    async def open_orders(self, symbol: str) -> tuple[OrderSnapshot, ...]:
        """Return the open orders of the account in one market.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """

        async def ask() -> tuple[OrderSnapshot, ...]:
            rows = await self._client.fetch_open_orders(symbol)
            return tuple(order_of(row) for row in self._list(rows))

        return await self._ask(ask)

    async def fills_since(
        self, symbol: str, *, since_ms: int | None = None, from_id: str | None = None
    ) -> tuple[OwnTrade, ...]:
        """Return the account's executions in one market, oldest first, page by page.

        Args:
            symbol: The market.
            since_ms: From this exchange time on, where `from_id` is None.
            from_id: From this trade id on, inclusive.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        found: dict[str, OwnTrade] = {}
        cursor = from_id
        while True:
            page = await self._ask(partial(self._fill_page, symbol, since_ms, cursor))
            fresh = [trade for trade in page if trade.trade_id not in found]
            found.update((trade.trade_id, trade) for trade in fresh)
            if len(page) < TRADES_PER_PAGE or not fresh:
                return tuple(found.values())
            cursor = page[-1].trade_id

    async def fills_of(self, symbol: str, exchange_order_id: str) -> tuple[OwnTrade, ...]:
        """Return the executions of one order.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """

        async def ask() -> tuple[OwnTrade, ...]:
            rows = await self._client.fetch_my_trades(
                symbol, None, TRADES_PER_PAGE, {"orderId": exchange_order_id}
            )
            return tuple(trade_of(row) for row in self._list(rows))

        return await self._ask(ask)

    async def balances(self) -> dict[str, Balance]:
        """Return what the account has, by currency; currencies without any are left out.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """

        async def ask() -> dict[str, Balance]:
            found: dict[str, Any] = await self._client.fetch_balance()
            if not isinstance(fields_of(found.get("info")).get("balances"), list):
                raise ExchangeUnreachable(f"{self.endpoint.exchange} sent no balances")
            used = found["used"]
            every = {
                name: Balance(Decimal(free), Decimal(used[name] or 0))
                for name, free in found["free"].items()
            }
            return {name: balance for name, balance in every.items() if balance.total}

        return await self._ask(ask)

    async def account_id(self) -> str:
        """Return the exchange's own id of the account, the same for each of its keys.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
            ConfigurationError: the exchange does not say whose the key is.
        """

        async def ask() -> str:
            found = await self._client.private_get_account({"omitZeroBalances": "true"})
            uid = fields_of(found).get("uid")
            if uid is None:
                raise ConfigurationError(
                    f"{self.endpoint.exchange} does not say which account the key belongs to"
                )
            return str(uid)

        return await self._ask(ask)

    async def permissions(self) -> KeyPermissions:
        """Return what the key may do; nothing is known where the exchange has no such question.

        Raises:
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no: the key is not valid, for example.
        """
        name = self.endpoint.ccxt_class
        call = PERMISSION_CALLS.get(name)
        if call is None:
            return KeyPermissions(None, None)

        async def ask() -> KeyPermissions:
            return permissions_in(name, await getattr(self._client, call)())

        return await self._ask(ask)

    async def server_ms(self) -> int:
        """Return the exchange's own time, fetched now, epoch milliseconds.

        Raises:
            ExchangeUnreachable: no usable answer.
        """

        async def ask() -> int:
            return int(await self._client.fetch_time())

        return await self._ask(ask)

    async def _load_markets(self) -> None:
        key, secret = self._client.apiKey, self._client.secret
        self._client.apiKey = self._client.secret = None
        try:
            await self._client.load_markets()
        finally:
            self._client.apiKey, self._client.secret = key, secret
        if not self._client.markets:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an empty list of markets")

    async def _fill_page(
        self, symbol: str, since_ms: int | None, from_id: str | None
    ) -> list[OwnTrade]:
        params = {} if from_id is None else {"fromId": from_id}
        since = since_ms if from_id is None else None
        rows = await self._client.fetch_my_trades(symbol, since, TRADES_PER_PAGE, params)
        return [trade_of(row) for row in self._list(rows)]

    def _list(self, rows: Any) -> list[Any]:
        """Return CCXT's rows where the exchange sent a list: CCXT reads HTML as an empty one."""
        reply = _REPLY.get()
        if reply is None or not isinstance(reply.document, list):
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an answer without data")
        return rows

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what a read returns; it is tried once."""

        async def asked() -> T:
            _REPLY.set(Reply())
            with translated(self.endpoint.exchange):
                return await ask()

        return await self._in_loop(asked)

    async def _act(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return what a request returns that changes something; it is sent once."""

        async def acted() -> T:
            reply = Reply()
            _REPLY.set(reply)
            try:
                return await act()
            except OrderUnknown:
                raise
            except Exception as error:
                raise _classified(self.endpoint.exchange, error, reply) from error

        return await self._in_loop(acted)

    async def _in_loop(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run in a task of the client's loop: the reply belongs to this call alone."""
        loop = self.loop

        async def run() -> T:
            return await work()

        if loop is asyncio.get_running_loop():
            return await asyncio.create_task(run())
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))


def _client_class(name: str) -> Any:
    """Return CCXT's class, which notes status and document of each answer for its caller."""
    base: Any = getattr(ccxt_async, name)

    def handle_errors(self: Any, code: int, *rest: Any) -> Any:
        reply = _REPLY.get()
        if reply is not None:
            # Reason, address, method and headers come before the text of the answer.
            reply.status, reply.body, reply.document = code, rest[4], rest[5]
        return base.handle_errors(self, code, *rest)

    return type(base.__name__, (base,), {"handle_errors": handle_errors})


def _classified(exchange: str, error: Exception, reply: Reply) -> OrderRefused | OrderUnknown:
    """Return whether a request that failed was certainly not carried out."""
    reason = " ".join(str(error).split())[:_LONGEST_REASON]
    if reply.status is None and isinstance(error, ccxt.InvalidOrder | ccxt.ArgumentsRequired):
        return OrderRefused(f"CCXT refused it before it was sent: {reason}")
    refused = refusal_in(exchange, reply.status, reply.body)
    if refused is not None:
        return OrderRefused(f"{refused.reason} ({refused.code})", reply.code)
    return OrderUnknown(f"{type(error).__name__}: {reason}")
