"""The reason why a position could not be sold by an exit now, for the report of a missing stop.

Without a stop at the exchange, the trader sells when the price passes the level (`stop_watch.py`).
If no exit could be sent either, nothing protects the position, and a person must know why.
"""

import time
from typing import Final

from trader.live.book import LiveBook
from trader.live.key_watch import KEY_PROBLEM
from trader.live.reconciling import AccountCheck
from trader.live.stop_watch import Obstacle, is_doubtful
from trader.live.tracking import LiveOrder

#: Remedy of a problem with an exit.
SELL_BY_HAND: Final = "if this lasts, sell the position by hand, then run: uv run trader reconcile"
#: Reason why an exit waits while others may have sold coins of the position.
UNREAD_SALES: Final = (
    "executions since the position was bought are not all read, and others may have sold it: the "
    "account has less than its own coins and the position"
)
_KEEP_RUNNING: Final = "keep this program running"


def find_exit_obstacle(
    book: LiveBook, account: AccountCheck, *, may_begin: bool
) -> Obstacle | None:
    """Return the reason why no exit could be sent now; None: an exit could be sent.

    Args:
        book: The orders and fills of the symbol.
        account: Comparison of the account.
        may_begin: Whether no pause after a failed exit is under way.
    """
    exit_order = book.exit
    if book.halt is not None:
        return Obstacle(book.halt, "nothing is sold before a resume", "run: uv run trader resume")
    if book.states.is_halted_by(KEY_PROBLEM):
        return Obstacle(
            "the API key may not trade, or is not accepted",
            "no order can be sent",
            "correct the rights of the key at the exchange, or sell by hand",
        )
    if account.copies.is_seen:
        return Obstacle(
            "another copy of this database trades the symbol",
            "only a stop sells before a person has answered",
            "stop the other copy, then run: uv run trader reconcile",
        )
    if account.is_sale_of_others_possible and not account.is_missing:
        return Obstacle(
            UNREAD_SALES, "only a stop sells before these executions are read", SELL_BY_HAND
        )
    if account.bars_exits:
        return Obstacle(
            "coins of the position are missing",
            "nothing is sold before a person has answered",
            "look at the account, then run: uv run trader reconcile",
        )
    if book.unread_entry is not None:
        return Obstacle(
            "executions of the entry are not known",
            "only a stop sells before these executions are known",
            SELL_BY_HAND,
        )
    if not may_begin:
        measure = "nothing is sold before the next try"
        return Obstacle("the exit could not be made", measure, SELL_BY_HAND)
    limit, looked_up = book.times.acknowledge, "it is looked up, and nothing is sold meanwhile"
    if exit_order is not None and not exit_order.is_unsent and exit_order.waited >= limit:
        return Obstacle("it is not known what the exit has sold", looked_up, _KEEP_RUNNING)
    if any(_is_unclear(stop, book, limit) for stop in book.stops):
        return Obstacle("it is not acknowledged yet", looked_up, _KEEP_RUNNING)
    return None


def _is_unclear(stop: LiveOrder, book: LiveBook, limit: float) -> bool:
    """Return whether the state of a stop has been unknown for longer than some seconds."""
    if stop.state.stage in ("sent", "unknown"):
        return not stop.is_nowhere and stop.waited >= limit
    cancelled = stop.cancelled
    return (
        is_doubtful(stop, book) and cancelled is not None and time.monotonic() - cancelled >= limit
    )
