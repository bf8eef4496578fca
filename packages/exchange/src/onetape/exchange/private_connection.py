"""One CCXT client with an API key, which sends each private request once.

The client has its own connection and does not use CCXT's rate limiter, so that an order never
waits for another request. `AccountReader` and `PrivateClient` build on it.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import ccxt.async_support as ccxt_async

from onetape.core.errors import ExchangeUnreachable
from onetape.exchange.ccxt_errors import translating_ccxt_errors
from onetape.exchange.client_loop import ClientLoop
from onetape.exchange.clients import Endpoint, make_client_settings, point_client
from onetape.exchange.dialects import Dialect, get_dialect
from onetape.exchange.order_calls import CcxtCall
from onetape.exchange.outcomes import Unknown, read_list
from onetape.exchange.permissions import KeyNotAccepted
from onetape.exchange.proven_refusals import find_proven_refusal
from onetape.exchange.redaction import redact_client
from onetape.exchange.request_tap import CallResult, RequestTap
from onetape.exchange.trading_records import Credentials

#: Time limit of one private request, milliseconds.
TIMEOUT_MS: Final = 5_000


class PrivateConnection:
    """The CCXT client of one API key. Use it in `async with`.

    All calls run in the event loop of `async with`; a caller in the event loop of another thread
    waits in its own loop.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        now_ms: Callable[[], int],
        timeout_ms: int = TIMEOUT_MS,
        dialect: Dialect | None = None,
    ) -> None:
        """Initialise; no request is sent.

        Args:
            endpoint: Endpoint of the exchange.
            credentials: Credentials of the account.
            now_ms: Function that returns the exchange's time, epoch milliseconds.
            timeout_ms: Time limit of one request, milliseconds.
            dialect: Dialect of the exchange; None: its entry in `DIALECTS`.

        Raises:
            UsageError: the exchange has no entry in `DIALECTS`.
        """
        self.endpoint = endpoint
        self.dialect = dialect or get_dialect(endpoint.exchange)
        settings = make_client_settings(endpoint)
        settings |= {
            "apiKey": credentials.key,
            "secret": credentials.secret,
            "password": credentials.password or None,
            "timeout": timeout_ms,
            "enableRateLimit": False,
            "maxRetriesOnFailure": 0,
        }
        settings["options"] |= self.dialect.client_options
        self._client: Any = getattr(ccxt_async, endpoint.ccxt_class)(settings)
        redact_client(self._client)
        # CCXT returns prices and amounts as texts, with the exchange's own digits.
        self._client.number = str
        point_client(self._client, endpoint)
        self._tap = RequestTap(self._client, self._stamp_ms)
        self._one_at_a_time = asyncio.Lock()
        self._stamped_ms = 0
        self.now_ms = now_ms
        """Function that returns the exchange's time, epoch milliseconds."""
        self.symbols = set[str]()
        """Markets in which this client trades."""
        self._client_loop = ClientLoop(self._client, endpoint.exchange)

    async def __aenter__(self) -> Self:
        """Return the client, whose connections belong to the running event loop."""
        self._client_loop.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the running requests, and close the connections."""
        await self._client_loop.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that the connections belong to."""
        return self._client_loop.loop

    @property
    def markets(self) -> Mapping[str, Any]:
        """Return the markets, as CCXT has loaded them."""
        return self._client.markets or {}

    async def load_markets(self) -> None:
        """Load the markets with requests that do not contain the key.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        await self._client_loop.run(self._load_markets)

    async def perform(self, call: CcxtCall) -> CallResult:
        """Perform a call once; an error of the call is part of the result, not raised."""
        return await self._client_loop.run(lambda: self._perform(call))

    async def _perform(self, call: CcxtCall) -> CallResult:
        if not self.dialect.has_rising_nonces:
            return await self._tap.perform(call)
        # Of two simultaneous requests the second may arrive first; the other would be refused.
        async with self._one_at_a_time:
            return await self._tap.perform(call)

    def _stamp_ms(self) -> int:
        """Return the time for a request; higher than the last one, if the dialect needs that."""
        now_ms = self.now_ms()
        if self.dialect.has_rising_nonces:
            now_ms = max(now_ms, self._stamped_ms + 1)
            self._stamped_ms = now_ms
        return now_ms

    async def read(self, call: CcxtCall) -> CallResult:
        """Perform a call that changes nothing at the exchange, once; return its result.

        Raises:
            ExchangeUnreachable: no usable response.
            KeyNotAccepted: the exchange does not accept the key.
            ExchangeRefused: the exchange refused the request.
        """
        result = await self.perform(call)
        if result.error is None:
            return result
        # After a successful call, CCXT reports an invalid key of Binance as too many requests.
        refused = find_proven_refusal(
            self.endpoint.exchange, result.record.status, result.record.body
        )
        if refused is not None and refused.kind == "key":
            raise KeyNotAccepted(
                f"{self.endpoint.exchange} does not accept the API key: {refused.reason} "
                f"({refused.code})"
            ) from result.error
        with translating_ccxt_errors(self.endpoint.exchange):
            raise result.error

    async def read_rows(self, call: CcxtCall) -> tuple[list[Mapping[str, Any]], CallResult]:
        """Perform a call that returns a list, once; return the rows and the result of the call.

        Raises:
            ExchangeUnreachable: no usable response; CCXT returns an empty list for a page of HTML.
            ExchangeRefused: the exchange refused the request.
        """
        result = await self.read(call)
        rows = read_list(call, result)
        if isinstance(rows, Unknown):
            raise ExchangeUnreachable(
                f"{self.endpoint.exchange} sent a response without data: {rows.reason}"
            )
        return rows, result

    async def _load_markets(self) -> None:
        """Load the markets without credentials, which this request does not need."""
        key, secret = self._client.apiKey, self._client.secret
        self._client.apiKey = self._client.secret = None
        try:
            with translating_ccxt_errors(self.endpoint.exchange):
                await self._client.load_markets()
        finally:
            self._client.apiKey, self._client.secret = key, secret
        if not self._client.markets:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an empty list of markets")
