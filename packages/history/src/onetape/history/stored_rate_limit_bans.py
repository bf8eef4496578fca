"""Rate limit bans in the store: every process on the file obeys them."""

from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import Store
from onetape.store.rate_limit_bans import read_latest_rate_limit_ban, save_rate_limit_ban


class StoredRateLimitBans:
    """The rate limit bans of one exchange; pass it to `RestExchange.share_rate_limit_bans`."""

    def __init__(self, store: Store, exchange: str) -> None:
        """Keep the bans of an exchange (CCXT id) in an open store."""
        self._store = store
        self._exchange = exchange

    def latest(self) -> RateLimitBan | None:
        """Return the ban that ends last, past or not, or None."""
        return read_latest_rate_limit_ban(self._store, self._exchange)

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban; one that ends later stays.

        Raises:
            StoreError: the file cannot be written.
        """
        save_rate_limit_ban(self._store, self._exchange, ban)
