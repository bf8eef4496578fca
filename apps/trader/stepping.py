"""Feeds the engine's trading rules of one symbol with candles, signals and fills.

The state of the rules is not stored: a new session restores it from the stored candles, decisions
and fills.
"""

from collections.abc import Mapping
from copy import copy

from msgspec.structs import replace

from onetape.core.candles import Candle, Candles
from onetape.core.strategy_levels import LevelRow
from onetape.core.untraded import is_untraded
from onetape.engine import (
    CandleClosed,
    CandleFacts,
    CandleForming,
    CandlesOpened,
    EntryObstacle,
    Exit,
    ExitSent,
    OpenedCandle,
    StepEvent,
    StepRules,
    StrategySignal,
    SymbolStepState,
    find_entry_obstacle,
    make_rules_of_candle,
    restore_state,
)
from onetape.store.candles import read_candle_at, read_last_closed_timestamp
from onetape.store.ledger import DecidedSeries, read_decided_signals, read_last_decided
from onetape.store.orders import is_exit_rejected, read_signal_timestamp, read_stored_order
from onetape.store.reading import has_volume, read_closed_between
from onetape.strategies import BUY, Signals
from trader.account_rules import AccountRules, RulesState, SymbolIntent
from trader.executor import Executor
from trader.limit_entries import read_limit_entry
from trader.session_context import SessionContext
from trader.stored_levels import read_decided_levels


class RuleStepper:
    """Rules and state of one symbol: makes events of candles and signals, returns due exits."""

    def __init__(
        self,
        context: SessionContext,
        executor: Executor,
        account: AccountRules,
        *,
        is_exit_pending: bool,
    ) -> None:
        """Continue after the candle that sessions of the account decided on last.

        Args:
            context: Context of the traded symbol.
            executor: Executor of the symbol, with its fills.
            account: Rules of all symbols of the account, which carry out entries.
            is_exit_pending: Whether an exit of the position is decided and not filled.
        """
        self._context = context
        self._executor = executor
        self._account: RulesState = account
        """Rules of the account; of a copy of this object, a state that orders do not follow."""
        self._has_signals = False
        """Whether signals of candles without a stored decision were added (`add_signals`)."""
        self._is_entry_decided = True
        """Whether the decision of the position's entry is stored, with its stop and target."""
        self._restore(read_last_decided(context.store, context.session), {}, {})
        if is_exit_pending and self.state.position is not None:
            self.step(ExitSent(context.key.symbol))

    @property
    def rules(self) -> StepRules:
        """Return the rules of the account."""
        return self._account.rules

    @property
    def state(self) -> SymbolStepState:
        """Return the state of the rules for the symbol."""
        return self._account.state.symbols[self._context.key.symbol]

    @property
    def knows_position(self) -> bool:
        """Return whether the state has the position, with the levels that the strategy gave it.

        Of an entry that was taken over from the exchange no decision is stored: its levels come
        with the next evaluation of the strategy.
        """
        return self.state.position is not None and (self._has_signals or self._is_entry_decided)

    def copy(self) -> "RuleStepper":
        """Return a copy whose state later candles change without any order."""
        ahead = copy(self)
        ahead._account = self._account.copy_for_preview()
        return ahead

    def step(self, event: StepEvent) -> list[SymbolIntent]:
        """Apply an event, and carry out entries that are due; return the orders of the symbol."""
        return self._account.step(self._context.key.symbol, event)

    def open(self, candle: Candle) -> list[SymbolIntent]:
        """Feed the first trade of a candle, once; return the orders to carry out now."""
        self._drop_vanished(candle)
        if self.state.opened is not None:
            return []
        if self.is_untraded(candle):
            self._account.note_untraded(self._context.key.symbol, candle.timestamp)
            return []
        symbol, price_step = self._context.key.symbol, self._compute_price_step(candle)
        first = OpenedCandle(symbol, candle.timestamp, candle.open, price_step)
        return self.step(CandlesOpened((first,)))

    def form(self, candle: Candle, *, is_unwatched: bool = False) -> list[SymbolIntent]:
        """Feed the prices of a candle that forms; return the orders to carry out now.

        Args:
            candle: The candle; without its first trade (`open`) it changes nothing.
            is_unwatched: See `CandleForming`.
        """
        opened = self.state.opened
        if opened is None or opened.timestamp != candle.timestamp:
            return []
        symbol, price_step = self._context.key.symbol, self._compute_price_step(candle)
        return self.step(CandleForming(symbol, candle, price_step, is_unwatched))

    def close(self, candle: Candle) -> list[SymbolIntent]:
        """Feed the final prices of a candle; return the orders to carry out now."""
        self._drop_vanished(candle)
        opened = self.state.opened
        if opened is not None and opened.timestamp != candle.timestamp:
            # The signal arrived after a later candle had opened: too late for the rules.
            return []
        return self.step(
            CandleClosed(self._context.key.symbol, candle, self._compute_price_step(candle))
        )

    def find_exit(self, candle: Candle, *, is_unwatched: bool) -> Exit | None:
        """Return the exit that a candle would lead to, or None; the state is not changed.

        Args:
            candle: The open candle, or the one that opens next, as far as it has formed.
            is_unwatched: See `CandleForming`.
        """
        ahead = self.copy()
        intents = ahead.open(candle) + ahead.form(candle, is_unwatched=is_unwatched)
        return next((one for one in intents if isinstance(one, Exit)), None)

    def find_entry_obstacle(self, timestamp: int) -> EntryObstacle | None:
        """Return the reason why a BUY on the newest closed candle may not enter; None: it may.

        Args:
            timestamp: Open of the candle, epoch seconds.
        """
        after = self.state.apply_signal(self.rules, timestamp, BUY)
        return find_entry_obstacle(self.rules, after)

    def decide(
        self, timestamp: int, signal: int, *, can_enter: bool, levels: LevelRow | None = None
    ) -> list[SymbolIntent]:
        """Feed the signal on a closed candle; return the orders to carry out now.

        Args:
            timestamp: Open of the candle, epoch seconds.
            signal: 1 BUY, -1 SELL, 0 HOLD.
            can_enter: Whether a BUY may lead to an entry.
            levels: Prices of the strategy on the candle; None: it gives none.
        """
        symbol = self._context.key.symbol
        return self.step(StrategySignal(symbol, timestamp, signal, can_enter, levels))

    def end_limit(self) -> None:
        """End the open limit order, which was cancelled without the rules, such as by a person."""
        state = self.state
        opened = state.closed if state.opened is None else state.opened.timestamp
        self._account.replace(self._context.key.symbol, state.end_limit(opened or 0))

    def begin_cooldown(self, exit_timestamp: int) -> None:
        """Begin the cooldown in the candle of an exit that was filled before the rules reached it.

        Call it when the rules have been fed with that candle.

        Args:
            exit_timestamp: Open of the candle in which the exit was filled, epoch seconds.
        """
        state = self.state
        free_from = state.find_candle_number(exit_timestamp) + 1 + self.rules.cooldown_bars
        self._account.replace(self._context.key.symbol, replace(state, free_from=free_from))

    def add_signals(self, candles: Candles, signals: Signals) -> None:
        """Feed the present signals of candles that no session decided on.

        The signal of the last candle is left out, because its decision is made now.

        Args:
            candles: Input candles of the strategy, oldest first, shape (n,).
            signals: Signals of the strategy for these candles.
        """
        first = self._context.strategy.lookback - 1
        times, values = candles.timestamp[first:-1].tolist(), signals.signal[first:-1].tolist()
        known = dict(zip(times, values, strict=True))
        columns = signals.level_columns
        levels = dict[int, LevelRow]()
        if columns is not None:
            levels = {time: columns.get_row(row) for row, time in enumerate(times, max(first, 0))}
        if not self._has_signals and self._executor.last_entry is not None:
            is_sent = self.state.order is not None
            until = int(candles.timestamp[-1])
            self._restore(until, known, levels, is_last_undecided=True)
            if is_sent and self.state.position is not None:
                self.step(ExitSent(self._context.key.symbol))
        self._has_signals = True
        for timestamp in self.state.undecided[:-1]:
            if timestamp in known:
                self.decide(
                    timestamp,
                    max(known[timestamp], 0),
                    can_enter=False,
                    levels=levels.get(timestamp),
                )

    def is_decidable(self, timestamp: int) -> bool:
        """Return whether a candle has closed, and the rules have no signal of it yet."""
        return timestamp in self.state.undecided

    def is_untraded(self, candle: Candle) -> bool:
        """Return whether nothing was traded in a candle so far."""
        return is_untraded(candle) and has_volume(self._context.store, self._context.key)

    def _drop_vanished(self, candle: Candle) -> None:
        """Drop the open candle if its row was removed because a later candle has come."""
        opened = self.state.opened
        if opened is not None and opened.timestamp < candle.timestamp:
            state = replace(self.state, opened=None, is_slot_awaited=False)
            self._account.replace(self._context.key.symbol, state)

    def _compute_price_step(self, candle: Candle) -> float:
        return float(
            make_rules_of_candle(self._context.rules, candle).trading_rules.price_step or 0
        )

    def _restore(
        self,
        until: int | None,
        signals: Mapping[int, int],
        levels: Mapping[int, LevelRow],
        *,
        is_last_undecided: bool = False,
    ) -> None:
        """Restore the state after a closed candle from stored candles, decisions and fills.

        Candles before the signal of the last entry have no effect, and are left out.

        Args:
            until: Open of the newest closed candle to use, epoch seconds; None: none.
            signals: Signals of candles without a stored decision, by their opens.
            levels: Stops and targets of these candles.
            is_last_undecided: Whether the signal of the candle `until` is fed later.
        """
        context, entered, left = self._context, self._executor.last_entry, self._executor.last_exit
        symbol, entry = context.key.symbol, self._executor.entry_order_id
        stored = None if entry is None else read_stored_order(context.store, entry)
        self._is_entry_decided = stored is None or stored.order.decision is not None
        if entered is None:
            self._account.replace(symbol, SymbolStepState())
            return
        before = read_last_closed_timestamp(context.store, context.key, entered)
        start = self._find_first_candle(entered if before is None else before)
        facts: list[CandleFacts] = []
        if until is not None and until >= start:
            end = context.timeframe.next(until)
            rows = make_candle_rows(read_closed_between(context.store, context.key, start, end))
            known = {**signals, **read_decided_signals(context.store, context.session, start, end)}
            own = read_decided_levels(context.store, DecidedSeries.of(context.session), start, end)
            levels = {**levels, **own}
            signal = 0
            for row in rows:
                # A candle without a known signal continues the signal before it.
                signal = known.get(row.timestamp, signal)
                is_decided = not (row.timestamp == until and is_last_undecided)
                fact = self._make_candle_facts(row, signal if is_decided else None, entered, left)
                facts.append(replace(fact, levels=levels.get(row.timestamp)))
        newest = max(entered, left or 0)
        if until is None or newest > until:
            row = read_candle_at(context.store, context.key, newest)
            if row is not None:
                opened = self._make_candle_facts(row, None, entered, left)
                facts.append(replace(opened, is_open=True))
        rules = StepRules.from_account(
            context.rules, [symbol], candle_seconds=context.timeframe.average_seconds
        )
        self._account.replace(symbol, restore_state(rules, {symbol: facts}).symbols[symbol])

    def _find_first_candle(self, before: int) -> int:
        """Return the candle that a restored state begins with: that of the BUY of the position.

        Args:
            before: Open of the candle before the last entry, epoch seconds; the BUY is older if its
                order waited for a trade, or was a limit order.
        """
        entry = self._executor.entry_order_id
        if entry is None:
            fills = reversed(self._executor.fills)
            entry = next((fill.client_order_id for fill in fills if fill.side == "buy"), None)
        bought = None if entry is None else read_signal_timestamp(self._context.store, entry)
        return before if bought is None else min(before, bought)

    def _make_candle_facts(
        self, row: Candle, signal: int | None, entered: int, left: int | None
    ) -> CandleFacts:
        """Return what the rules must know about a past candle: signal, entry and exit.

        Args:
            row: The candle.
            signal: Its signal; None: none was decided.
            entered: Open of the candle that filled the last entry, epoch seconds.
            left: Open of the candle that filled the last exit, epoch seconds, or None.
        """
        is_entry = row.timestamp == entered
        bought = None
        if is_entry and not self._executor.is_live:
            bought = read_limit_entry(self._context.store, self._executor.fills)
        is_inside = bought is not None and bought.is_inside(row.open)
        price = self._executor.compute_entry_price(row.open)
        if bought is not None and is_inside:
            price = bought.limit
        entry = self._executor.entry_order_id
        is_refused = is_entry and entry is not None and is_exit_rejected(self._context.store, entry)
        exit_ = "filled" if row.timestamp == left else "refused" if is_refused else ""
        return CandleFacts(
            row,
            has_trade=not self.is_untraded(row),
            # A SELL that is still pending is an obligation; orders to buy end with their session.
            signal=None if signal is None else max(signal, 0),
            can_enter=False,
            entry_price=price if is_entry else None,
            is_entry_inside=is_inside,
            entry_signal=None if bought is None else bought.signal_timestamp,
            exit=exit_,
        )


def make_candle_rows(candles: Candles) -> list[Candle]:
    """Return the candles of columns as a list of rows."""
    columns = (
        candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume,
    )  # fmt: skip
    return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
