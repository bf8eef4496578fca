"""The stop of a position that the rules do not know yet, by the stored decisions.

The rules get a position once its entry is over and the candle of the entry is stored. An entry that
still fills, that has no response, or that a restart has found needs its stop before that.
"""

import math
import time
from decimal import Decimal
from typing import Final

from onetape.core.strategy_levels import LevelRow
from onetape.engine.exits import EXIT_KINDS, compute_levels
from onetape.execution.protection import round_down
from onetape.store.ledger import DecidedSeries
from onetape.store.orders import read_signal_timestamp
from trader.live.book import LiveBook, StopLevel
from trader.live.lost_executions import find_sent_ms
from trader.stored_levels import read_position_levels

#: Pause between two readings of the levels of one position, wall seconds.
_READ_SECONDS: Final = 1.0


class EntryLevels:
    """Levels that the strategy gave for the entry of one symbol's position."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; nothing is read yet.

        Args:
            book: The orders of the symbol; its context has the rules of exits.
        """
        self._book = book
        self._entry: str | None = None
        """Client order id of the entry whose levels were read last; None: none were read."""
        self._read_at = 0.0
        """Time of the last reading, monotonic seconds."""
        self._levels: LevelRow | None = None

    def compute_stop(self, price: float) -> StopLevel | None:
        """Return kind and price of the stop right after an entry; None: the rules have no stop.

        Args:
            price: Price of the entry, quote currency.

        Raises:
            StoreError: the file cannot be read.
        """
        context, own = self._book.context, self._read_levels()
        levels = compute_levels(context.rules.exits, price, price, 0, 0.0, own)
        if not 0 < levels.stop < math.inf:
            return None
        stop = round_down(Decimal(repr(levels.stop)), context.market.trading_rules.price_step)
        return EXIT_KINDS[levels.stop_kind], stop

    def _read_levels(self) -> LevelRow | None:
        """Return the strategy's levels of the entry that a stop protects, a second old at most."""
        book, now = self._book, time.monotonic()
        entry = book.protected_entry
        if entry is None:
            return None
        if entry != self._entry or now - self._read_at >= _READ_SECONDS:
            self._levels = read_entry_levels(book, entry, self._find_entered())
            self._entry, self._read_at = entry, now
        return self._levels

    def _find_entered(self) -> int | None:
        """Return the open of the candle that fills the entry, epoch seconds; None: unknown."""
        book, unread = self._book, self._book.unread_entry
        if book.position.is_flat and unread is not None:
            return book.context.timeframe.floor(find_sent_ms(book, unread) // 1_000)
        return book.last_entry


def read_entry_levels(book: LiveBook, client_order_id: str, entered: int | None) -> LevelRow | None:
    """Return the strategy's levels that are in force for an entry; None: the strategy gave none.

    Args:
        book: The orders of the symbol.
        client_order_id: Client order id of the entry, which is stored.
        entered: Open of the candle that fills the entry, epoch seconds; None: the one after the
            candle of its BUY.

    Raises:
        StoreError: the file cannot be read.
    """
    context = book.context
    decided = read_signal_timestamp(context.store, client_order_id)
    if decided is None:
        return None
    series, filled = DecidedSeries.of(context.session), entered or context.timeframe.next(decided)
    return read_position_levels(context.store, series, decided, filled)
