"""Perform CCXT calls of private requests, and record the exchange's raw responses.

A request states the time of its intent if its dialect needs that, so that a request that a
suspended process sends late has no effect. Nothing is repeated here.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from onetape.exchange.order_calls import CcxtCall


@dataclass(slots=True)
class RequestRecord:
    """The HTTP request of one call and its response, without secrets."""

    is_sent: bool = False
    """Whether a request was passed to the network; False: it never reached the exchange."""
    http_method: str = ""
    """Method of the request, such as POST; empty: no request."""
    status: int | None = None
    """HTTP status of the response; None: no response."""
    body: str = ""
    """Body of the response."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """Result of a call: a value or an error, with the response."""

    value: Any
    """Value that CCXT returned; None after an error."""
    error: Exception | None
    """Error that CCXT raised; None: it raised none."""
    record: RequestRecord
    """The request and its response."""


@dataclass(frozen=True, slots=True)
class _RunningRequest:
    call: CcxtCall
    record: RequestRecord


class RequestTap:
    """Records the requests and responses of a CCXT client, separately for each call."""

    def __init__(self, client: Any, market_ms: Callable[[], int]) -> None:
        """Replace the client's methods for time, signature, request and response.

        Args:
            client: Client of CCXT's asynchronous classes, used for private requests only.
            market_ms: Function that returns the exchange's time, epoch milliseconds.
        """
        self.client = client
        self._market_ms = market_ms
        self._sign: Callable[..., dict[str, Any]] = client.sign
        self._fetch: Callable[..., Awaitable[Any]] = client.fetch
        # Several tasks use the client at once, and CCXT stores only the last response.
        self._running: Final[ContextVar[_RunningRequest | None]] = ContextVar(
            "running", default=None
        )
        client.milliseconds = self._get_request_ms
        client.sign = self._sign_request
        client.fetch = self._fetch_response
        client.on_rest_response = self._record_response

    async def perform(self, call: CcxtCall) -> CallResult:
        """Perform a call once; an error of the call is part of the result, not raised."""
        record = RequestRecord()
        token = self._running.set(_RunningRequest(call, record))
        try:
            method: Callable[..., Awaitable[Any]] = getattr(self.client, call.method)
            # A copy, because CCXT changes the parameters.
            value = await method(*call.args, params=dict(call.params))
        except Exception as error:
            return CallResult(None, error, record)
        finally:
            self._running.reset(token)
        return CallResult(value, None, record)

    def _get_request_ms(self) -> int:
        running = self._running.get()
        if running is not None and running.call.is_pinned and running.call.window is not None:
            return running.call.window.intended_ms
        return self._market_ms()

    def _sign_request(self, *args: Any, **named: Any) -> dict[str, Any]:
        request = self._sign(*args, **named)
        running = self._running.get()
        if running is not None and running.call.headers:
            request["headers"] = {**(request.get("headers") or {}), **running.call.headers}
        return request

    async def _fetch_response(
        self, url: str, method: str = "GET", headers: Any = None, body: Any = None
    ) -> Any:
        running = self._running.get()
        if running is not None:
            running.record.is_sent = True
            running.record.http_method = method
        return await self._fetch(url, method, headers, body)

    def _record_response(
        self,
        status: int,
        reason: str,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: str,
        *request: object,
    ) -> str:
        """Implement CCXT's hook `on_rest_response`: called with each response, returns the body."""
        del reason, url, method, headers, request
        running = self._running.get()
        if running is not None:
            running.record.status = status
            running.record.body = body
        return body.strip()
