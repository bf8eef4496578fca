"""One CCXT client with an API key: performs private calls, each once, and reads their failures.

The client has a separate connection and no rate limiter of CCXT's: an order waits behind no other
request.
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
    """The CCXT client of one API key. Use it as an async context manager.

    A caller in another thread's event loop waits there; the calls run in the loop of `async with`.
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
        """Prepare; nothing is requested yet.

        Args:
            endpoint: Endpoint of the exchange.
            credentials: Credentials of the account.
            now_ms: Returns the exchange's time, epoch milliseconds.
            timeout_ms: Timeout of one request.
            dialect: Form of private requests to the exchange; None: that of `DIALECTS`.

        Raises:
            UsageError: the private requests of the exchange are not known.
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
        # Prices and amounts stay the exchange's own digits.
        self._client.number = str
        point_client(self._client, endpoint)
        self._tap = RequestTap(self._client, self._stamp_ms)
        self._lane = asyncio.Lock()
        self._stamped_ms = 0
        self.now_ms = now_ms
        """Returns the exchange's time, epoch milliseconds."""
        self.symbols = set[str]()
        """Markets in which the account is traded by this client."""
        self._client_loop = ClientLoop(self._client, endpoint.exchange)

    async def __aenter__(self) -> Self:
        """Return the client; its connections belong to the event loop that runs now."""
        self._client_loop.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the requests that still run, and close the connections."""
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
        """Load the markets, without the key: no signed request is made for them.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        await self._client_loop.run(self._load_markets)

    async def perform(self, call: CcxtCall) -> CallResult:
        """Carry out a call once and return its result, which also holds any error of the call."""
        return await self._client_loop.run(lambda: self._perform(call))

    async def _perform(self, call: CcxtCall) -> CallResult:
        if not self.dialect.has_rising_nonces:
            return await self._tap.perform(call)
        # The second of two simultaneous requests may arrive first: the other would be refused.
        async with self._lane:
            return await self._tap.perform(call)

    def _stamp_ms(self) -> int:
        """Return the time for a request; one more than the last, where it must be higher."""
        now_ms = self.now_ms()
        if self.dialect.has_rising_nonces:
            now_ms = max(now_ms, self._stamped_ms + 1)
            self._stamped_ms = now_ms
        return now_ms

    async def read(self, call: CcxtCall) -> CallResult:
        """Carry out a call that changes nothing, once.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request; KeyNotAccepted: it does not accept
                the key.
        """
        result = await self.perform(call)
        if result.error is None:
            return result
        # After a good call CCXT takes an invalid key of Binance for too many requests.
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
        """Return the rows of a list and the response behind them.

        Raises:
            ExchangeUnreachable: no usable response: CCXT reads a page of HTML as an empty list.
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
        key, secret = self._client.apiKey, self._client.secret
        self._client.apiKey = self._client.secret = None
        try:
            with translating_ccxt_errors(self.endpoint.exchange):
                await self._client.load_markets()
        finally:
            self._client.apiKey, self._client.secret = key, secret
        if not self._client.markets:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an empty list of markets")
