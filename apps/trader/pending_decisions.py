"""Lets other work wait for a moment while symbols of the trader are being decided on.

Candles of all symbols close at the same moment, and all sessions of a trader run in one thread.
Without this, the decision on one symbol would wait for the work that follows the decision on
another.
"""

import asyncio
import contextlib
from typing import Final

#: Maximum time that other work waits for pending decisions, wall seconds; short, because exits of
#: the forming candle are part of that work.
MOMENT_SECONDS: Final = 0.02


class PendingDecisions:
    """Symbols that are being decided on now. All methods are called in one event loop."""

    def __init__(self) -> None:
        """Begin without a symbol."""
        self._symbols: set[str] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def note(self, symbol: str, *, is_pending: bool) -> None:
        """Note whether a closed candle of a symbol is being decided on."""
        if is_pending:
            self._symbols.add(symbol)
            self._is_empty.clear()
            return
        self._symbols.discard(symbol)
        if not self._symbols:
            self._is_empty.set()

    async def wait_for_others(self) -> None:
        """Wait until no symbol is being decided on, for `MOMENT_SECONDS` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MOMENT_SECONDS):
                await self._is_empty.wait()
