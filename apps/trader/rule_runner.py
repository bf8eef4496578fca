"""Runs the trading rules of one symbol: feeds them its candles, and carries out entries and exits.

The rules are those of the backtest (`onetape.engine.step`), on paper and live. A closed candle is
fed once, before it is decided on: its first trade, then its prices. A forming candle counts only as
far as it cannot change any more: a target that it has reached waits for its close, because a stop
in the same candle has precedence.

A level (price of a stop or target) that passed while the market was not watched is sold at the
first price after it (`stream_watch`).
"""

import math
from collections.abc import Sequence
from decimal import Decimal

from onetape.cli.events import add_event_fields
from onetape.cli.output import prefix_lines, print_line
from onetape.core.candles import Candle, Candles
from onetape.core.clock import format_utc
from onetape.core.strategy_levels import LevelRow
from onetape.core.trading import ExitCause
from onetape.engine import (
    EXIT_KINDS,
    BarExit,
    CancelLimit,
    Enter,
    EntryFilled,
    EntryRefused,
    Exit,
    ExitFilled,
    ExitRefused,
    ExitSent,
    FillLimit,
    LimitSent,
)
from onetape.engine.exits import compute_levels
from onetape.exchange.rest import RestExchange
from onetape.store.candles import read_candle_at, read_first_candle_after
from onetape.store.reading import read_closed_between, read_newest_row
from onetape.strategies import Signals
from trader.account_rules import AccountRules, SymbolIntent
from trader.executor import Executor
from trader.exit_orders import ExitOrders
from trader.journal_exits import JournalExits, describe_exit_reason
from trader.late_sells import LateSells
from trader.later_candles import LaterCandles
from trader.rule_obstacles import RuleObstacles
from trader.session_context import SessionContext
from trader.stepping import RuleStepper, make_candle_rows
from trader.stream_recorder import StreamRecorder
from trader.unwatched_prices import UnwatchedPrices


class RuleRunner:
    """Feeds the rules of one symbol, and carries out its entries and exits."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        executor: Executor,
        orders: ExitOrders,
        recorder: StreamRecorder,
        rules: AccountRules,
    ) -> None:
        """Continue after the candles that earlier sessions have decided on.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock measures how old a candle is.
            executor: Executor of the symbol, with the position.
            orders: Sends exits, and fills entries and exits.
            recorder: Recorder with the watch of the market, and candles that are held back.
            rules: Rules of all symbols of the account; entries are carried out in their order.
        """
        self._context = context
        self._executor = executor
        self._orders = orders
        self._rules = rules
        self._late_sells = LateSells(context, executor, orders)
        self._unwatched = UnwatchedPrices(context, exchange, recorder)
        self._stepper = self._make_stepper()
        self._later_candles = LaterCandles(
            context, recorder, self._unwatched, lambda: self._stepper, self._carry_out
        )
        self.obstacles = RuleObstacles(context, executor, rules, lambda: self._stepper)
        """Reasons of the rules against an entry or a SELL, for the checks of a decision."""
        self.journal_exits = JournalExits(
            context, exchange, executor, orders, lambda: self._stepper
        )
        """Exits in the journal, for the time in which the database cannot be written."""
        self._due: Candle | None = None
        """The candle whose open fills the SELL of the strategy that is due; None: none is."""
        self._entering: Enter | None = None
        """The entry that was sent and whose result the rules lack, or None."""
        executor.set_level_source(self._compute_stop_level, self._knows_position)
        executor.set_level_exit(self._sell_at_level)
        self._is_outdated = False
        """Whether candles were corrected after the rules were fed with them."""
        self._looked_for: tuple[str, int] | None = None
        """Entry order for which the rules were rebuilt, and the newest candle then; or None."""
        self._exit_ahead: int | None = None
        """Open of a candle whose exit was filled before the rules got the candle, or None."""
        self._failure: Exception | None = None
        """Error of an entry that became due with an event of another symbol."""
        rules.attach(context.key.symbol, self)

    def _make_stepper(self) -> RuleStepper:
        """Return the rules with the state that the stored candles, decisions and fills lead to."""
        return RuleStepper(
            self._context, self._executor, self._rules, is_exit_pending=self._orders.is_exit_pending
        )

    def note_correction(self) -> None:
        """Rebuild the state of the rules before the next candle, because a candle was corrected."""
        self._is_outdated = True

    def watch_closed(self, timestamp: int) -> None:
        """Feed the rules with the closed candles up to one, and carry out the exits they lead to.

        Args:
            timestamp: Open of the candle to decide on next, epoch seconds.
        """
        self._note_found_position(timestamp)
        self._note_vanished_limit()
        self._late_sells.sell_for_missed_signal()
        if self._is_outdated and self._executor.open_order is None:
            self._is_outdated = False
            self._stepper = self._make_stepper()
        context, state = self._context, self._stepper.state
        start = timestamp if state.closed is None else context.timeframe.next(state.closed)
        if state.opened is not None:
            start = state.opened.timestamp
        end = context.timeframe.next(timestamp)
        if start >= end:
            return
        for candle in make_candle_rows(read_closed_between(context.store, context.key, start, end)):
            self._feed_first_trade(candle)
            self._carry_out(self._stepper.close(candle), candle)
        rules = self._stepper.rules
        if rules.entry_hours is not None or rules.entry_guards:
            # No BUY can be sent while an order is open that one of these rules has dropped.
            self.drop_entry()

    def _note_found_position(self, timestamp: int) -> None:
        """Rebuild the state of the rules if it lacks the open position.

        The entry was sent by an earlier session, or counted as absent, and was found later. If the
        candle that filled the entry is not stored yet, the next candle leads to another attempt.

        Args:
            timestamp: Open of the candle to decide on next, epoch seconds.
        """
        entry = self._executor.entry_order_id
        if entry is None or self._entering is not None or self._stepper.state.position is not None:
            return
        if self._looked_for != (entry, timestamp):
            self._looked_for = entry, timestamp
            self.note_correction()

    def _note_vanished_limit(self) -> None:
        """End the open limit order by the rules if it was cancelled in another way."""
        state, order = self._stepper.state, self._executor.open_order
        if state.limit is not None and (order is None or order.side != "buy"):
            self._stepper.end_limit()

    def watch_forming(self, decided: int | None) -> None:
        """Feed the rules with the candle after the last decided one, as far as it has formed.

        If a candle stays missing or is not closed, the newest candle is checked too: a stop does
        not wait for candles that the exchange may never send.

        Args:
            decided: Open of the last decided candle, epoch seconds; None: no candle was decided on.
        """
        self._rules.carry_out_due_entries()
        self._raise_failure()
        if decided is None:
            return
        context = self._context
        self.watch_closed(decided)
        candle = read_first_candle_after(context.store, context.key, decided)
        if candle is None:
            return
        if self._unwatched.is_gap_before(candle, decided):
            if not self._unwatched.has_waited(candle.timestamp):
                return
            self._later_candles.sell_at(candle, self._stepper.copy())
        else:
            self._feed_first_trade(candle)
            self._carry_out(self._stepper.form(candle), candle)
        ended = context.timeframe.next(candle.timestamp)
        if self._unwatched.has_waited(ended):
            self._later_candles.check_after(candle, ended)

    def watch_held(self) -> None:
        """Check the candles of the stream that are held back while REST does not respond.

        An exit that they lead to is sold at their newest price (`ExitOrders.fill_exit`).
        """
        self._later_candles.check_held()

    def fill(self, rest_price: float | None = None) -> None:
        """Fill the open order to sell, if its price has come; print the result.

        Args:
            rest_price: The price over REST while the stream is down, quote currency; None: the
                price is that of the stream.
        """
        due, state = self._due, self._stepper.state
        is_held = state.position is not None and state.order is None
        if is_held and not state.sell_due and self._orders.is_exit_pending:
            # The exit is pending for another reason than the rules: a correction, for example.
            self._stepper.step(ExitSent(self._context.key.symbol))
        if due is None and self._stepper.state.order is not None:
            due = self._orders.find_passed_candle()
        line = self._orders.fill_exit(due, rest_price)
        if line is not None:
            print_line(line)
        self._settle()
        self.drop_entry()
        self._raise_failure()

    def drop_entry(self) -> None:
        """Cancel the order to buy that the rules have dropped.

        No slot was free, the candle opened outside the trading hours, or an entry guard paused
        entries.
        """
        order, state = self._executor.open_order, self._stepper.state
        if order is None or order.side != "buy" or state.order is not None or state.buy_due:
            return
        if state.limit is not None:
            return
        with prefix_lines(self._context.prefix):
            line = self._orders.cancel_entry(self.obstacles.describe_drop())
            if line is not None:
                print_line(line)

    def sell_for_command(self, reason: str) -> None:
        """Sell the position for a command of a person, at the newest price.

        Args:
            reason: Command and its origin, such as `exit by USER on HOST`.

        Raises:
            ValueError: there is no position.
            StoreError: the order could not be stored.
            SafetyRefusal: another process trades the account.
        """
        row = read_newest_row(self._context.store, self._context.key)
        price = Decimal(0) if row is None else Decimal(repr(row.close))
        timestamp = 0 if row is None else row.timestamp
        self._orders.send_late(*self._orders.make_exit("command", timestamp, price, reason))

    def _sell_at_level(self, kind: str, level: Decimal, reason: str) -> None:
        """Sell the position because the price has passed its stop while no candle arrived; once.

        Args:
            kind: `stop_loss` or `trailing_stop`.
            level: Price of the stop, quote currency.
            reason: Reason as a text.
        """
        order = self._executor.open_order
        if self._orders.is_exit_pending or (order is not None and order.side == "sell"):
            return
        row = read_newest_row(self._context.store, self._context.key)
        timestamp = 0 if row is None else row.timestamp
        cause: ExitCause = "trailing_stop" if kind == "trailing_stop" else "stop_loss"
        print_line(f"{kind.replace('_', ' ')}: {reason}")
        self._orders.send_late(*self._orders.make_exit(cause, timestamp, level, reason))

    def decide(
        self,
        candles: Candles,
        signals: Signals,
        signal: int,
        *,
        can_enter: bool,
        levels: LevelRow | None,
    ) -> None:
        """Feed the rules with the decision on the newest closed candle, once it is stored.

        Args:
            candles: Input candles of the strategy; the last one is decided on.
            signals: Signals of the strategy for these candles.
            signal: 1 BUY, -1 SELL, 0 HOLD, or a SELL that may not be sent.
            can_enter: Whether the BUY has become an order.
            levels: Prices of the strategy on the candle; None: it gives none.
        """
        self._stepper.add_signals(candles, signals)
        timestamp = int(candles.timestamp[-1])
        if not self._stepper.is_decidable(timestamp):
            return
        intents = self._stepper.decide(timestamp, signal, can_enter=can_enter, levels=levels)
        for intent in intents:
            if isinstance(intent, CancelLimit):
                self._cancel_limit(intent)
        if signal < 0:
            line = self._orders.cancel_entry("a SELL came while it waited for a trade")
            if line is not None:
                print_line(line)
        candle = read_first_candle_after(self._context.store, self._context.key, timestamp)
        if candle is not None:
            self._carry_out([one for one in intents if isinstance(one, Exit)], candle)

    def _feed_first_trade(self, candle: Candle) -> None:
        """Feed the first trade of a candle, and prices that it passed before the watch began."""
        unwatched = self._unwatched.find_exit(candle, self._stepper)
        exits: Sequence[SymbolIntent] = self._stepper.open(candle)
        if self._exit_ahead is not None and candle.timestamp >= self._exit_ahead:
            self._stepper.begin_cooldown(self._exit_ahead)
            self._exit_ahead = None
        if unwatched is not None and not exits:
            exits = self._stepper.form(self._unwatched.get_first_seen(candle), is_unwatched=True)
        self._carry_out(exits, candle, is_late=unwatched is not None)

    def _carry_out(
        self, intents: Sequence[SymbolIntent], candle: Candle, *, is_late: bool = False
    ) -> None:
        """Carry out exits, and the fill or end of a limit order, that a candle leads to.

        Args:
            intents: The orders, first to last.
            candle: The candle.
            is_late: Whether the price of an exit passed while the market was not watched.
        """
        for intent in intents:
            if isinstance(intent, FillLimit):
                self._fill_limit(intent, candle, is_late=is_late)
            elif isinstance(intent, CancelLimit):
                self._cancel_limit(intent)
            elif intent.kind == "signal":
                self._due = candle
                self._late_sells.sell_for_early_signal(candle, self._stepper.state.closed)
                self.fill()
            else:
                self._sell_position(
                    intent, candle, is_late=is_late or self._unwatched.is_old(candle)
                )
        self._raise_failure()

    def _fill_limit(self, intent: FillLimit, candle: Candle, *, is_late: bool) -> None:
        """Fill the open limit order, and carry out the exit that its candle leads to.

        Args:
            intent: Price of the fill by the rules.
            candle: The candle that fills the order.
            is_late: Whether the price of an exit passed while the market was not watched.
        """
        line = self._orders.fill_limit(candle, intent.price, is_inside=intent.is_inside)
        if line is not None:
            print_line(f"limit order: {line}")
        is_filled = self._executor.entry_order_id is not None
        symbol = self._context.key.symbol
        event = EntryFilled(symbol, intent.price) if is_filled else EntryRefused(symbol)
        self._carry_out(self._stepper.step(event), candle, is_late=is_late)
        self.drop_entry()

    def _cancel_limit(self, intent: CancelLimit) -> None:
        """Cancel the limit order that the rules have ended; print the reason."""
        hours = self._stepper.rules.entry_hours
        pause = self.obstacles.find_pause(intent.timestamp)
        reason = "a SELL came while it was open"
        if intent.reason == "expired":
            reason = f"it expired with the candle of {format_utc(intent.timestamp)}"
        elif intent.reason == "trading_hours" and hours is not None:
            reason = hours.describe_closed(intent.timestamp)
        elif intent.reason == "entry_guard":
            reason = "an entry guard" if pause is None else pause.describe()
        with prefix_lines(self._context.prefix):
            line = self._orders.cancel_entry(reason)
            if line is not None:
                print_line(line)

    def enter(self, entry: Enter) -> None:
        """Fill the order to buy; `AccountRules` calls it in the turn of the entry.

        Args:
            entry: Entry of this symbol, by the rules.
        """
        candle = read_candle_at(self._context.store, self._context.key, entry.timestamp)
        session = self._context.session
        with (
            prefix_lines(self._context.prefix),
            # This runs in the task of the symbol whose event made the entry due.
            add_event_fields(account=session.account, symbol=session.symbol),
        ):
            line: str | None = None
            if candle is not None:
                line = self._send_entry(candle, entry.limit)
            if line is not None:
                print_line(line)
        if entry.limit is not None:
            self._settle_limit(is_sent=line is not None and self._orders.is_buying)
            return
        self._entering = entry
        self._settle_entry()

    def _send_entry(self, candle: Candle, limit: float | None) -> str | None:
        """Send or fill the order to buy in a candle, or cancel it if the candle's open is past.

        Args:
            candle: Candle whose open fills a market order, and in which a limit order begins.
            limit: Price of a limit order, quote currency; None: a market order.

        Returns:
            The line to print, or None.
        """
        missed = self._unwatched.describe_missed_open(candle)
        if missed is not None:
            return self._orders.cancel_entry(missed)
        if limit is not None:
            return self._orders.send_limit(candle, limit)
        return self._orders.fill_entry(candle)

    def _settle_limit(self, *, is_sent: bool) -> None:
        """Feed the rules with the result of a limit order: it is open, or it was not sent."""
        symbol = self._context.key.symbol
        intents = self._stepper.step(LimitSent(symbol) if is_sent else EntryRefused(symbol))
        for intent in intents:
            if isinstance(intent, CancelLimit):
                self._cancel_limit(intent)
        self.drop_entry()

    def _settle_entry(self) -> None:
        """Feed the rules with the result of the sent entry, if that order is over."""
        entry = self._entering
        if entry is None or self._executor.is_entry_in_flight:
            return
        self._entering = None
        is_filled = self._executor.entry_order_id is not None
        price = self._executor.compute_entry_price(entry.price)
        self._stepper.step(
            EntryFilled(entry.symbol, price) if is_filled else EntryRefused(entry.symbol)
        )

    def fail(self, error: Exception) -> None:
        """Store an error of `enter`, to be raised in the task of this symbol."""
        self._failure = error

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _knows_position(self) -> bool:
        """Return whether the rules have the position and its levels.

        They lack them while an entry is on its way, or was taken over from the exchange.
        """
        return self._stepper.knows_position

    def _compute_stop_level(self) -> tuple[str, Decimal] | None:
        """Return kind and price (quote currency) of the position's stop by the rules, or None."""
        state, rules = self._stepper.state, self._stepper.rules
        held = state.position
        if held is None or not held.has_levels:
            return None
        age = state.candles - held.candle
        levels = compute_levels(rules.exits, held.entry_price, held.highest, age, 0.0, held.levels)
        if not 0 < levels.stop < math.inf:
            return None
        return EXIT_KINDS[levels.stop_kind], Decimal(repr(levels.stop))

    def _sell_position(self, exit_: Exit, candle: Candle, *, is_late: bool) -> None:
        """Send the exit at a level: at its price, or if it is late, at the next price."""
        cause: ExitCause = "market" if exit_.kind == "signal" else exit_.kind
        reason = describe_exit_reason(self._context, exit_, candle)
        level = Decimal(repr(exit_.price))
        order, obligation = self._orders.make_exit(cause, candle.timestamp, level, reason)
        if is_late:
            self._orders.send_late(order, obligation)
            print_line(f"{reason}: passed while the market was not watched; sold at the next price")
            return
        found = BarExit(exit_.price, EXIT_KINDS.index(exit_.kind), exit_.is_ambiguous)
        print_line(f"{reason}: {self._orders.send_at_level(order, obligation, candle, found)}")
        self._settle()

    def settle(self) -> None:
        """Feed the rules with the results of an entry and an exit that are over."""
        self._settle_entry()
        self._settle()

    def _settle(self) -> None:
        """Feed the rules with the result of the exit, if that order is over."""
        state, symbol = self._stepper.state, self._context.key.symbol
        if state.position is None:
            return
        if self._executor.entry_order_id is None:
            if state.order is None:
                # A pending exit has been filled before the rules made it due.
                self._stepper.step(ExitSent(symbol))
            left = self._executor.last_exit
            newest = state.closed if state.opened is None else state.opened.timestamp
            if left is not None and newest is not None and left > newest:
                self._exit_ahead = left
            self._stepper.step(ExitFilled(symbol, left))
            self._due = None
        elif state.order is not None and not self._orders.is_exit_pending:
            self._stepper.step(ExitRefused(symbol))
            self._due = None
