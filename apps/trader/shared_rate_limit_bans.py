"""Rate limit bans of an exchange, shared by all processes on a database.

An exchange counts the requests of one address, for all programs together. So a ban that one process
gets is stored, and no other process sends requests until it is over.
"""

from pathlib import Path

from onetape.core.errors import ConfigurationError, StoreError
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import Store, open_if_exists
from onetape.store.rate_limit_bans import read_latest_rate_limit_ban, save_rate_limit_ban


class SharedRateLimitBans:
    """The bans of one exchange, for `RestExchange.share_rate_limit_bans`; used by one thread.

    It has its own connection to the database, which never waits: if the file is locked or missing,
    a ban stays in memory, and is stored when the file can be written.
    """

    def __init__(self, database: Path, exchange: str) -> None:
        """Initialise; the file is opened once it exists.

        Args:
            database: Path of the database file.
            exchange: CCXT exchange id.
        """
        self._database = database
        self._exchange = exchange
        self._store: Store | None = None
        self._own: RateLimitBan | None = None
        """Latest ban that this process got; None: none."""
        self._unwritten: RateLimitBan | None = None
        """Ban that could not be stored yet, or None."""

    def find_latest(self) -> RateLimitBan | None:
        """Return the ban with the latest end, of any process, over or not; None: there was none."""
        try:
            store = self._open_store()
            stored = (
                read_latest_rate_limit_ban(store, self._exchange) if store is not None else None
            )
            if store is not None and self._unwritten is not None:
                self._write(store, self._unwritten)
        except (StoreError, ConfigurationError):
            # The session reports the fault of the file, because it depends on the file.
            stored = None
        own = self._own
        return own if own is not None and own.replaces(stored) else stored

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban of this process, unless an earlier one ends later."""
        if not ban.replaces(self._own):
            return
        self._own = self._unwritten = ban
        try:
            store = self._open_store()
            if store is not None:
                self._write(store, self._own)
        except (StoreError, ConfigurationError):
            # It is stored at the next call of `find_latest`.
            return

    def close(self) -> None:
        """Close the connection."""
        if self._store is not None:
            self._store.close()

    def _write(self, store: Store, ban: RateLimitBan) -> None:
        save_rate_limit_ban(store, self._exchange, ban)
        self._unwritten = None

    def _open_store(self) -> Store | None:
        if self._store is None:
            self._store = open_if_exists(self._database)
            if self._store is not None:
                self._store.lock_timeout_seconds = 0.0
                # The few writes of bans are made in the main thread, which waits for no disk.
                self._store.set_log_watch(lambda pages: None)
        return self._store
