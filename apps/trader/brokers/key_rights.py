"""The rights of the API key, read again while a trader runs, because a person may change them."""

import asyncio
import time
from concurrent.futures import Future

from onetape.core.errors import ExchangeError
from onetape.exchange.permissions import KeyNotAccepted, KeyPermissions
from onetape.exchange.trading import PrivateClient


class KeyRights:
    """The rights of one key, shared by all symbols of an account."""

    def __init__(self, client: PrivateClient) -> None:
        """Initialise; the rights were read at the start just now.

        Args:
            client: CCXT client of the account; the requests run in its event loop.
        """
        self._client = client
        self._read = time.monotonic()
        """Time of the last request, monotonic seconds."""
        self._is_due = False
        """Whether the next check requests the rights, however short ago the last request is."""
        self._running: Future[None] | None = None
        self.found: KeyPermissions | None = None
        """Rights of the key by the last reading; None: not read again since the start."""
        self.refusal: str | None = None
        """Reason why the exchange refused the key at the account's last reading, or None."""

    @property
    def exchange(self) -> str:
        """Return the id of the exchange of the key."""
        return self._client.endpoint.exchange

    def read_soon(self) -> None:
        """Let the next check read the rights, because they may have changed."""
        self._is_due = True

    def note_accepted(self) -> None:
        """Note that the account was read with the key."""
        if self.refusal is not None:
            # The key may have other rights now.
            self.refusal, self._is_due = None, True

    def note_refused(self, error: ExchangeError) -> None:
        """Note that the account could not be read; an error other than a refused key is ignored."""
        if isinstance(error, KeyNotAccepted):
            self.refusal = str(error)

    def read_if_due(self, every_seconds: float) -> None:
        """Begin to read the rights again if that is due; the result arrives later in `found`.

        Args:
            every_seconds: Time between two readings, wall seconds.
        """
        if self._running is not None and not self._running.done():
            return
        if self._is_due or time.monotonic() - self._read >= every_seconds:
            self._is_due, self._read = False, time.monotonic()
            self._running = asyncio.run_coroutine_threadsafe(self._read_rights(), self._client.loop)

    async def _read_rights(self) -> None:
        try:
            self.found = await self._client.fetch_permissions()
        except ExchangeError:
            # The last rights stay. Whether the key is accepted at all is shown by readings of the
            # account, which need no extra right.
            return
