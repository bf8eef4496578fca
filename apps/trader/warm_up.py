"""Fetch the candles of the first decision over REST: only decisions wait for them.

Orders at an exchange, stops and pending exits go on while the exchange returns no candles.
"""

import asyncio
import importlib

from trader.gap_backfiller import GapBackfiller


class WarmUp:
    """Fetches the candles that the first decision needs, until that works once."""

    def __init__(self, gap_backfiller: GapBackfiller, since: int | None) -> None:
        """Initialise; nothing is fetched yet.

        Args:
            gap_backfiller: Fetches them.
            since: Also all candles from this one on, epoch seconds; None: no others.
        """
        self._gap_backfiller = gap_backfiller
        self._since = since
        self.tried = asyncio.Event()
        """Set once an attempt has ended, well or not."""
        self.done = asyncio.Event()
        """Set once the candles are stored."""

    async def fetch(self) -> int:
        """Fetch the candles; return the number of new ones.

        Raises:
            ExchangeError: no usable response; call again.
            StoreError: the file cannot be written.
        """
        # CCXT Pro takes a second or more to import; no session should wait for it later.
        importing = asyncio.create_task(
            asyncio.to_thread(importlib.import_module, "onetape.websocket.websocket")
        )
        try:
            new_candles = await self._gap_backfiller.fetch_warm_up(self._since)
        finally:
            await importing
            self.tried.set()
        self.done.set()
        return new_candles
