"""Stops, targets and time stops of a paper position, by the engine's rule for one bar.

A closed candle is looked at once, before it is decided on. Of the forming one only what cannot
change any more counts (`final_exit`): a stop that held at its open and that it has reached, or an
open beyond a level. A target that it has reached waits for its close, because a stop in the same
candle comes first by the rules; so does a trailing stop that its own high has moved over its low,
because it sells at the low of the whole candle, as in a backtest.

A level that was passed while the market was not watched is sold at the first price after it
(`lateness`).
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from onetape.cli.output import print_line
from onetape.core.candles import Candle
from onetape.core.clock import utc_text
from onetape.core.trading import ExitCause
from onetape.core.untraded import is_untraded
from onetape.engine import (
    EXIT_KINDS,
    BarExit,
    exit_in_bar,
    final_exit,
    levels_of,
    rules_of_candle,
)
from onetape.engine.exits import TIME_STOP
from onetape.exchange.rest import RestExchange
from onetape.history.gaps import DECIDING_ANSWERS
from onetape.store.candles import first_row_after, missing_between, row_at
from onetape.store.gaps import unexplained
from onetape.store.ledger import filled_candle, is_exit_rejected, last_decided
from onetape.store.reading import closed_between, has_volume, newest_row
from trader.exit_orders import ExitOrders
from trader.job import Job
from trader.paper import PaperBroker
from trader.tape import Tape

#: Exits look past a candle that is missing or not closed after this, wall seconds.
HOLE_PATIENCE_SECONDS = 5.0


@dataclass
class _Held:
    """The position that is watched."""

    client_order_id: str
    price: float
    """Open of the candle that filled the entry."""
    highest: float
    """Highest of it and of the highs of the candles looked at."""
    looked_at: int
    """The candle looked at last, epoch seconds; first the one before the entry's."""
    age: int
    """Candles since the entry of the next one."""


class PaperExits:
    """Watches the position of one trader."""

    def __init__(
        self,
        job: Job,
        exchange: RestExchange,
        broker: PaperBroker,
        orders: ExitOrders,
        tape: Tape,
    ) -> None:
        """Begin; what earlier sessions have decided on, they have looked at.

        Args:
            job: What is traded.
            exchange: Its clock says how old a candle is.
            broker: Holds the position.
            orders: Sends the exits.
            tape: Knows since when the market is watched.
        """
        self._job = job
        self._exchange = exchange
        self._broker = broker
        self._orders = orders
        self._tape = tape
        self._seen = last_decided(job.store, job.session)
        self._held: _Held | None = None
        self._refused: str | None = None
        """Entry of the position whose exit the market refused: only a SELL ends it."""

    def watch_closed(self, timestamp: int) -> None:
        """Look at the closed candles up to one that is decided on next."""
        held = self._position()
        if held is None or held.looked_at >= timestamp:
            return
        job = self._job
        end = job.timeframe.next(timestamp)
        candles = closed_between(job.store, job.key, held.looked_at + 1, end)
        columns = (
            candles.timestamp, candles.open, candles.high, candles.low, candles.close,
            candles.volume,
        )  # fmt: skip
        for row in zip(*(column.tolist() for column in columns), strict=True):
            candle = Candle(*row)
            unwatched = self._found_unwatched(held, candle)
            found = unwatched or self._found(held, candle, is_closed=True)
            is_new = self._seen is None or candle.timestamp > self._seen
            if is_new and found is not None:
                is_late = unwatched is not None or self._is_old(candle)
                self._leave(held, candle, found, is_late=is_late)
                return
            if not self._is_untraded(candle):
                held.highest = max(held.highest, candle.high)
            held.looked_at = candle.timestamp
            held.age += 1

    def watch_forming(self, decided: int | None) -> None:
        """Look at the candle after the one that was decided on last.

        Where a candle stays missing or is not closed, the newest candle is looked at too: a stop
        does not wait for what the exchange may never send.
        """
        if decided is None or self._broker.open_order is not None:
            return
        job = self._job
        self.watch_closed(decided)
        held = self._position()
        candle = first_row_after(job.store, job.key, decided) if held else None
        if held is None or candle is None or candle.timestamp <= held.looked_at:
            return
        holes = missing_between(job.store, job.key, job.timeframe.next(decided), candle.timestamp)
        missing = unexplained(job.store, job.key, holes, answers=DECIDING_ANSWERS)
        if missing and not self._has_waited(candle.timestamp):
            return
        if self._leave_forming(held, candle):
            return
        newest = newest_row(job.store, job.key)
        ended = job.timeframe.next(candle.timestamp)
        if newest is None or newest.timestamp < ended or not self._has_waited(ended):
            return
        highest = max(held.highest, candle.high)
        self._leave_forming(replace(held, highest=highest, age=held.age + 1), newest)

    def _leave_forming(self, held: _Held, candle: Candle) -> bool:
        """Leave the position where a candle that still forms ends it; return whether it does."""
        unwatched = self._found_unwatched(held, candle)
        found = unwatched or self._found(held, candle, is_closed=False)
        if found is None:
            return False
        is_late = unwatched is not None or self._is_old(candle)
        self._leave(held, candle, found, is_late=is_late)
        return True

    def _has_waited(self, timestamp: int) -> bool:
        """Return whether REST had time to close or to bring the candles before a time."""
        age_ms = max(0, self._exchange.now_ms() - timestamp * 1_000)
        return self._exchange.clock.wall_seconds(age_ms) > HOLE_PATIENCE_SECONDS

    def _position(self) -> _Held | None:
        """Return the position that exits watch over, or None."""
        job, broker = self._job, self._broker
        entry = broker.entry_order_id
        if not job.rules.exits.is_any or entry is None or entry == self._refused:
            return None
        if self._orders.is_owed:
            return None
        if self._held is None or self._held.client_order_id != entry:
            if is_exit_rejected(job.store, entry):
                # By an earlier session.
                self._refused = entry
                return None
            filled = filled_candle(job.store, entry)
            first = None if filled is None else row_at(job.store, job.key, filled)
            if first is None:
                return None
            self._held = _Held(entry, first.open, first.open, first.timestamp - 1, 0)
        return self._held

    def _is_untraded(self, candle: Candle) -> bool:
        return is_untraded(candle) and has_volume(self._job.store, self._job.key)

    def _found(self, held: _Held, candle: Candle, *, is_closed: bool) -> BarExit | None:
        """Return how a candle ends the position, or None; nothing does without a trade in it."""
        if self._is_untraded(candle):
            return None
        rules = self._job.rules
        bars = rules.exits.time_stop_bars
        if bars is not None and held.age >= bars:
            return BarExit(candle.open, TIME_STOP, is_ambiguous=False)
        step = float(rules_of_candle(rules, candle).steps.price_step or 0)
        levels = levels_of(rules.exits, held.price, held.highest, held.age, step)
        rule = exit_in_bar if is_closed else final_exit
        return rule(candle.open, candle.high, candle.low, levels)

    def _found_unwatched(self, held: _Held, candle: Candle) -> BarExit | None:
        """Return the exit whose price a candle passed before the present watch began, or None.

        In the candle in which the watch began, an exit that an earlier watch had seen and left open
        until the close of the candle goes on as if nothing had happened.
        """
        watch = self._tape.watch
        if watch is None or candle.timestamp < watch.first.timestamp:
            return self._found(held, candle, is_closed=True)
        if candle.timestamp > watch.first.timestamp:
            return None
        begun = self._found(held, watch.first, is_closed=True)
        before = watch.before
        if begun is None or before is None:
            return begun
        is_pending = self._found(held, before, is_closed=False) is None
        is_same = is_pending and begun == self._found(held, before, is_closed=True)
        return None if is_same else begun

    def _is_old(self, candle: Candle) -> bool:
        """Return whether a candle ended so long ago that its price is gone."""
        ended_ms = self._job.timeframe.next(candle.timestamp) * 1_000
        age_ms = max(0, self._exchange.now_ms() - ended_ms)
        age_seconds = self._exchange.clock.wall_seconds(age_ms)
        return age_seconds > self._job.settings.max_signal_age_seconds

    def _leave(self, held: _Held, candle: Candle, found: BarExit, *, is_late: bool) -> None:
        kind = EXIT_KINDS[found.kind]
        cause: ExitCause = "market" if kind == "signal" else kind
        price = self._job.digits.price_text(found.price)
        name = kind.replace("_", " ")
        reason = f"{name} at {price} in the candle of {utc_text(candle.timestamp)}"
        level = Decimal(repr(found.price))
        order, obligation = self._orders.make(cause, candle.timestamp, level, reason)
        if is_late:
            self._orders.send_late(order, obligation)
            print_line(f"{reason}: passed while the market was not watched; sold at the next price")
            return
        line = self._orders.send_at(order, obligation, candle, found)
        if self._broker.entry_order_id == held.client_order_id:
            self._refused = held.client_order_id
        print_line(f"{reason}: {line}")
