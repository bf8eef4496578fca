"""The fraction of an exchange's public request rate for a reader; orders use the rest."""

import time
from typing import Final

from onetape.store.database import Store
from onetape.store.live_accounts import is_live_trader_running

#: Share of the request rate for a backfiller while a live trader runs on the same file.
SHARE_BESIDE_TRADER: Final = 0.5
#: Time for which a result read from the file is valid, seconds.
_FRESH_SECONDS: Final = 1.0


class RequestBudget:
    """The budget of one exchange; pass `share` to `RestExchange.share_budget`."""

    def __init__(self, store: Store, exchange: str) -> None:
        """Create the budget; the file is read with the first request.

        Args:
            store: The open database, with the lease and account of a live trader.
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
            self._share = SHARE_BESIDE_TRADER if is_running else 1.0
        return self._share
