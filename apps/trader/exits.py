"""Stops, targets and time stops of a paper position, by the engine's rule for one bar.

A closed candle is looked at once, before it is decided on. Of the forming one only what cannot
change any more counts (`final_exit`): a stop that held at its open and that it has reached, or an
open beyond a level. A target that it has reached waits for its close, because a stop in the same
candle comes first by the rules; so does a trailing stop that its own high has moved over its low,
because it sells at the low of the whole candle, as in a backtest.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import uuid4

from onetape.cli.output import print_line
from onetape.core.candles import Candle
from onetape.core.clock import utc_text
from onetape.core.trading import Order
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
from onetape.store.candles import first_row_after, missing_between
from onetape.store.gaps import unexplained
from onetape.store.ledger import is_rejected, last_decided, order_of
from onetape.store.reading import closed_between, first_traded_after, has_volume
from trader.job import Job
from trader.lease import Lease
from trader.paper import PaperBroker


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

    def __init__(self, job: Job, exchange: RestExchange, broker: PaperBroker, lease: Lease) -> None:
        """Begin; what earlier sessions have decided on, they have looked at.

        Args:
            job: What is traded.
            exchange: Its clock dates the exits.
            broker: Holds the position.
            lease: Proven right before an exit is stored.
        """
        self._job = job
        self._exchange = exchange
        self._broker = broker
        self._lease = lease
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
            found = self._found(held, candle, is_closed=True)
            is_new = self._seen is None or candle.timestamp > self._seen
            if is_new and found is not None:
                self._leave(held, candle, found)
                return
            if not self._is_untraded(candle):
                held.highest = max(held.highest, candle.high)
            held.looked_at = candle.timestamp
            held.age += 1

    def watch_forming(self, decided: int | None) -> None:
        """Look at the candle after the one that was decided on last."""
        if decided is None or self._broker.has_open_order:
            return
        job = self._job
        self.watch_closed(decided)
        held = self._position()
        candle = first_row_after(job.store, job.key, decided) if held else None
        if held is None or candle is None or candle.timestamp <= held.looked_at:
            return
        holes = missing_between(job.store, job.key, job.timeframe.next(decided), candle.timestamp)
        found = self._found(held, candle, is_closed=False)
        missing = unexplained(job.store, job.key, holes, answers=DECIDING_ANSWERS)
        if found is not None and not missing:
            self._leave(held, candle, found)

    def _position(self) -> _Held | None:
        """Return the position that exits watch over, or None."""
        job, broker = self._job, self._broker
        if not (job.rules.exits.is_any and broker.is_long):
            return None
        entry = broker.trades[-1].client_order_id
        if entry == self._refused:
            return None
        if self._held is None or self._held.client_order_id != entry:
            if is_rejected(job.store, _exits_of(entry)):
                # By an earlier session.
                self._refused = entry
                return None
            order = order_of(job.store, entry)
            first = order and first_traded_after(job.store, job.key, order.signal_timestamp)
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

    def _leave(self, held: _Held, candle: Candle, found: BarExit) -> None:
        self._lease.renew()
        kind = EXIT_KINDS[found.kind].replace("_", " ")
        price = self._job.digits.price_text(found.price)
        reason = f"{kind} at {price} in the candle of {utc_text(candle.timestamp)}"
        now_ms = self._exchange.now_ms()
        order = self._order(held, candle, found, reason, now_ms)
        said = self._broker.leave(order, candle, found, now_ms)
        if self._broker.is_long:
            self._refused = held.client_order_id
        print_line(f"{reason}: {said}")

    def _order(
        self, held: _Held, candle: Candle, found: BarExit, reason: str, now_ms: int
    ) -> Order:
        session = self._job.session
        return Order(
            # Not the same twice: a session may have been killed between this order and its trade.
            client_order_id=f"{_exits_of(held.client_order_id)}{candle.timestamp}-{uuid4().hex[:8]}",
            session=session.session,
            mode=session.mode,
            account=session.account,
            exchange=session.exchange,
            symbol=session.symbol,
            timeframe=session.timeframe,
            side="sell",
            type=EXIT_KINDS[found.kind],
            status="open",
            decision=None,
            signal_timestamp=candle.timestamp,
            decided_ms=now_ms,
            bid=None,
            ask=None,
            intended_price=Decimal(repr(found.price)),
            reason=reason,
            strategy=session.strategy,
            parameters=session.parameters,
            code_digest=session.code_digest,
        )


def _exits_of(entry: str) -> str:
    """Return how the client order ids of a position's exits begin."""
    return f"{entry}-exit-"
