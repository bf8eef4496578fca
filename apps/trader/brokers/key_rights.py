"""Rights of the API key, read again while a trader runs, because a person may change them."""

import asyncio
import time
from concurrent.futures import Future

from onetape.core.errors import ExchangeError
from onetape.exchange.permissions import KeyNotAccepted, KeyPermissions
from onetape.exchange.trading import PrivateClient


class KeyRights:
    """The rights of one key, shared by all symbols of an account."""

    def __init__(self, client: PrivateClient) -> None:
        """Initialise with the rights that the start has read; later readings replace them.

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
        """Reason why the exchange refused the key at the account's last reading, or None."""

    @property
    def exchange(self) -> str:
        """Return the exchange of the key."""
        return self._client.endpoint.exchange

    def read_soon(self) -> None:
        """Request that the rights are read at the next check."""
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
            self._running = asyncio.run_coroutine_threadsafe(self._read_rights(), self._client.loop)

    async def _read_rights(self) -> None:
        try:
            self.found = await self._client.fetch_permissions()
        except ExchangeError:
            # The rights stay as they were read last. Readings of the account show whether the key
            # is accepted; they need no extra right.
            return
