"""Sells a position: first the stop that rests is cancelled and its end is known, then one order.

While the stop may still be filled, nothing is sold: stop and exit together would sell coins that
were not bought here. If the price has passed the level of the stop, the stop gets a moment to fire.
The stop stays until the account was read. The exit waits for coins that the exchange still shows as
locked. If it cannot be sent within seconds after the end of the stop, it sells the free coins, or
it is put off and the stop is placed again. The exit is pending until no coins are left to sell.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.execution.events import ProvenAbsent
from onetape.execution.order_sizes import compute_next_part
from onetape.execution.positions import get_least_amount
from onetape.execution.protection import compute_sellable_amount
from trader.live.adopting import write_off_dust
from trader.live.book import LiveBook
from trader.live.key_watch import KEY
from trader.live.reconciling import AccountCheck
from trader.live.stop_watch import Obstacle, is_doubtful
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of problems with exits.
EXIT: Final = "exit"
_ZERO: Final = Decimal(0)
_OF_STOPS: Final = ("stop_loss", "trailing_stop")
_SELL_BY_HAND: Final = "if this lasts, sell the position by hand, then run: uv run trader reconcile"
_LONGEST_PAUSE_SECONDS: Final = 300.0
_KEEP_RUNNING: Final = "keep this program running"
_UNREAD: Final = (
    "executions since the position was bought are not all read, and others may have sold it: the "
    "account has less than its own coins and the position"
)
#: Words in exchanges' errors about an order that is too small.
_TOO_SMALL: Final = ("NOTIONAL", "LOT_SIZE", "minimum", "too small")


class ExitSender:
    """Carries out the exit of one symbol."""

    def __init__(self, book: LiveBook, account: AccountCheck) -> None:
        """Initialise; an exit, if there is one, is among the executor's orders."""
        self._book = book
        self._account = account
        self._refusals = 0
        self._not_before = 0.0
        self._read = -1e9
        """Time when the account was read again because coins were not free, monotonic seconds."""
        self._taken: float | None = None
        """Time since others may be selling the position, monotonic seconds; None: no sign of it."""
        self._has_sold_part = False
        """Whether the last sent exit sells a part, so that another exit follows at once."""
        self._part_ended: float | None = None
        """Time when the last sent exit was found to be over, monotonic seconds; None: open."""
        self._is_ending = False
        """Whether the program ends, so that no further exit is stored."""
        self._dust: str | None = None
        """Reason why no order can sell the position, whose value is small; None: an order can."""

    @property
    def _is_small(self) -> bool:
        """Return whether the position was bought for less than two of the smallest orders.

        Present prices are not used: a wrong price must not make dust of a position.
        """
        trading_rules = self._book.context.market.trading_rules
        bought = Decimal(repr(self._book.compute_entry_price(0.0)))
        least = max(trading_rules.min_notional, get_least_amount(trading_rules) * bought)
        return self._book.position.cost < 2 * least

    @property
    def may_begin(self) -> bool:
        """Return whether the pause after a refused exit is over."""
        return time.monotonic() >= self._not_before

    @property
    def obstacle(self) -> Obstacle | None:
        """Return the reason why a passed level would sell nothing now; None: it would sell."""
        book, one = self._book, self._book.exit
        if book.halt is not None:
            return Obstacle(
                book.halt, "nothing is sold before a resume", "run: uv run trader resume"
            )
        if book.states.is_halted_by(KEY):
            return Obstacle(
                "the API key may not trade, or is not accepted",
                "no order can be sent",
                "correct the rights of the key at the exchange, or sell by hand",
            )
        if self._account.copies.is_seen:
            return Obstacle(
                "another copy of this database trades the symbol",
                "only a stop sells before a person has answered",
                "stop the other copy, then run: uv run trader reconcile",
            )
        if self._account.is_sale_of_others_possible and not self._account.is_missing:
            return Obstacle(
                _UNREAD, "only a stop sells before these executions are read", _SELL_BY_HAND
            )
        if self._account.bars_exits:
            return Obstacle(
                "coins of the position are missing",
                "nothing is sold before a person has answered",
                "look at the account, then run: uv run trader reconcile",
            )
        if book.unread_entry is not None:
            return Obstacle(
                "executions of the entry are not known",
                "only a stop sells before these executions are known",
                _SELL_BY_HAND,
            )
        if not self.may_begin:
            measure = "nothing is sold before the next try"
            return Obstacle("the exit could not be made", measure, _SELL_BY_HAND)
        limit, looked_up = book.times.acknowledge, "it is looked up, and nothing is sold meanwhile"
        if one is not None and not one.is_unsent and one.waited >= limit:
            return Obstacle("it is not known what the exit has sold", looked_up, _KEEP_RUNNING)
        if any(_is_unclear(stop, book, limit) for stop in book.stops):
            return Obstacle("it is not acknowledged yet", looked_up, _KEEP_RUNNING)
        return None

    @property
    def is_between(self) -> bool:
        """Return whether an exit is stored, not sent yet, and may be sent now."""
        one = self._book.exit
        is_waiting = one is not None and one.is_unsent and not self._book.position.is_flat
        return is_waiting and self.may_begin and not self._is_barred

    @property
    def _is_barred(self) -> bool:
        """Return whether exits are blocked: by a halt, by missing coins, or by the key."""
        book = self._book
        is_key_wrong = book.states.is_halted_by(KEY)
        return book.halt is not None or self._account.bars_exits or is_key_wrong

    def note_refused(self, one: LiveOrder, reason: str) -> None:
        """Note that the exchange has refused an exit, which stays pending and is sent again later.

        A position that was bought for little and is too small for an order of the market is dust.
        """
        is_whole = (one.order.ordered_amount or _ZERO) >= self._wanted
        if is_whole and self._is_small and any(word in reason for word in _TOO_SMALL):
            self._dust = reason
            return
        self._pause(f"the exchange refused to sell the position: {reason}")

    def note_unfilled(self, one: LiveOrder) -> None:
        """Note that the exchange has ended an exit without a fill, which is sent again later."""
        self._pause(f"the exchange sold nothing: the exit is {one.state.outcome}")

    def note_stop_taken(self) -> None:
        """Note that the stop is gone without a cancellation by this program alone."""
        self._taken = time.monotonic()

    def _is_sale_of_copy_possible(self) -> bool:
        """Return whether another copy of the database may be selling the position right now."""
        if self._taken is None:
            return False
        end, reading = self._taken + self._book.times.stop_taken, self._account.held.reading
        if time.monotonic() < end:
            return True
        self._taken = None
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
            EXIT,
            Problem(
                text,
                f"the exit is tried again in {pause:.0f} s; meanwhile the stop is placed again",
                _SELL_BY_HAND,
            ),
        )

    def is_blocking_stop(self, one: LiveOrder) -> bool:
        """Return whether an exit that is not sent yet bars stops from being placed or moved.

        Until the exit begins to cancel the stops, stops are placed and moved as usual.
        """
        if self._is_barred or not self.may_begin:
            return False
        return one.has_begun or self._may_fire(one) or self._is_bare

    def is_awaiting_next_part(self) -> bool:
        """Return whether a part of the position was sold and the exit of the next one is due.

        No stop is placed in between, for the time that the send of an exit may take. If the program
        ends, no further exit follows.
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
        """Put an exit off that could not be sent for seconds while no stop rests."""
        one, limit = self._book.exit, self._book.times.acknowledge
        if one is not None and one.is_unsent and self._is_overdue(one):
            self._put_off(now_ms, f"the account could not be read for {limit:.0f} s")

    def _is_overdue(self, one: LiveOrder) -> bool:
        """Return whether no stop has rested for longer than the send of an exit may take."""
        bare_since = one.bare_since
        limit = self._book.times.acknowledge
        return bare_since is not None and time.monotonic() - bare_since >= limit

    def _put_off(self, now_ms: int, reason: str) -> None:
        """Drop an exit that cannot be sent: it stays pending, and begins again after a pause."""
        self.drop(now_ms, reason)
        self._pause(f"the position could not be sold: {reason}")

    def drop(self, now_ms: int, reason: str) -> None:
        """Drop the exit if it is not sent yet; a dropped exit stays pending."""
        one = self._book.exit
        if one is None or not one.is_unsent:
            return
        print_line(f"the exit is not sent: {reason}; it is pending, and begins again later")
        self._book.record(one, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason)

    def advance_exit(self, now_ms: int) -> None:
        """Take the next step for the exit that is stored and not sent, if there is one."""
        book = self._book
        if self._dust is not None and book.exit is None and not book.position.is_flat:
            self._write_off_dust(self._dust, now_ms)
        self._dust = None
        one = book.exit
        if book.position.is_flat:
            self._forget(one, now_ms)
            return
        if one is None or not one.is_unsent or not self.may_begin:
            return
        if self._is_barred:
            # At a halt the next check of the commands drops its order; the exit stays pending.
            one.has_begun, one.bare_since = False, None
            self._report_unread(one)
            return
        if self._is_bare:
            one.bare_since = one.bare_since or time.monotonic()
        else:
            one.bare_since = None
        if not all(stop.is_nowhere for stop in book.stops):
            self._end_stops(one, now_ms)
            return
        self._sell(one, now_ms)

    def _report_unread(self, one: LiveOrder) -> None:
        """Report an exit that waits because others may have sold the position's coins."""
        if not self._account.is_sale_of_others_possible:
            return
        self._read_again()
        if time.monotonic() - one.begun >= self._book.times.acknowledge:
            self._book.states.report(
                EXIT,
                Problem(
                    f"an exit waits: {_UNREAD}",
                    "the stop is kept; the position is sold once they are read, and covered",
                    _SELL_BY_HAND,
                ),
            )

    def _forget(self, one: LiveOrder | None, now_ms: int) -> None:
        """Drop an exit of a position that is closed already."""
        self._refusals, self._not_before = 0, 0.0
        book = self._book
        book.states.clear_problem(EXIT)
        if one is None or not one.is_unsent:
            return
        book.record(one, [ProvenAbsent("not needed: the position is closed")], now_ms)

    def _write_off_dust(self, reason: str, now_ms: int) -> None:
        """Remove a position that no order can sell from the ledger."""
        write_off_dust(self._book, reason, now_ms)
        self._account.note_correction()

    def _end_stops(self, one: LiveOrder, now_ms: int) -> None:
        """Cancel the stops, or wait for a stop to fire whose level was passed."""
        book = self._book
        if self._may_fire(one):
            for stop in book.stops:
                stop.is_look_needed = True
            return
        if not (one.has_begun or self._may_take_stops(one)):
            return
        one.has_begun = True
        for stop in book.stops:
            if stop.is_unsent:
                book.record(stop, [ProvenAbsent("not needed: the position is sold")], now_ms)
            elif not stop.state.is_done:
                book.request_cancel(stop, "the position is sold", now_ms)

    @property
    def _is_bare(self) -> bool:
        """Return whether no known stop rests; executions of an ended stop may be missing."""
        return all(stop.is_nowhere or stop.state.is_done for stop in self._book.stops)

    def _may_fire(self, one: LiveOrder) -> bool:
        """Return whether an exit waits for the stop itself to fire, whose level was passed."""
        times = self._book.times
        waited = time.monotonic() - one.begun
        return one.order.type in _OF_STOPS and not self._is_bare and waited < times.stop_fires

    def _may_take_stops(self, one: LiveOrder) -> bool:
        """Return whether stops may be cancelled; without a reading the coins cannot be sold."""
        if self._account.is_readable:
            return True
        self._account.read_soon()
        if time.monotonic() - one.begun >= self._book.times.acknowledge:
            self._book.states.report(
                EXIT,
                Problem(
                    "an exit waits: the account cannot be read",
                    "the stop is kept; the position is sold once the account is read",
                    "check the network and the API key, if this lasts",
                ),
            )
        return False

    def _sell(self, one: LiveOrder, now_ms: int) -> None:
        """Send the exit for the held amount once it is free; after a while for the free amount."""
        book, base = self._book, self._book.context.market.base
        if self._is_sale_of_copy_possible():
            return
        balance = self._account.held.base
        if balance is None:
            self._account.read_soon()
            return
        free = balance.free
        trading_rules = book.context.market.trading_rules
        held, wanted, least = (
            self._account.compute_sellable_base(),
            self._wanted,
            get_least_amount(trading_rules),
        )
        if wanted <= 0 or wanted < least:
            self._refuse_little(one, held, now_ms)
            return
        amount = compute_sellable_amount(held, free, trading_rules)
        if amount < wanted and not self._is_overdue(one):
            self._read_again()
            return
        if amount > 0 and amount >= least:
            part = compute_next_part(amount, book.sizes.at_market, trading_rules)
            if part < amount:
                print_line(
                    f"exit: {part:f} {base} of {amount:f} are sold now, because a market order may "
                    f"have {book.sizes.at_market:f} at most; the rest follows"
                )
            self._has_sold_part, self._part_ended = part < amount, None
            amount = part
            self._account.held.note_before_send(one)
            book.send(one, amount, now_ms)
            return
        # The coins are locked or gone: the comparison of the account reports it.
        self._put_off(now_ms, f"only {free:f} {base} of {held:f} are free")

    @property
    def _wanted(self) -> Decimal:
        """Return the amount that an order sells if the whole position is free, base currency."""
        held = self._account.compute_sellable_base()
        return compute_sellable_amount(held, held, self._book.context.market.trading_rules)

    def _read_again(self) -> None:
        """Request another reading of the account, with the pauses of failed readings."""
        now = time.monotonic()
        if now - self._read >= self._book.times.read_again:
            self._read = now
            self._account.read_soon()

    def _refuse_little(self, one: LiveOrder, held: Decimal, now_ms: int) -> None:
        """Drop an exit whose position is too small for an order; little value counts as dust."""
        reason = f"{held:f} {self._book.context.market.base} are less than the market lets one sell"
        if not self._is_small:
            self._put_off(now_ms, reason)
            return
        print_line(f"no exit: {reason}")
        self._book.record(one, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason)
        self._write_off_dust(reason, now_ms)


def _is_unclear(stop: LiveOrder, book: LiveBook, limit: float) -> bool:
    """Return whether the state of a stop has been unknown for longer than some seconds."""
    if stop.state.stage in ("sent", "unknown"):
        return not stop.is_nowhere and stop.waited >= limit
    cancelled = stop.cancelled
    return (
        is_doubtful(stop, book) and cancelled is not None and time.monotonic() - cancelled >= limit
    )
