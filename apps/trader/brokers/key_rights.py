"""What the API key may do, read again while a trader runs: a person may change it."""

import asyncio
import time
from concurrent.futures import Future

from onetape.core.errors import ExchangeError
from onetape.exchange.permissions import KeyNotAccepted, KeyPermissions
from onetape.exchange.trading import PrivateClient


class KeyRights:
    """The rights of one key, shared by all symbols of an account."""

    def __init__(self, client: PrivateClient) -> None:
        """Begin with the rights that the start has read; they are read again later.

        Args:
            client: CCXT client of the account; the requests run in its event loop.
        """
        self._client = client
        self._read = time.monotonic()
        self._is_soon = False
        self._running: Future[None] | None = None
        self.found: KeyPermissions | None = None
        """Rights of the key by the last reading; None: not read again since the start."""
        self.refusal: str | None = None
        """Why the exchange did not accept the key at the last reading of the account, or None."""

    @property
    def exchange(self) -> str:
        """Return the exchange of the key."""
        return self._client.endpoint.exchange

    def read_soon(self) -> None:
        """Request that the rights are read with the next look."""
        self._is_soon = True

    def note_accepted(self) -> None:
        """Note that the account was read with the key."""
        if self.refusal is not None:
            # The key may have other rights now.
            self.refusal, self._is_soon = None, True

    def note_refused(self, error: ExchangeError) -> None:
        """Note that the account could not be read; only a refusal of the key counts."""
        if isinstance(error, KeyNotAccepted):
            self.refusal = str(error)

    def look(self, every_seconds: float) -> None:
        """Read the rights again if it is time; the result arrives later in `found`.

        Args:
            every_seconds: Between two readings, wall seconds.
        """
        if self._running is not None and not self._running.done():
            return
        if self._is_soon or time.monotonic() - self._read >= every_seconds:
            self._is_soon, self._read = False, time.monotonic()
            self._running = asyncio.run_coroutine_threadsafe(self._ask(), self._client.loop)

    async def _ask(self) -> None:
        try:
            self.found = await self._client.permissions()
        except ExchangeError:
            # The rights stay as they were read last. Whether the key is accepted is decided by the
            # readings of the account, which need no right of their own.
            return
