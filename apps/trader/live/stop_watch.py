"""Watches a position's stop: stores where it is, reports a missing stop, and sells at its level.

The trader sells at the level itself if the exchange has no stop and the stream sends no prices.
"""

import time
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from onetape.execution.positions import get_min_sell_amount
from onetape.execution.protection import round_down
from trader.live.book import LiveBook, StopLevel
from trader.live.price_watch import KnownPrice
from trader.live.stop_log import StopLog
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of problems with stops.
PROTECTION_PROBLEM: Final = "protection"
_UNREAD: Final = "nothing is sold before the account is read"
_KEEP_RUNNING: Final = "keep this program running: nothing else sells at the stop"
#: A price needs a moment to arrive after a position was found without a stop, wall seconds.
_FIRST_PRICE_SECONDS: Final = 5.0


class Obstacle(Struct, frozen=True):
    """Reason why no stop can rest at the exchange or no exit can be sent, for a problem's line."""

    reason: str
    """Cause, as a text."""
    measure: str
    """Action that the trader takes, as a text."""
    remedy: str = _KEEP_RUNNING
    """Action that a person should take, as a text."""
    is_given_up: bool = False
    """Whether no stop is placed any more until a person acts."""


class StopOrderWatch:
    """Watches the place of the stop of one symbol's position: at the exchange or in the trader."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; nothing is checked yet."""
        self._book = book
        self._log = StopLog(book)
        self.obstacle: Obstacle | None = None
        """Reason why no stop can rest at the exchange; None: no reason is known."""
        self.unprotected_since: float | None = None
        """Time since the position has no stop at the exchange, monotonic seconds; None: it has."""
        self.locked = Decimal(0)
        """Amount of the position that others have locked, without a stop, base currency."""
        self.withheld = Decimal(0)
        """Amount of the position that others may have sold, without a stop, base currency."""
        self.largest: Decimal | None = None
        """Largest stop that the market accepts, if less than the position; None: no limit."""
        self._uncovered_since: float | None = None
        """Monotonic time since which a stop covers only a part of the position; None: the whole."""

    def update(
        self,
        level: StopLevel | None,
        held: Decimal,
        known: KnownPrice | None,
        exit_obstacle: Obstacle | None,
        now_ms: int,
    ) -> bool:
        """Store and report where the stop is; sell if a price of REST has passed the level.

        Args:
            level: Kind and price of the stop by the rules; None: there is no position, or no stop.
            held: Amount that a stop should sell, base currency.
            known: The newest price; None: unknown.
            exit_obstacle: Reason why no exit could be sent now; None: an exit could be sent.
            now_ms: Market time, epoch milliseconds.

        Returns:
            Whether a stop rests, or none is needed.
        """
        book = self._book
        if level is None:
            if book.position.is_flat:
                self._log.note_closed()
            else:
                self._log.note_no_rule(now_ms)
            self._clear_problem()
            return True
        kind, price = level
        resting = next((stop for stop in book.stops if is_resting(stop, book)), None)
        jumped = None if resting is None else self._find_jump_obstacle(resting, known)
        if jumped is not None:
            self.obstacle, resting = jumped, None
        if resting is not None:
            price = resting.order.stop_price or price
            self._note_resting(resting, price, held, now_ms)
        else:
            self._uncovered_since = None
            self._note_unprotected(price, known, exit_obstacle, now_ms)
        is_fresh = known is not None and known.age_seconds <= book.times.price_is_old
        if known is not None and is_fresh and known.is_by_rest and known.price <= price:
            book.level_exit(
                kind, price, f"the price {known.price:f} has passed {price:f}, read over REST"
            )
        return resting is not None

    def note_unread(self, level: StopLevel | None, now_ms: int) -> None:
        """Store that no stop rests and nothing sells, before the first reading of the account.

        Args:
            level: Kind and price of the stop by the rules; None: there is no position, or no stop.
            now_ms: Market time, epoch milliseconds.
        """
        book = self._book
        if level is not None and not any(is_resting(stop, book) for stop in book.stops):
            self._log.note("none", level[1], _UNREAD, now_ms)

    def _note_resting(self, stop: LiveOrder, price: Decimal, held: Decimal, now_ms: int) -> None:
        """Store a resting stop; report a stop that covers only a part of the position for long."""
        book, now = self._book, time.monotonic()
        trading_rules, base = book.context.market.trading_rules, book.context.market.base
        covered = (stop.order.ordered_amount or Decimal(0)) - stop.state.booked
        left = round_down(held - covered, trading_rules.amount_step)
        if left <= 0 or left < get_min_sell_amount(trading_rules):
            self._uncovered_since = None
        else:
            self._uncovered_since = self._uncovered_since or now
        since = self._uncovered_since
        if since is None or now - since < book.times.unprotected:
            self._clear_problem()
            self._log.note("exchange", price, "", now_ms)
            return
        self.unprotected_since = self.obstacle = None
        reason = f"for {covered.normalize():f} of {held.normalize():f} {base}"
        self._log.note("exchange", price, reason, now_ms)
        problem, remedy = f"the stop at the exchange is {reason}", _KEEP_RUNNING
        measure = "the level of the rest is watched here; no entries meanwhile"
        if self.withheld > 0:
            problem += f": others may have sold {self.withheld.normalize():f} {base}"
            measure = "nothing else is sold before that is known; no entries meanwhile"
        if self.locked > 0:
            problem += f": {self.locked.normalize():f} {base} are locked, and not by this program"
            remedy = f"{_KEEP_RUNNING}; cancel the order that locks them, and the stop covers all"
        elif self.largest is not None:
            problem += (
                f": the market takes no stop of more than {self.largest.normalize():f} {base}"
            )
        book.states.report(
            PROTECTION_PROBLEM,
            Problem(problem, measure, remedy),
        )

    def _find_jump_obstacle(self, stop: LiveOrder, known: KnownPrice | None) -> Obstacle | None:
        """Return the reason why a stop does not sell: the price is below the stop's limit price."""
        book = self._book
        lowest = book.compute_limit_price(stop.order.stop_price, stop.order.ordered_amount)
        if lowest is None or known is None or known.price >= lowest:
            return None
        return Obstacle(
            f"the price {known.price:f} has jumped over the lowest price {lowest:f} of the stop",
            f"the position is sold at the market {book.times.stop_fires:.0f} s later",
        )

    def _clear_problem(self) -> None:
        """Clear the problem: the position has its stop, or needs none."""
        self.unprotected_since = self.obstacle = None
        self._book.states.clear_problem(PROTECTION_PROBLEM)

    def _note_unprotected(
        self,
        level: Decimal,
        known: KnownPrice | None,
        exit_obstacle: Obstacle | None,
        now_ms: int,
    ) -> None:
        """Store, and after seconds report, that the exchange has no stop for the position."""
        book, now = self._book, time.monotonic()
        self.unprotected_since = self.unprotected_since or now
        obstacle = self._choose_obstacle(exit_obstacle)
        unprotected_seconds = now - self.unprotected_since
        wait_seconds = min(book.times.unprotected, _FIRST_PRICE_SECONDS)
        is_price_old = unprotected_seconds >= wait_seconds and (
            known is None or known.age_seconds > book.times.price_is_old
        )
        is_watched = exit_obstacle is None and not obstacle.is_given_up
        is_none = is_price_old or not is_watched
        reason = obstacle.reason
        if is_price_old:
            reason += f"; no price for over {book.times.price_is_old:.0f} s"
        self._log.note("none" if is_none else "here", level, reason, now_ms)
        is_reported = self.obstacle is not None or unprotected_seconds >= book.times.unprotected
        if not is_reported:
            return
        watched = f"the level is watched here; {obstacle.measure}"
        measure = watched if is_watched else f"NONE: {obstacle.measure}"
        if is_price_old:
            measure = f"NONE: nothing sells at {level:f}; {obstacle.measure}"
        book.states.report(
            PROTECTION_PROBLEM,
            Problem(
                f"no stop at the exchange: {reason}",
                f"{measure}; no entries meanwhile",
                obstacle.remedy,
            ),
        )

    def _choose_obstacle(self, exit_obstacle: Obstacle | None) -> Obstacle:
        """Return the obstacle to report for a position without a stop.

        An obstacle of the exit comes first, because then nothing sells at the level at all.
        """
        known = self.obstacle
        if exit_obstacle is not None and known is not None and not known.is_given_up:
            return replace(exit_obstacle, reason=f"{known.reason}; {exit_obstacle.reason}")
        if exit_obstacle is not None and known is None:
            return exit_obstacle
        if known is None and self._book.exit is not None:
            return Obstacle("an exit is on its way", "the position is being sold")
        return known or Obstacle("it is not acknowledged yet", "it is looked up")


def is_resting(stop: LiveOrder, book: LiveBook) -> bool:
    """Return whether a stop is known to rest at the exchange.

    A stop that is being replaced counts: the exchange removes it and places the next at once.

    Args:
        stop: A stop that is not over.
        book: The orders of the symbol, with the requests that are under way.
    """
    is_replaced = book.broker.is_request_running("replace", stop.identity)
    return stop.state.stage == "open" and (is_replaced or not is_doubtful(stop, book))


def is_doubtful(stop: LiveOrder, book: LiveBook) -> bool:
    """Return whether a request of this program may have cancelled a resting stop.

    Args:
        stop: A stop that is not over.
        book: The orders of the symbol, with the requests that are under way.
    """
    kinds = ("cancel", "replace")
    is_requested = any(book.broker.is_request_running(kind, stop.identity) for kind in kinds)
    is_unclear = stop.is_look_up_needed and stop.state.is_cancel_requested
    return stop.state.stage == "open" and (is_requested or is_unclear)
