"""Keeps a stop at the exchange while a position is open and no exit is on its way.

A stop that is refused sells nothing: its level is watched here, as on paper, and the stop is tried
again more and more rarely. A stop that somebody cancels is set again once; after that it stays
away, and entries stop. While a person has forbidden orders (`trader halt`), what is filled keeps or
gets its stop, and nothing else is sent. A level that the price has passed sells the position, also
where a stop rests that has not sold it.
"""

import time
from decimal import Decimal
from typing import Final

from msgspec import Struct

from onetape.cli.output import print_line
from onetape.engine.exits import EXIT_KINDS, levels_of
from onetape.execution.orders import OrderState
from onetape.execution.protection import (
    Place,
    RestingStop,
    StopPolicy,
    Unprotectable,
    Withdraw,
    protection_step,
    round_down,
)
from onetape.store.orders import count_stops_cancelled_by_others, insert_order
from trader.executor import TrackedOrder
from trader.live.book import Level, LiveBook
from trader.live.price_watch import KnownPrice, PriceWatch
from trader.live.reconciling import AccountCheck
from trader.live.stop_log import StopLog
from trader.live.stop_orders import stop_order
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of problems with stops.
PROTECTION: Final = "protection"
_LONGEST_PAUSE_SECONDS: Final = 3_600.0
#: A stop that others cancel is set again so many times.
_RESTORED: Final = 1
_KEEP_RUNNING: Final = "keep this program running: nothing else sells at the stop"


class _Obstacle(Struct, frozen=True):
    """Why no stop can rest at the exchange."""

    reason: str
    measure: str
    remedy: str = _KEEP_RUNNING
    is_given_up: bool = False
    """Whether no stop is tried any more until a person acts."""


class Protector:
    """The stop of one symbol's position."""

    def __init__(
        self, book: LiveBook, account: AccountCheck, policy: StopPolicy | None = None
    ) -> None:
        """Begin; stops that rest are among the executor's orders."""
        self._book = book
        self._account = account
        self._policy = policy or StopPolicy(pause_seconds=book.times.stop_moves)
        self._prices = PriceWatch(book)
        self._log = StopLog(book)
        self._refusals = 0
        self._not_before = 0.0
        self._changed = -1e9
        self._naked_since: float | None = None
        self._obstacle: _Obstacle | None = None

    @property
    def is_wanting(self) -> bool:
        """Return whether the position needs a stop that can be placed and does not rest yet."""
        return self._naked_since is not None and time.monotonic() >= self._not_before

    @property
    def unprotected_ms(self) -> int:
        """Return how long the open position has had no stop at the exchange, market time."""
        return self._log.unprotected_ms

    def note_refused(self, reason: str) -> None:
        """Note that the exchange took no stop: the level is watched here."""
        pause = min(self._book.times.stop_again * 2**self._refusals, _LONGEST_PAUSE_SECONDS)
        self._refusals += 1
        self._not_before = time.monotonic() + pause
        self._obstacle = _Obstacle(reason, f"the stop is tried again in {pause:.0f} s")

    def note_cancelled_by_others(self, one: LiveOrder) -> None:
        """Note that a stop was cancelled, and not by this program."""
        print_line(f"the stop at {one.order.stop_price:f} was cancelled, and not by this program")

    def work(self, now_ms: int) -> None:
        """Place, move or cancel the stop, where that is due, and watch the level without one."""
        level = self._level()
        if not (self._is_leaving() or self._account.is_missing):
            self._act(level, now_ms)
        self._watch(level, now_ms)

    def _act(self, level: Level | None, now_ms: int) -> None:
        book = self._book
        held = Decimal(0) if book.position.is_flat else book.position.base
        resting = tuple(
            RestingStop(
                one.identity, one.order.ordered_amount - one.state.booked, one.order.stop_price
            )
            for one in book.stops
            if one.order.ordered_amount is not None and one.order.stop_price is not None
        )
        found = protection_step(
            held,
            None if level is None else level[1],
            resting,
            book.job.market.steps,
            self._policy,
            time.monotonic() - self._changed,
            is_halted=book.halt is not None,
        )
        match found:
            case Place(amount, price) if level is not None:
                self._place(level[0], amount, price, now_ms)
            case Withdraw(identity, reason):
                self._changed = time.monotonic()
                book.withdraw(book.orders[identity], reason, now_ms)
            case Unprotectable(reason):
                self._obstacle = _Obstacle(reason, "the market takes no such stop")
            case _:
                pass

    def _is_leaving(self) -> bool:
        """Return whether an exit is on its way, so that no stop may sell the same coins.

        An exit that is not acknowledged in time counts no more once the account shows that the
        coins are still there, after the exit's deadline.
        """
        book = self._book
        one = book.exit
        if one is None:
            return False
        if one.is_unsent:
            return book.halt is None
        if one.state.stage not in ("sent", "unknown"):
            return True
        sent, amount = one.sent, one.order.ordered_amount
        waited = float("inf") if sent is None else time.monotonic() - sent
        if waited < book.times.acknowledge or amount is None:
            return True
        return not self._account.shows_unsold(one, amount)

    def _level(self) -> Level | None:
        """Return kind and price of the stop by the rules; None where they have none."""
        book = self._book
        if book.position.is_flat:
            return None
        steps = book.job.market.steps
        found = book.level_source()
        if found is None:
            price = book.entry_price(0.0)
            step = float(steps.price_step or 0)
            levels = levels_of(book.job.rules.exits, price, price, 0, step)
            if not 0 < levels.stop < price:
                return None
            found = EXIT_KINDS[levels.stop_kind], Decimal(repr(levels.stop))
        return found[0], round_down(found[1], steps.price_step)

    def _place(self, kind: str, amount: Decimal, price: Decimal, now_ms: int) -> None:
        book = self._book
        entry = book.entry_order_id
        if entry is None or time.monotonic() < self._not_before:
            return
        given_up = self._cancelled_by_others(entry)
        if given_up is not None:
            self._obstacle = given_up
            return
        order = stop_order(book, kind, amount, price, now_ms)
        insert_order(book.job.store, order, book.fence)
        one = LiveOrder(TrackedOrder(order, OrderState(amount), 1))
        book.orders[order.client_order_id] = one
        self._changed = time.monotonic()
        book.send(one, amount, now_ms)

    def _cancelled_by_others(self, entry: str) -> _Obstacle | None:
        """Return why a stop that others have cancelled is not set again; None where it is."""
        book = self._book
        cancelled = count_stops_cancelled_by_others(book.job.store, entry)
        if cancelled and book.halt is not None:
            return _Obstacle(
                f"the stop was cancelled, and not by this program; {book.halt}",
                "NONE is set again before a resume",
                "uv run trader resume sets it again",
                is_given_up=True,
            )
        if cancelled > _RESTORED:
            return _Obstacle(
                "the stop was cancelled twice, and not by this program",
                "NONE is set again; this program sells when the price reaches the level",
                "sell the position, or stop the program that cancels it",
                is_given_up=True,
            )
        return None

    def _watch(self, level: Level | None, now_ms: int) -> None:
        """Note where the stop is, report a position without one, and sell at a passed level."""
        book = self._book
        if book.position.is_flat or level is None:
            self._log.note_closed()
            self._naked_since, self._obstacle, self._refusals = None, None, 0
            book.states.solve(PROTECTION)
            return
        kind, price = level
        resting = next((one for one in book.stops if _protects(one, book)), None)
        known = self._prices.look(now_ms)
        if resting is not None:
            self._naked_since, self._obstacle, self._refusals = None, None, 0
            book.states.solve(PROTECTION)
            self._log.note("exchange", resting.order.stop_price, "", now_ms)
            price = resting.order.stop_price or price
        else:
            self._note_naked(price, known, now_ms)
        is_fresh = known is not None and known.age_seconds <= book.times.price_is_old
        if known is not None and is_fresh and known.is_by_rest and known.price <= price:
            book.level_exit(
                kind, price, f"the price {known.price:f} has passed {price:f}, read over REST"
            )

    def _note_naked(self, level: Decimal, known: KnownPrice | None, now_ms: int) -> None:
        """Note and report a position without a stop at the exchange."""
        book, now = self._book, time.monotonic()
        self._naked_since = self._naked_since or now
        obstacle = self._obstacle or _Obstacle("it is not acknowledged yet", "it is looked up")
        if book.exit is not None and self._obstacle is None:
            obstacle = _Obstacle("an exit is on its way", "the position is being sold")
        is_blind = known is None or known.age_seconds > book.times.price_is_old
        # Both sources of prices need a moment after the start.
        is_blind = is_blind and now - self._naked_since >= min(book.times.naked, 5.0)
        is_none = is_blind or obstacle.is_given_up
        reason = obstacle.reason
        if is_blind:
            reason += f"; no price for over {book.times.price_is_old:.0f} s"
        self._log.note("none" if is_none else "here", level, reason, now_ms)
        is_reported = self._obstacle is not None or now - self._naked_since >= book.times.naked
        if not is_reported:
            return
        watched = f"the level is watched here; {obstacle.measure}"
        measure = obstacle.measure if obstacle.is_given_up else watched
        if is_blind:
            measure = f"NONE: nothing sells at {level:f}; {obstacle.measure}"
        book.states.report(
            PROTECTION,
            Problem(
                f"no stop at the exchange: {reason}",
                f"{measure}; no entries meanwhile",
                obstacle.remedy,
            ),
        )


def _protects(one: LiveOrder, book: LiveBook) -> bool:
    """Return whether a stop rests at the exchange for all that is known."""
    is_being_cancelled = book.broker.is_asking("cancel", one.identity)
    is_doubtful = one.is_look_needed and one.state.is_cancel_requested
    return one.state.stage == "open" and not (is_being_cancelled or is_doubtful)
