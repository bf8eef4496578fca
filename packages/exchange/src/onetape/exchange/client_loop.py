"""Run the requests of a CCXT client in one event loop, and close the client safely.

The connections of a client belong to one event loop; requests of other threads are passed to it.
CCXT opens its connections again if a request comes after they were closed, and nothing would close
them then. So `close` waits for the end of all requests, and later ones are refused.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from onetape.core.errors import ExchangeUnreachable

T = TypeVar("T")

#: Time after which a request that swallowed its cancellation is cancelled again, seconds.
CANCEL_AGAIN_SECONDS: Final = 0.5


class ClientLoop:
    """The event loop of a client's connections; requests may come from other threads."""

    def __init__(self, client: Any, exchange: str) -> None:
        """Initialise; no request is sent.

        Args:
            client: Client of CCXT's asynchronous classes.
            exchange: CCXT exchange id, for the text of an error.
        """
        self._client = client
        self._exchange = exchange
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: list[asyncio.Task[Any]] = []
        """The task of each running request."""
        self._request_ended = asyncio.Event()
        self._is_closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that the connections belong to."""
        return self._loop or asyncio.get_running_loop()

    def begin(self) -> None:
        """Make the running event loop the one of the connections, and accept requests."""
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    async def run(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a request, which runs in the loop of the connections.

        A caller in the event loop of another thread waits in its own loop.

        Args:
            request: Function that sends the request.

        Raises:
            ExchangeUnreachable: the client is closed.
        """
        running = self._run(request)
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return await running
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(running, self._loop))

    async def _run(self, request: Callable[[], Awaitable[T]]) -> T:
        """Await a request in the loop of the connections; `close` can cancel it."""
        if self._is_closed:
            raise ExchangeUnreachable(f"the connections to {self._exchange} are closed")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._requests.append(task)
        try:
            return await request()
        finally:
            self._requests.remove(task)
            self._request_ended.set()

    async def close(self) -> None:
        """Cancel the running requests, wait until they have ended, and close the connections."""
        self._is_closed = True
        while self._requests:
            self._request_ended.clear()
            for task in self._requests:
                task.cancel()
            # Python 3.11's `wait_for`, which CCXT uses, may swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_AGAIN_SECONDS):
                    await self._request_ended.wait()
        await self._client.close()
