"""Sells a position with one order, after the stop at the exchange was cancelled.

While the stop may still be filled, no exit is sent: stop and exit together would sell coins that
the trader did not buy. If the price has passed the level of the stop, the stop gets a few seconds
to be filled. The stop stays until the account was read. The exit waits for coins that the exchange
still shows as locked. If it cannot be sent within seconds after the end of the stop, it sells the
free coins, or it is put off and the stop is placed again. The exit is pending until no coins are
left to sell. A large position is sold in parts, one after the other.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.execution.events import ProvenAbsent
from onetape.execution.order_sizes import compute_next_part
from onetape.execution.positions import get_min_sell_amount
from onetape.execution.protection import compute_sellable_amount
from trader.live.book import LiveBook
from trader.live.exit_obstacle import SELL_BY_HAND, UNREAD_SALES, find_exit_obstacle
from trader.live.key_watch import KEY_PROBLEM
from trader.live.order_adoption import write_off_dust
from trader.live.reconciling import AccountCheck
from trader.live.stop_watch import Obstacle
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of problems with exits.
EXIT_PROBLEM: Final = "exit"
_ZERO: Final = Decimal(0)
_STOP_TYPES: Final = ("stop_loss", "trailing_stop")
_LONGEST_PAUSE_SECONDS: Final = 300.0
#: Words in exchanges' errors about an order that is too small.
_TOO_SMALL: Final = ("NOTIONAL", "LOT_SIZE", "minimum", "too small")


class ExitSender:
    """Carries out the exit of one symbol, step by step.

    The exit is an order of the book: it is stored first, and sent by `advance_exit` once no stop
    can sell the same coins any more.
    """

    def __init__(self, book: LiveBook, account: AccountCheck) -> None:
        """Initialise; a stored exit of an earlier session is among the orders of the book.

        Args:
            book: The orders and fills of the symbol.
            account: Comparison of the account, with its balances.
        """
        self._book = book
        self._account = account
        self._refusals = 0
        """Number of exits in a row that could not be carried out."""
        self._not_before = 0.0
        """Time before which no exit begins, monotonic seconds."""
        self._read = -1e9
        """Time when the account was read again because coins were not free, monotonic seconds."""
        self._stop_lost_at: float | None = None
        """Time since the stop is gone and others may sell the position, monotonic seconds; None:
        no sign of that."""
        self._has_sold_part = False
        """Whether the last sent exit sells a part, so that another exit follows at once."""
        self._part_ended: float | None = None
        """Time when the last sent exit was found to be over, monotonic seconds; None: open."""
        self._is_ending = False
        """Whether the program ends, so that no further exit is stored."""
        self._dust: str | None = None
        """Reason why no order can sell the position, whose value is small; None: an order can."""

    @property
    def _is_small_position(self) -> bool:
        """Return whether the position was bought for less than twice the minimum order.

        Present prices are not used: a wrong price must not make dust of a position.
        """
        trading_rules = self._book.context.market.trading_rules
        bought = Decimal(repr(self._book.compute_entry_price(0.0)))
        minimum = max(trading_rules.min_notional, get_min_sell_amount(trading_rules) * bought)
        return self._book.position.cost < 2 * minimum

    @property
    def may_begin(self) -> bool:
        """Return whether no pause after a failed exit is under way."""
        return time.monotonic() >= self._not_before

    @property
    def obstacle(self) -> Obstacle | None:
        """Return the reason why no exit could be sent now; None: an exit could be sent."""
        return find_exit_obstacle(self._book, self._account, may_begin=self.may_begin)

    @property
    def is_exit_due(self) -> bool:
        """Return whether an exit is stored, not sent yet, and may be sent now."""
        exit_order = self._book.exit
        is_waiting = (
            exit_order is not None and exit_order.is_unsent and not self._book.position.is_flat
        )
        return is_waiting and self.may_begin and not self._is_barred

    @property
    def _is_barred(self) -> bool:
        """Return whether exits are blocked: by a halt, by missing coins, or by the key."""
        book = self._book
        is_key_wrong = book.states.is_halted_by(KEY_PROBLEM)
        return book.halt is not None or self._account.bars_exits or is_key_wrong

    def note_refused(self, exit_order: LiveOrder, reason: str) -> None:
        """Note that the exchange has refused an exit, which stays pending and is sent again later.

        A small position that was refused because of its size becomes dust.

        Args:
            exit_order: The refused order.
            reason: Error of the exchange, as a text.
        """
        is_whole = (exit_order.order.ordered_amount or _ZERO) >= self._whole_amount
        if is_whole and self._is_small_position and any(word in reason for word in _TOO_SMALL):
            self._dust = reason
            return
        self._pause(f"the exchange refused to sell the position: {reason}")

    def note_unfilled(self, exit_order: LiveOrder) -> None:
        """Note that the exchange has ended an exit without a fill, which is sent again later."""
        self._pause(f"the exchange sold nothing: the exit is {exit_order.state.outcome}")

    def note_stop_lost(self) -> None:
        """Note that the stop is gone without a cancellation by this program alone."""
        self._stop_lost_at = time.monotonic()

    def _is_sale_of_copy_possible(self) -> bool:
        """Return whether another copy of the database may be selling the position right now."""
        if self._stop_lost_at is None:
            return False
        end, reading = self._stop_lost_at + self._book.times.stop_taken, self._account.held.reading
        if time.monotonic() < end:
            return True
        self._stop_lost_at = None
        if reading is not None and reading.begun > end:
            return False
        # A reading from now on shows the copy's sales.
        self._account.note_change()
        return True

    def _pause(self, text: str) -> None:
        """Let a pending exit wait, longer each time, and report it."""
        times = self._book.times
        pause = min(times.exit_again * 2 ** min(self._refusals, 20), _LONGEST_PAUSE_SECONDS)
        self._refusals += 1
        self._not_before = time.monotonic() + pause
        # The free balance may have been less than the known one.
        self._account.read_soon()
        self._book.states.report(
            EXIT_PROBLEM,
            Problem(
                text,
                f"the exit is tried again in {pause:.0f} s; meanwhile the stop is placed again",
                SELL_BY_HAND,
            ),
        )

    def is_blocking_stop(self, exit_order: LiveOrder) -> bool:
        """Return whether no stop may be placed or moved because of an exit that is not sent yet.

        Until the exit begins to cancel the stops, stops are placed and moved as usual.
        """
        if self._is_barred or not self.may_begin:
            return False
        return exit_order.has_begun or self._may_fire(exit_order) or self._is_unprotected

    def is_awaiting_next_part(self) -> bool:
        """Return whether a part of the position was sold, and the exit of the next part is due.

        No stop is placed in between, for `acknowledge` seconds at most. While the program ends, no
        further exit follows.
        """
        if self._is_ending or not self._has_sold_part or self._book.exit is not None:
            return False
        if self._book.position.is_flat or self._is_barred or not self.may_begin:
            self._has_sold_part = False
            return False
        now = time.monotonic()
        if self._part_ended is None:
            self._part_ended = now
        return now - self._part_ended < self._book.times.acknowledge

    def note_ending(self) -> None:
        """Note that the program ends: after a part that was sold, the stop is put back at once."""
        self._is_ending = True

    def put_off_overdue(self, now_ms: int) -> None:
        """Drop an exit that could not be sent for `acknowledge` seconds while no stop rests."""
        exit_order, limit = self._book.exit, self._book.times.acknowledge
        if exit_order is not None and exit_order.is_unsent and self._is_overdue(exit_order):
            self._put_off(now_ms, f"the account could not be read for {limit:.0f} s")

    def _is_overdue(self, exit_order: LiveOrder) -> bool:
        """Return whether no stop has rested for longer than the send of an exit may take."""
        unprotected_since = exit_order.unprotected_since
        limit = self._book.times.acknowledge
        return unprotected_since is not None and time.monotonic() - unprotected_since >= limit

    def _put_off(self, now_ms: int, reason: str) -> None:
        """Drop an exit that cannot be sent; another one is made after a pause."""
        self._has_sold_part = False
        self.drop(now_ms, reason)
        self._pause(f"the position could not be sold: {reason}")

    def drop(self, now_ms: int, reason: str) -> None:
        """Drop the exit order if it is not sent yet; the exit stays pending. Print a line.

        Args:
            now_ms: Market time, epoch milliseconds.
            reason: Reason as a text.
        """
        exit_order = self._book.exit
        if exit_order is None or not exit_order.is_unsent:
            return
        print_line(f"the exit is not sent: {reason}; it is pending, and begins again later")
        self._book.record(
            exit_order, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason
        )

    def advance_exit(self, now_ms: int) -> None:
        """Take the next step for the exit that is stored and not sent; without an exit, none.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account.
        """
        book = self._book
        if self._dust is not None and book.exit is None and not book.position.is_flat:
            self._write_off_dust(self._dust, now_ms)
        self._dust = None
        exit_order = book.exit
        if book.position.is_flat:
            self._drop_needless_exit(exit_order, now_ms)
            return
        if exit_order is None or not exit_order.is_unsent or not self.may_begin:
            return
        if self._is_barred:
            # At a halt the next check of the commands drops its order; the exit stays pending.
            exit_order.has_begun, exit_order.unprotected_since = False, None
            self._report_unread(exit_order)
            return
        if self._is_unprotected:
            # After a part that was sold, no stop rests since the end of that part.
            since = self._part_ended if self._has_sold_part else None
            exit_order.unprotected_since = exit_order.unprotected_since or since or time.monotonic()
        else:
            exit_order.unprotected_since = None
            self._has_sold_part = False
        if not all(stop.is_nowhere for stop in book.stops):
            self._end_stops(exit_order, now_ms)
            return
        self._sell(exit_order, now_ms)

    def _report_unread(self, exit_order: LiveOrder) -> None:
        """Report an exit that waits because others may have sold the position's coins."""
        if not self._account.is_sale_of_others_possible:
            return
        self._read_again()
        if time.monotonic() - exit_order.begun >= self._book.times.acknowledge:
            self._book.states.report(
                EXIT_PROBLEM,
                Problem(
                    f"an exit waits: {UNREAD_SALES}",
                    "the stop is kept; the position is sold once they are read, and covered",
                    SELL_BY_HAND,
                ),
            )

    def _drop_needless_exit(self, exit_order: LiveOrder | None, now_ms: int) -> None:
        """Drop an exit of a position that is closed already."""
        self._refusals, self._not_before = 0, 0.0
        book = self._book
        book.states.clear_problem(EXIT_PROBLEM)
        if exit_order is None or not exit_order.is_unsent:
            return
        book.record(exit_order, [ProvenAbsent("not needed: the position is closed")], now_ms)

    def _write_off_dust(self, reason: str, now_ms: int) -> None:
        """Remove a position that no order can sell from the ledger."""
        write_off_dust(self._book, reason, now_ms)
        self._account.note_correction()

    def _end_stops(self, exit_order: LiveOrder, now_ms: int) -> None:
        """Cancel the stops, or wait until a stop whose level was passed is filled."""
        book = self._book
        if self._may_fire(exit_order):
            for stop in book.stops:
                stop.is_look_up_needed = True
            return
        if not (exit_order.has_begun or self._may_take_stops(exit_order)):
            return
        exit_order.has_begun = True
        for stop in book.stops:
            if stop.is_unsent:
                book.record(stop, [ProvenAbsent("not needed: the position is sold")], now_ms)
            elif not stop.state.is_done:
                book.request_cancel(stop, "the position is sold", now_ms)

    @property
    def _is_unprotected(self) -> bool:
        """Return whether no known stop rests; executions of an ended stop may be missing."""
        return all(stop.is_nowhere or stop.state.is_done for stop in self._book.stops)

    def _may_fire(self, exit_order: LiveOrder) -> bool:
        """Return whether an exit waits because the stop may be filled: its level was passed."""
        times = self._book.times
        waited = time.monotonic() - exit_order.begun
        return (
            exit_order.order.type in _STOP_TYPES
            and not self._is_unprotected
            and waited < times.stop_fires
        )

    def _may_take_stops(self, exit_order: LiveOrder) -> bool:
        """Return whether stops may be cancelled; not without a reading, or no exit could follow."""
        if self._account.is_readable:
            return True
        self._account.read_soon()
        if time.monotonic() - exit_order.begun >= self._book.times.acknowledge:
            self._book.states.report(
                EXIT_PROBLEM,
                Problem(
                    "an exit waits: the account cannot be read",
                    "the stop is kept; the position is sold once the account is read",
                    "check the network and the API key, if this lasts",
                ),
            )
        return False

    def _sell(self, exit_order: LiveOrder, now_ms: int) -> None:
        """Send the exit for the held amount once it is free; after seconds for the free amount."""
        book, base = self._book, self._book.context.market.base
        if self._is_sale_of_copy_possible():
            return
        balance = self._account.held.base
        if balance is None:
            self._account.read_soon()
            return
        free = balance.free
        trading_rules = book.context.market.trading_rules
        held, wanted, minimum = (
            self._account.compute_sellable_base(),
            self._whole_amount,
            get_min_sell_amount(trading_rules),
        )
        if wanted <= 0 or wanted < minimum:
            self._drop_small_exit(exit_order, held, now_ms)
            return
        amount = compute_sellable_amount(held, free, trading_rules)
        if amount < wanted and not self._is_overdue(exit_order):
            self._read_again()
            return
        if amount > 0 and amount >= minimum:
            part = compute_next_part(amount, book.sizes.at_market, trading_rules)
            if part < amount:
                print_line(
                    f"exit: {part:f} {base} of {amount:f} are sold now, because a market order may "
                    f"have {book.sizes.at_market:f} at most; the rest follows"
                )
            self._has_sold_part, self._part_ended = part < amount, None
            amount = part
            self._account.held.note_before_send(exit_order)
            book.send(exit_order, amount, now_ms)
            return
        # The coins are locked or gone: the comparison of the account reports it.
        self._put_off(now_ms, f"only {free:f} {base} of {held:f} are free")

    @property
    def _whole_amount(self) -> Decimal:
        """Return the amount of an order that sells the whole position, base currency."""
        held = self._account.compute_sellable_base()
        return compute_sellable_amount(held, held, self._book.context.market.trading_rules)

    def _read_again(self) -> None:
        """Request another reading of the account, with the pauses of failed readings."""
        now = time.monotonic()
        if now - self._read >= self._book.times.read_again:
            self._read = now
            self._account.read_soon()

    def _drop_small_exit(self, exit_order: LiveOrder, held: Decimal, now_ms: int) -> None:
        """Drop an exit whose position is too small for an order; a small position becomes dust."""
        reason = f"{held:f} {self._book.context.market.base} are less than the market lets one sell"
        if not self._is_small_position:
            self._put_off(now_ms, reason)
            return
        print_line(f"no exit: {reason}")
        self._book.record(
            exit_order, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason
        )
        self._write_off_dust(reason, now_ms)
