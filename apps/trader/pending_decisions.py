"""The symbols of a trader with a decision under way: other work on their candles waits for it.

Candles of all symbols close at the same moment, and all sessions of a trader run in one thread. So
a decision would wait for the work of symbols with earlier decisions.
"""

import asyncio
import contextlib
from typing import Final

#: Time that work of a symbol waits for the decisions of the others, wall seconds; short, because
#: exits of the forming candle are part of that work.
MOMENT_SECONDS: Final = 0.02


class PendingDecisions:
    """Symbols whose closed candle is being evaluated. All methods are called in one event loop."""

    def __init__(self) -> None:
        """Begin without a symbol."""
        self._symbols: set[str] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def note(self, symbol: str, *, is_pending: bool) -> None:
        """Note whether a decision on a symbol is under way."""
        if is_pending:
            self._symbols.add(symbol)
            self._is_empty.clear()
            return
        self._symbols.discard(symbol)
        if not self._symbols:
            self._is_empty.set()

    async def wait_for_others(self) -> None:
        """Wait until no decision is under way, for `MOMENT_SECONDS` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MOMENT_SECONDS):
                await self._is_empty.wait()
