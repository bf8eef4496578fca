"""Keeps a stop order at the exchange while a position is open and no exit is on its way.

`execution/protection.py` decides whether to place, replace or cancel it. If the exchange refuses a
stop, the trader watches the level itself, as on paper, and places the stop again after growing
pauses. If others cancel a stop, it is placed again once; after a second cancellation it is not, and
there are no entries. While a person has forbidden orders (`trader halt`), a position keeps or gets
its stop, and nothing else is sent. Once the price has passed the level, the position is sold, also
if a resting stop has not sold it.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.execution.protection import (
    CancelStop,
    PlaceStop,
    ReplaceStop,
    RestingStop,
    StopPolicy,
    Unprotectable,
    choose_protection_step,
    round_down,
)
from onetape.store.orders import count_stops_cancelled_by_others
from trader.live.book import LiveBook, StopLevel
from trader.live.entry_levels import EntryLevels
from trader.live.exiting import ExitSender
from trader.live.price_watch import KnownPrice, PriceWatch
from trader.live.reconciling import AccountCheck
from trader.live.stop_amount import StopAmount
from trader.live.stop_watch import Obstacle, StopOrderWatch, is_doubtful, is_resting
from trader.live.tracking import LiveOrder
from trader.live.unread_entry import UnreadEntry

_LONGEST_PAUSE_SECONDS: Final = 3_600.0
#: Number of times that a stop cancelled by others is placed again.
_MOST_RESTORED: Final = 1


class Protector:
    """The stop of one symbol's position."""

    def __init__(
        self,
        book: LiveBook,
        account: AccountCheck,
        exit_sender: ExitSender,
        policy: StopPolicy | None = None,
    ) -> None:
        """Initialise; stops that rest already are among the orders of the book.

        Args:
            book: The orders and fills of the symbol.
            account: Comparison of the account, with its balances.
            exit_sender: Sender of the symbol's exits.
            policy: Rules for when a resting stop is moved; None: by the book's time limits.
        """
        self._book = book
        self._account = account
        self._exit_sender = exit_sender
        self._policy = policy or StopPolicy(
            pause_seconds=book.times.stop_moves,
            grow_seconds=book.times.stop_grows,
            limit_offset=book.stop_limit,
        )
        self._prices = PriceWatch(book)
        self._watch = StopOrderWatch(book)
        self._refusals = 0
        self._not_before = 0.0
        self._ended_at: float | None = None
        """Time at which the end of the program began, monotonic seconds; None: it runs on."""
        self._changed = -1e9
        self._amounts = StopAmount(book, account)
        self._levels = EntryLevels(book)
        self._unread = UnreadEntry(book, self._levels, account.held)
        self._replaced: dict[str, RestingStop] = {}
        """The stop that is replaced, by the client order id of the new stop on its way."""
        self._accepted_price: Decimal | None = None
        """Price of a stop that the exchange accepted, after it refused the replacement."""
        self._move_refusals = 0
        self._no_move_before = 0.0
        self._has_looked = False
        """Whether the state of the stop was checked, which needs a reading of the account."""

    @property
    def is_stop_missing(self) -> bool:
        """Return whether the position needs a stop that can be placed now and does not rest yet."""
        if self._unread.is_waited_for:
            return True
        if not self._has_looked and self._compute_stop_level() is not None:
            return not any(is_resting(stop, self._book) for stop in self._book.stops)
        return self._watch.unprotected_since is not None and time.monotonic() >= self._not_before

    @property
    def is_unprotected(self) -> bool:
        """Return whether the last check found a position without a stop at the exchange."""
        return self._watch.unprotected_since is not None

    def note_ending(self) -> None:
        """Note that the program ends: a refused stop is tried once more, without its pause."""
        self._ended_at, self._not_before = time.monotonic(), 0.0

    def note_refused(self, stop: LiveOrder, reason: str) -> None:
        """Note that the exchange has refused a stop, and begin a pause before the next try.

        If the stop was to replace another one, that one stays or is placed again. Otherwise the
        trader watches the level itself.

        Args:
            stop: The refused stop.
            reason: Error of the exchange, as a text.
        """
        replaced = self._replaced.pop(stop.identity, None)
        amount = stop.order.ordered_amount or Decimal(0)
        self._amounts.note_refused(amount, None if replaced is None else replaced.amount)
        if replaced is not None:
            # The old stop still rests, or its price is known to be accepted: it is placed again.
            self._accepted_price = replaced.price
            pause = self._pause(self._move_refusals)
            self._move_refusals += 1
            self._no_move_before = time.monotonic() + pause
            is_there = any(other.state.stage == "open" for other in self._book.stops)
            done = f"the stop {'stays' if is_there else 'is put back'} at {replaced.price:f}"
            print_line(f"{done}; it is moved again in {pause:.0f} s at the earliest")
            return
        self._accepted_price = None
        pause = self._pause(self._refusals)
        self._refusals += 1
        ended_at = self._ended_at
        is_last_try_left = ended_at is not None and (stop.sent is None or stop.sent < ended_at)
        self._not_before = 0.0 if is_last_try_left else time.monotonic() + pause
        self._watch.obstacle = Obstacle(reason, f"the stop is tried again in {pause:.0f} s")

    def _pause(self, refusals: int) -> float:
        """Return the pause after a number of refusals before, wall seconds."""
        return min(self._book.times.stop_again * 2 ** min(refusals, 20), _LONGEST_PAUSE_SECONDS)

    def note_cancelled_by_others(self, stop: LiveOrder) -> None:
        """Print that others have cancelled a stop."""
        print_line(f"the stop at {stop.order.stop_price:f} was cancelled, and not by this program")

    def note_unread(self, now_ms: int) -> None:
        """Store where the position's stop is, before the account was read since the start.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account.
        """
        if self._unread.watch_executions(now_ms):
            self._account.note_correction()
        self._watch.note_unread(self._compute_stop_level(), now_ms)

    def maintain_stop(self, now_ms: int) -> None:
        """Place, move or cancel the stop if that is due; without a stop, watch its level.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written; nothing is sent that is not stored.
            SafetyRefusal: another process trades the account.
        """
        self._has_looked = True
        if self._unread.watch_executions(now_ms):
            self._account.note_correction()
        level = self._compute_stop_level()
        if level is None:
            # The refused stop belonged to an earlier position.
            self._move_refusals, self._no_move_before = 0, 0.0
            self._amounts.reset()
        known = None if level is None else self._prices.get_price(now_ms)
        if level is not None and self._may_try:
            self._exit_sender.put_off_overdue(now_ms)
        if not (self._is_exit_under_way() or self._is_waiting):
            self._adjust_stop(level, known, now_ms)
        self._watch.locked = self._amounts.locked
        if self._watch.update(level, self._held, known, self._exit_sender.obstacle, now_ms):
            self._refusals, self._not_before, self._accepted_price = 0, 0.0, None

    @property
    def _held(self) -> Decimal:
        """Return the amount that a stop should sell, base currency."""
        # Amount that cancelled stops have sold, without a known execution yet.
        stops = self._book.stops
        sold = sum((stop.state.filled - stop.state.booked for stop in stops), Decimal(0))
        return self._account.compute_sellable_base() + self._unread.amount - sold

    @property
    def _may_try(self) -> bool:
        """Return whether a stop may be placed now: no pause, and the end of each stop is known."""
        obstacle = self._watch.obstacle
        is_given_up = obstacle is not None and obstacle.is_given_up
        is_late = time.monotonic() >= self._not_before
        return is_late and not (is_given_up or self._is_waiting)

    @property
    def _is_waiting(self) -> bool:
        """Return whether a stop has an unknown state or an unknown sold amount."""
        return any(
            (stop.state.stage in ("sent", "unknown") and not stop.is_nowhere)
            or stop.state.outcome == "filled"
            or is_doubtful(stop, self._book)
            for stop in self._book.stops
        )

    def _adjust_stop(self, level: StopLevel | None, known: KnownPrice | None, now_ms: int) -> None:
        """Compute amount and price of the stop, and take the step that follows.

        Args:
            level: Kind and price of the stop by the rules; None: no stop is needed.
            known: The newest price; None: unknown.
            now_ms: Market time, epoch milliseconds.
        """
        book = self._book
        resting = tuple(
            RestingStop(
                stop.identity, stop.order.ordered_amount - stop.state.booked, stop.order.stop_price
            )
            for stop in book.stops
            if stop.order.ordered_amount is not None
            and stop.order.stop_price is not None
            and not stop.state.is_done
            and not stop.is_nowhere
        )
        price = None if level is None else level[1]
        is_paused = time.monotonic() < self._no_move_before
        # Another copy of the database may move the stop of the same position.
        is_fixed = book.halt is not None or is_paused or self._account.copies.is_seen
        if price is not None and known is not None and known.price <= price:
            # The exchange would refuse a stop at its price; the rules sell there.
            is_fixed = True
        if self._accepted_price is not None and price is not None:
            price = min(price, self._accepted_price)
        lowest = None if price is None else price * (1 - self._policy.limit_offset)
        on_exchange = sum((stop.amount for stop in resting), Decimal(0))
        withheld = self._amounts.compute_withheld(on_exchange)
        amount = self._amounts.compute_amount(max(self._held - withheld, Decimal(0)), lowest)
        self._watch.withheld = withheld
        if not (self._account.is_checked or resting) and self._amounts.locked:
            self._watch.obstacle = Obstacle(
                "the account is not compared, and orders that are not known may hold the coins",
                "a stop is placed once it is compared",
            )
        if price is not None:
            amount, is_kept = self._cap_stop_amount(amount, price, resting)
            is_fixed = is_fixed or is_kept
        found = choose_protection_step(
            amount,
            price,
            resting,
            book.context.market.trading_rules,
            self._policy,
            0.0 if is_paused else time.monotonic() - self._changed,
            is_fixed=is_fixed,
        )
        match found:
            case PlaceStop(amount, price) if level is not None:
                self._place(level[0], amount, price, now_ms)
            case ReplaceStop(identity, amount, price, reason) if level is not None:
                self._replace(book.orders[identity], level[0], amount, price, reason, now_ms)
            case CancelStop(identity, reason):
                if withheld > 0 and not book.position.is_flat:
                    reason = "others may have sold the position"
                    print_line(f"the stop is cancelled: {reason}")
                self._changed = time.monotonic()
                book.request_cancel(book.orders[identity], reason, now_ms)
            case Unprotectable(reason):
                self._watch.obstacle = Obstacle(reason, "the market does not accept this stop")
            case _:
                pass

    def _cap_stop_amount(
        self, amount: Decimal, price: Decimal, resting: tuple[RestingStop, ...]
    ) -> tuple[Decimal, bool]:
        """Return the part of an amount that one stop may sell, and whether the resting stop stays.

        A market may accept no stop for the whole position: the trader watches the level of the
        rest.
        """
        largest = self._book.sizes.compute_largest_stop(price)
        rests = resting[0].amount if resting else Decimal(0)
        self._watch.largest = None
        if largest is None or amount <= largest:
            return amount, False
        self._watch.largest = max(largest, rests)
        if largest < rests <= amount:
            # The stop was placed while the market accepted larger ones; a new one would be refused.
            return rests, True
        return largest, False

    def _is_exit_under_way(self) -> bool:
        """Return whether an exit is on its way, so that no stop may sell the same coins.

        An exit that is not sent yet, or that follows a sold part, counts for a few seconds. An exit
        that is not acknowledged in time stops counting once the account, read after the exit's
        deadline, still has the coins.
        """
        book = self._book
        exit_order = book.exit
        if exit_order is None:
            return self._exit_sender.is_awaiting_next_part()
        if exit_order.is_unsent:
            return self._exit_sender.is_blocking_stop(exit_order)
        if exit_order.state.stage not in ("sent", "unknown"):
            return True
        amount = exit_order.order.ordered_amount
        if exit_order.waited < book.times.acknowledge or amount is None:
            return True
        return not self._account.has_unsold_coins(exit_order, amount)

    def _compute_stop_level(self) -> StopLevel | None:
        """Return kind and price of the stop by the rules; None if the rules have no stop.

        While the rules do not know the position, a stop that rests is not lowered or cancelled.
        """
        book = self._book
        if book.position.is_flat:
            found = self._unread.level
        else:
            found = book.level_source() or self._levels.compute_stop(book.compute_entry_price(0.0))
            found = found if book.knows_position() else self._choose_higher_stop(found)
        if found is None:
            return None
        return found[0], round_down(found[1], book.context.market.trading_rules.price_step)

    def _choose_higher_stop(self, found: StopLevel | None) -> StopLevel | None:
        """Return the higher one of a level and the stops that rest; None: there is neither."""
        resting = [
            (stop.order.type, stop.order.stop_price)
            for stop in self._book.stops
            if stop.order.stop_price is not None and not stop.state.is_done
        ]
        levels = resting if found is None else [*resting, found]
        return max(levels, key=lambda level: level[1], default=None)

    def _place(self, kind: str, amount: Decimal, price: Decimal, now_ms: int) -> None:
        """Store and send a stop, unless a pause is under way or others have cancelled it twice."""
        book = self._book
        entry = book.protected_entry
        is_early = time.monotonic() < self._not_before
        if entry is None or (is_early and not self._amounts.is_smaller(amount)):
            return
        given_up = self._find_cancellation_obstacle(entry)
        if given_up is not None:
            self._watch.obstacle = given_up
            return
        stop = book.add_order_without_decision(
            "sell", kind, "protects the position", now_ms, amount=amount, stop_price=price
        )
        self._send(stop, amount, now_ms)

    def _replace(
        self,
        old: LiveOrder,
        kind: str,
        amount: Decimal,
        price: Decimal,
        reason: str,
        now_ms: int,
    ) -> None:
        """Replace a resting stop; if that takes two requests, cancel the resting stop first."""
        book = self._book
        if self._replaced:
            # The stop before was not refused.
            self._move_refusals = 0
        # While moves pause, this stop would sell more than is held: it must not wait.
        is_paused = time.monotonic() < self._no_move_before
        can_replace = book.broker.can_replace_stops and not is_paused
        if not can_replace or old.state.is_cancel_requested:
            self._changed = time.monotonic()
            book.request_cancel(old, reason, now_ms)
            return
        reason = f"protects the position: {reason}"
        stop = book.add_order_without_decision(
            "sell", kind, reason, now_ms, amount=amount, stop_price=price
        )
        left = (old.order.ordered_amount or amount) - old.state.filled
        self._replaced = {
            stop.identity: RestingStop(old.identity, left, old.order.stop_price or price)
        }
        self._send(stop, amount, now_ms, replaces=old)

    def _send(
        self, stop: LiveOrder, amount: Decimal, now_ms: int, *, replaces: LiveOrder | None = None
    ) -> None:
        self._changed = time.monotonic()
        self._account.held.note_before_send(stop)
        self._book.send(stop, amount, now_ms, replaces=replaces)

    def _find_cancellation_obstacle(self, entry: str) -> Obstacle | None:
        """Return the reason why a stop cancelled by others is not placed again; None: it is."""
        book = self._book
        cancelled = count_stops_cancelled_by_others(book.context.store, entry)
        if cancelled and book.halt is not None:
            return Obstacle(
                f"the stop was cancelled, and not by this program; {book.halt}",
                "no stop is placed again before a resume",
                "uv run trader resume places the stop again",
                is_given_up=True,
            )
        if cancelled > _MOST_RESTORED:
            return Obstacle(
                "the stop was cancelled twice, and not by this program",
                "no stop is placed again; this program sells when the price reaches the level",
                "sell the position, or stop the program that cancels it",
                is_given_up=True,
            )
        return None
