"""`RunDatabase`: the database of a backfiller run.

An existing file is opened and checked before any request. A new one is created only when the first
candles are to be stored, so that a failed run leaves no empty file.
"""

from pathlib import Path

from onetape.core.errors import OnetapeError
from onetape.exchange.rest import RestExchange
from onetape.history.request_budget import RequestBudget
from onetape.history.stored_rate_limit_bans import StoredRateLimitBans
from onetape.store.candles import ensure_store_kind
from onetape.store.database import Store, open_if_exists, open_store


class RunDatabase:
    """The database file of a run; all series use one connection to it."""

    def __init__(self, path: Path, exchange: str, store: Store | None = None) -> None:
        """Open the database file if it exists.

        Args:
            path: The database.
            exchange: One of the exchanges whose candles the file shall hold; the simulator's have a
                separate file.
            store: The open file, which the caller closes; None: the file is opened here.

        Raises:
            StoreError: the file is damaged, no Onetape database, or holds candles of the other
                kind.
        """
        self._path = path
        self._unshared: list[RestExchange] = []
        """Exchanges whose bans and budget are shared once the file exists."""
        self._closes_store = store is None
        self.store: Store | None = store or open_if_exists(path)
        """The open database; None: the file does not exist yet."""
        try:
            if self.store is not None:
                ensure_store_kind(self.store, exchange)
        except OnetapeError:
            self.close()
            raise

    def __enter__(self) -> "RunDatabase":
        """Return the database itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database file if it was opened here."""
        self.close()

    def get_or_open_store(self) -> Store:
        """Return the open file; a file that does not exist is created.

        Raises:
            StoreError: the file cannot be used.
            ConfigurationError: the file cannot be created.
        """
        if self.store is None:
            self.store = open_store(self._path, create=True)
            for exchange in self._unshared:
                self.share_rate_limit_bans(exchange)
        return self.store

    def share_rate_limit_bans(self, exchange: RestExchange) -> None:
        """Share the rate limit bans and the request budget of an exchange through the file.

        All processes that use the file obey them. Without a file, this happens once it is created.
        """
        if self.store is None:
            self._unshared.append(exchange)
        else:
            name = exchange.endpoint.exchange
            exchange.share_rate_limit_bans(StoredRateLimitBans(self.store, name))
            exchange.share_budget(RequestBudget(self.store, name).share)

    def close(self) -> None:
        """Close the database file if it was opened here."""
        if self.store is not None and self._closes_store:
            self.store.close()
