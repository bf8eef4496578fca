"""Fetches the candles of the first decision over REST; only decisions wait for them.

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
            gap_backfiller: Fetches the candles.
            since: Open of a candle from which on all candles are fetched too, epoch seconds; None:
                no others.
        """
        self._gap_backfiller = gap_backfiller
        self._since = since
        self.tried = asyncio.Event()
        """Set when the first attempt has ended, with or without success."""
        self.done = asyncio.Event()
        """Set when the candles are stored."""

    async def fetch(self) -> int:
        """Fetch the candles; return the number of new ones.

        Raises:
            ExchangeError: no usable response; call again.
            StoreError: the file cannot be written.
        """
        # The stream needs CCXT Pro later, whose import takes a second or more.
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
