"""Share the rate limit bans of an exchange between processes, over the database.

`exchange` may not import `store`, so this class is passed to the exchange.
"""

from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import Store
from onetape.store.rate_limit_bans import read_latest_rate_limit_ban, save_rate_limit_ban


class StoredRateLimitBans:
    """The stored rate limit bans of one exchange, for `RestExchange.share_rate_limit_bans`."""

    def __init__(self, store: Store, exchange: str) -> None:
        """Initialise for an exchange (CCXT id) and an open store."""
        self._store = store
        self._exchange = exchange

    def find_latest(self) -> RateLimitBan | None:
        """Return the stored ban, even if it is over; None: no ban yet."""
        return read_latest_rate_limit_ban(self._store, self._exchange)

    def extend(self, ban: RateLimitBan) -> None:
        """Store a ban, unless the stored one ends later.

        Raises:
            StoreError: the file cannot be written.
        """
        save_rate_limit_ban(self._store, self._exchange, ban)
