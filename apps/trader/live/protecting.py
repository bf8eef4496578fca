"""Keeps a stop at the exchange while a position is open and no exit is on its way.

A stop that is refused sells nothing: its level is watched here, as on paper, and the stop is tried
again more and more rarely. A stop that somebody cancels is set again once; after that it stays
away, and entries stop. While a person has forbidden orders (`trader halt`), what is filled keeps or
gets its stop, and nothing else is sent.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.core.trading import Order
from onetape.engine.exits import EXIT_KINDS, levels_of
from onetape.execution.orders import OrderState
from onetape.execution.protection import (
    Place,
    RestingStop,
    StopPolicy,
    Unprotectable,
    Withdraw,
    protection_step,
)
from onetape.store.orders import count_stops_cancelled_by_others, insert_order
from trader.executor import TrackedOrder
from trader.live.book import LiveBook
from trader.live.reconciling import AccountCheck
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of problems with stops.
PROTECTION: Final = "protection"
_LONGEST_PAUSE_SECONDS: Final = 3_600.0
#: A stop that others cancel is set again so many times.
_RESTORED: Final = 1


class Protector:
    """The stop of one symbol's position."""

    def __init__(
        self, book: LiveBook, account: AccountCheck, policy: StopPolicy | None = None
    ) -> None:
        """Begin; stops that rest are among the executor's orders."""
        self._book = book
        self._account = account
        self._policy = policy or StopPolicy(pause_seconds=book.times.stop_moves)
        self._refusals = 0
        self._not_before = 0.0
        self._changed = -1e9
        self._naked_since: float | None = None
        self.unprotected_seconds = 0.0
        """How long positions had no stop although the rules have one, in this process."""

    @property
    def is_wanting(self) -> bool:
        """Return whether the position needs a stop that can be placed and does not rest yet."""
        return self._naked_since is not None and time.monotonic() >= self._not_before

    def note_refused(self, reason: str) -> None:
        """Note that the exchange took no stop: the level is watched here."""
        pause = min(self._book.times.stop_again * 2**self._refusals, _LONGEST_PAUSE_SECONDS)
        self._refusals += 1
        self._not_before = time.monotonic() + pause
        self._watch_here(reason, f"the stop is tried again in {pause:.0f} s")

    def note_cancelled_by_others(self, one: LiveOrder) -> None:
        """Note that a stop was cancelled, and not by this program."""
        print_line(f"the stop at {one.order.stop_price:f} was cancelled, and not by this program")

    def work(self, now_ms: int) -> None:
        """Place, move or cancel the stop, where that is due."""
        book = self._book
        if self._is_leaving() or self._account.is_missing:
            return
        level = self._level()
        held = Decimal(0) if book.position.is_flat else book.position.base
        self._count_naked(needs_stop=held > 0 and level is not None)
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
                self._watch_here(reason, "the market takes no such stop")
            case _:
                self._solve_when_resting()

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

    def _level(self) -> tuple[str, Decimal] | None:
        """Return kind and price of the stop by the rules; None where they have none."""
        book = self._book
        if book.position.is_flat:
            return None
        found = book.level_source()
        if found is not None:
            return found
        exits = book.job.rules.exits
        price = book.entry_price(0.0)
        step = float(book.job.market.steps.price_step or 0)
        levels = levels_of(exits, price, price, 0, step)
        if not 0 < levels.stop < price:
            return None
        return EXIT_KINDS[levels.stop_kind], Decimal(repr(levels.stop))

    def _place(self, kind: str, amount: Decimal, price: Decimal, now_ms: int) -> None:
        book = self._book
        entry = book.entry_order_id
        if entry is None or time.monotonic() < self._not_before:
            return
        cancelled = count_stops_cancelled_by_others(book.job.store, entry)
        if cancelled and book.halt is not None:
            self._watch_here(
                f"the stop was cancelled, and not by this program; {book.halt}",
                "NONE is set again before a resume",
                remedy="uv run trader resume sets it again",
            )
            return
        if cancelled > _RESTORED:
            self._watch_here(
                "the stop was cancelled twice, and not by this program",
                "NONE is set again",
                remedy="sell the position, or stop the program that cancels it",
            )
            return
        session = book.job.session
        order = Order(
            client_order_id=book.new_order_id(),
            session=session.session,
            mode=session.mode,
            account=session.account,
            exchange=session.exchange,
            symbol=session.symbol,
            timeframe=session.timeframe,
            side="sell",
            type=kind,
            status="intent",
            decision=None,
            signal_timestamp=book.job.timeframe.floor(now_ms // 1_000),
            decided_ms=now_ms,
            bid=None,
            ask=None,
            intended_price=price,
            reason="protects the position",
            strategy=session.strategy,
            parameters=session.parameters,
            code_digest=session.code_digest,
            entry_order_id=entry,
            ordered_amount=amount,
            stop_price=price,
            is_protection=True,
        )
        insert_order(book.job.store, order, book.fence)
        one = LiveOrder(TrackedOrder(order, OrderState(amount), 1))
        book.orders[order.client_order_id] = one
        self._changed = time.monotonic()
        book.send(one, amount, now_ms)

    def _watch_here(self, reason: str, measure: str, *, remedy: str = "") -> None:
        self._book.states.report(
            PROTECTION,
            Problem(
                f"no stop at the exchange: {reason}",
                f"the level is watched here; {measure}; no entries meanwhile",
                remedy or "keep this program running: nothing else sells at the stop",
            ),
        )

    def _solve_when_resting(self) -> None:
        book = self._book
        is_safe = any(one.state.stage == "open" for one in book.stops)
        if book.position.is_flat or is_safe:
            self._refusals = 0
            self._book.states.solve(PROTECTION)

    def _count_naked(self, *, needs_stop: bool) -> None:
        """Add up how long a position is open without a stop that the exchange has confirmed."""
        now = time.monotonic()
        is_naked = needs_stop and not any(one.state.stage == "open" for one in self._book.stops)
        if self._naked_since is not None:
            self.unprotected_seconds += now - self._naked_since
        self._naked_since = now if is_naked else None
