"""Limit the request rate of a backfiller while a live trader runs on the same database.

The exchange counts the requests of both together, and orders must not be refused for the rate.
"""

import time
from typing import Final

from onetape.store.database import Store
from onetape.store.live_accounts import is_live_trader_running

#: Fraction of the exchange's request rate that a backfiller uses while a live trader runs.
SHARE_WITH_LIVE_TRADER: Final = 0.5
#: Time after which the leases of traders are read again, seconds.
_FRESH_SECONDS: Final = 1.0


class RequestBudget:
    """The fraction of the request rate for one exchange; pass `share` to `share_budget`."""

    def __init__(self, store: Store, exchange: str) -> None:
        """Initialise; the database is read with the first request.

        Args:
            store: The open database, in which live traders store their accounts and leases.
            exchange: CCXT exchange id.
        """
        self._store = store
        self._exchange = exchange
        self._read = -1e9
        self._share = 1.0

    def share(self) -> float:
        """Return the fraction of the request rate that may be used now, over 0 and at most 1.

        Raises:
            StoreError: the file cannot be read.
        """
        now = time.monotonic()
        if now - self._read >= _FRESH_SECONDS:
            self._read = now
            wall_ms = time.time_ns() // 1_000_000
            is_running = is_live_trader_running(self._store, self._exchange, wall_ms)
            self._share = SHARE_WITH_LIVE_TRADER if is_running else 1.0
        return self._share
