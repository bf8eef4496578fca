"""Rate limit bans in the store: every process on the file obeys them."""

from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import Store
from onetape.store.rate_limit_bans import read_latest_rate_limit_ban, save_rate_limit_ban


class StoredRateLimitBans:
    """The rate limit bans of one exchange; pass it to `RestExchange.share_rate_limit_bans`."""

    def __init__(self, store: Store, exchange: str) -> None:
        """Initialise for an exchange (CCXT id) and an open store."""
        self._store = store
        self._exchange = exchange

    def find_latest(self) -> RateLimitBan | None:
        """Return the ban with the latest end, over or not, or None."""
        return read_latest_rate_limit_ban(self._store, self._exchange)

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban, unless the stored one ends later.

        Raises:
            StoreError: the file cannot be written.
        """
        save_rate_limit_ban(self._store, self._exchange, ban)
