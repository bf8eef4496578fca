"""Silences kept in the store: every process on the file obeys them."""

from onetape.store.database import Store
from onetape.store.silences import silence, silent_until_ms


class StoredSilences:
    """The silences of one exchange; give it to `RestExchange.share_silences`."""

    def __init__(self, store: Store, exchange: str) -> None:
        """Keep the silences of an exchange (CCXT id) in an open store."""
        self._store = store
        self._exchange = exchange

    def until_ms(self) -> int | None:
        """Return the end (epoch milliseconds, computer's time), past or not, or None."""
        return silent_until_ms(self._store, self._exchange)

    def extend(self, until_ms: int, reason: str) -> None:
        """Be silent until then at least.

        Raises:
            StoreError: the file cannot be written.
        """
        silence(self._store, self._exchange, until_ms=until_ms, reason=reason)
