"""The trading rules of one account in one process: symbols share the slots, and enter in turn.

The rules are those of the backtest (`onetape.engine.step`). Candles, signals and fills of a symbol
are fed as events; exits, and fills and ends of open limit orders, are returned, and entries are
carried out by the handler of their symbol (`rule_runner`).

Entries at one open are made in the order of the backtest: exits first, then the symbols in the
order of the settings. So an entry waits until each symbol has decided on the candle before, and
until each symbol that may exit or enter has opened the next candle; at most `entry_wait_seconds`. A
symbol that is not waited for any longer is a latecomer, which is stored and printed. Exits never
wait.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from onetape.cli.output import print_line
from onetape.core.clock import format_utc
from onetape.core.timeframes import Timeframe
from onetape.engine import (
    CancelLimit,
    CandlesOpened,
    ClosedTrade,
    Enter,
    EntryPause,
    Exit,
    FillLimit,
    HeldPosition,
    StepEvent,
    StepRules,
    StepState,
    SymbolStepState,
    sort_closed_trades,
    step,
)
from onetape.engine.entry_guards import EntryGuard

#: An order of one symbol that its own events lead to; an entry needs its turn.
SymbolIntent = Exit | FillLimit | CancelLimit
#: An event without a candle: it changes no state, and only lets the due entries have their turn.
_NO_CANDLE = CandlesOpened(())


class EntryHandler(Protocol):
    """Carries out the entries of one symbol; `RuleRunner` implements it."""

    def enter(self, entry: Enter) -> None:
        """Fill the order to buy, and feed the rules with the fill or the refusal."""
        ...

    def drop_entry(self) -> None:
        """Cancel the order to buy, for which no slot was free in its turn."""
        ...

    def fail(self, error: Exception) -> None:
        """Store an error of `enter` or `drop_entry`, to be raised in the task of the symbol."""
        ...


class RulesState:
    """Rules with their state, which events change; no entry is carried out."""

    def __init__(self, rules: StepRules, state: StepState) -> None:
        """Initialise with a state.

        Args:
            rules: Rules of the account.
            state: First state; the object itself is not changed.
        """
        self.rules = rules
        self.state = state

    def step(self, symbol: str, event: StepEvent) -> list[SymbolIntent]:
        """Apply an event; return the resulting orders of the symbol, except entries.

        Args:
            symbol: Unused here; `AccountRules` has the same method.
            event: The event.
        """
        del symbol
        self.state, intents = step(self.rules, self.state, event, entries="later")
        return [intent for intent in intents if not isinstance(intent, Enter)]

    def replace(self, symbol: str, state: SymbolStepState) -> None:
        """Replace the state of a symbol."""
        self.state = StepState({**self.state.symbols, symbol: state}, self.state.closed)

    def note_untraded(self, symbol: str, timestamp: int) -> None:
        """Do nothing, because no entry is carried out here; `AccountRules` carries out entries."""

    def copy_for_preview(self) -> "RulesState":
        """Return a copy of the rules and their state, which orders do not follow."""
        return RulesState(self.rules, self.state)


class AccountRules(RulesState):
    """Rules and state of one account. All methods are called in the thread that trades."""

    def __init__(
        self,
        rules: StepRules,
        timeframe: Timeframe,
        *,
        wait_seconds: float,
        held: Iterable[str] = (),
        most_positions: int | None = None,
        note_late: Callable[[int, Mapping[str, str]], None] | None = None,
        read_closed: Callable[[Sequence[EntryGuard]], Iterable[ClosedTrade]] | None = None,
    ) -> None:
        """Begin with the state before any candle.

        Args:
            rules: Rules of the account; their symbols are those of this process, in the order of
                entries.
            timeframe: Timeframe of the candles of all symbols.
            wait_seconds: Time that entries wait for late symbols, wall clock.
            held: Symbols with a position: each takes a slot before the state of the symbol is
                restored.
            most_positions: Positions of the account in all processes; None: no limit.
            note_late: Stores the symbols that entries do not wait for any longer: the open (epoch
                seconds), and by symbol the missing step as a text. None: nothing is stored.
            read_closed: Returns the closed trades of the account that entry guards look at; None:
                there are none.
        """
        state = StepState.make_flat(rules)
        position = HeldPosition(0.0, 0.0, 0, has_levels=False)
        for symbol in held:
            state.symbols[symbol] = replace(state.symbols[symbol], position=position)
        super().__init__(rules, state)
        self.most_positions = most_positions
        self._note_late = note_late
        self._read_closed = read_closed
        self._timeframe = timeframe
        self._wait_seconds = wait_seconds
        self._handlers: dict[str, EntryHandler] = {}
        self._due = deque[Enter]()
        """Entries whose turn has come, first to last."""
        self._is_entering = False
        """Whether `_enter_all` runs, which may call back into this object."""
        self._untraded: dict[str, int] = {}
        """Newest candle without a trade so far, epoch seconds, by symbol."""
        self._awaited: tuple[int, float] = (0, 0.0)
        """The open whose entries wait, epoch seconds, and the wait's start, monotonic seconds."""
        self._printed = 0
        """The newest open whose latecomers were stored and printed, epoch seconds."""

    def attach(self, symbol: str, handler: EntryHandler) -> None:
        """Set the object that carries out the entries of a symbol from now on."""
        self._handlers[symbol] = handler

    def step(self, symbol: str, event: StepEvent) -> list[SymbolIntent]:
        """Apply an event of a symbol; carry out the entries that are due.

        Args:
            symbol: Symbol of the event.
            event: The event.

        Returns:
            The exits of the symbol to carry out now, and the fill or end of its limit order.
        """
        state = self.state.symbols[symbol]
        if state.buy_due or state.limit is not None:
            self._refresh_closed_trades()
        intents = super().step(symbol, event)
        self.carry_out_due_entries()
        return intents

    def carry_out_due_entries(self) -> None:
        """Carry out the due entries in their order, unless they must wait for another symbol.

        Raises:
            StoreError: latecomers cannot be stored; nothing has entered.
        """
        late = self._find_late_symbols()
        if late is None or (late and self._is_waiting()):
            return
        if late:
            self._report_late(late)
        self._refresh_closed_trades()
        # Exits at the open are done; an exit inside the candle brings no money at its open.
        before = self.state.symbols
        self.state, intents = step(self.rules, self.state, _NO_CANDLE, entries="at_once")
        entries = [intent for intent in intents if isinstance(intent, Enter)]
        self._due.extend(entries)
        self._drop_entries(before, {entry.symbol for entry in entries})
        if not self._is_entering:
            self._enter_all()

    def find_pause(self, symbol: str, moment: int) -> EntryPause | None:
        """Return a pause by an entry guard in which a symbol does not enter; None: it may enter.

        Args:
            symbol: Symbol of the entry.
            moment: Open of the candle that would fill the entry, epoch seconds.

        Raises:
            StoreError: the closed trades cannot be read.
        """
        self._refresh_closed_trades()
        return self.state.find_pause(self.rules, symbol, moment)

    def _refresh_closed_trades(self) -> None:
        """Take the closed trades of the account into the state, those of other processes too."""
        guards = self.rules.entry_guards
        if guards and self._read_closed is not None:
            trades = [
                replace(one, is_inside=self._is_inside_candle(one))
                for one in self._read_closed(guards)
            ]
            self.state = StepState(self.state.symbols, sort_closed_trades(self.rules, trades))

    def _is_inside_candle(self, trade: ClosedTrade) -> bool:
        """Return whether a position is known to be left inside the candle, and not at its open."""
        state = self.state.symbols.get(trade.symbol)
        if state is None:
            return False
        order = state.order
        leaving = None if order is None or order.side == "buy" else order.inside
        return trade.timestamp in (state.sold_inside, leaving)

    def _drop_entries(self, before: Mapping[str, SymbolStepState], entering: set[str]) -> None:
        """Drop the entries for which no slot was free in their turn.

        Args:
            before: States by symbol before the turn.
            entering: Symbols that enter in this turn.
        """
        for symbol, state in before.items():
            is_over = state.is_slot_awaited and not self.state.symbols[symbol].is_slot_awaited
            if is_over and symbol not in entering:
                handler = self._handlers[symbol]
                try:
                    handler.drop_entry()
                except Exception as error:
                    handler.fail(error)

    def _enter_all(self) -> None:
        """Carry out the entries that are due, in their order; each may make others due."""
        self._is_entering = True
        try:
            while self._due:
                entry = self._due.popleft()
                handler = self._handlers[entry.symbol]
                try:
                    handler.enter(entry)
                except Exception as error:
                    # The error belongs to the symbol of the entry, not to the symbol of this event.
                    handler.fail(error)
        finally:
            self._is_entering = False

    def note_untraded(self, symbol: str, timestamp: int) -> None:
        """Note a candle in which nothing was traded so far: no entry waits for its first trade.

        Args:
            symbol: Symbol of the candle.
            timestamp: Open of the candle, epoch seconds.
        """
        self._untraded[symbol] = timestamp
        self.carry_out_due_entries()

    def count_taken_slots(self, symbol: str, moment: int) -> int:
        """Return the number of slots that other symbols of this process take before an entry.

        Args:
            symbol: Symbol that would enter.
            moment: Open of the candle that fills the entry, epoch seconds.
        """
        states = self.state.symbols.items()
        return sum(one.is_slot_taken(moment) for name, one in states if name != symbol)

    def describe_taken_slots(self) -> str:
        """Return the text of a refusal because all slots of the account are taken."""
        most = self.rules.max_open_trades
        return "the only slot is taken" if most == 1 else f"all {most} slots taken"

    def _find_late_symbols(self) -> dict[str, str] | None:
        """Return the symbols that due entries wait for, each with its missing step as a text.

        Returns:
            Texts by symbol; empty: nothing to wait for. None: no entry is due.
        """
        states = self.state.symbols
        moments = [
            one.opened.timestamp
            for one in states.values()
            if one.is_slot_awaited and one.opened is not None
        ]
        if not moments:
            return None
        moment = min(moments)
        if self._awaited[0] != moment:
            self._awaited = (moment, time.monotonic())
        if len(states) == 1:
            return {}
        found = {
            symbol: self._describe_missing_step(symbol, states[symbol], moment) for symbol in states
        }
        return {symbol: text for symbol, text in found.items() if text}

    def _describe_missing_step(self, symbol: str, state: SymbolStepState, moment: int) -> str:
        """Return a text with the step that a symbol lacks for an open; empty if no step is missing.

        Args:
            symbol: The symbol.
            state: Step state of the symbol.
            moment: The open, epoch seconds.
        """
        before = self._timeframe.shift(moment, -1)
        has_opened = state.opened is not None and state.opened.timestamp >= moment
        has_closed = state.closed is not None and state.closed >= before
        if not (has_opened or has_closed) or (state.undecided and state.undecided[-1] >= before):
            return f"the candle of {format_utc(before)} is not decided on"
        if state.order is not None and state.order.side == "sell" and state.order.inside is None:
            return "its exit is not filled"
        can_trade = state.position is not None or state.buy_due
        is_untraded = self._untraded.get(symbol, 0) >= moment
        is_past = state.closed is not None and state.closed >= moment
        if can_trade and not (has_opened or is_untraded or is_past):
            return f"the candle of {format_utc(moment)} has not opened"
        return ""

    def _is_waiting(self) -> bool:
        return time.monotonic() - self._awaited[1] < self._wait_seconds

    def _report_late(self, late: Mapping[str, str]) -> None:
        """Store and print once for each open which symbols its entries did not wait for any longer.

        Raises:
            StoreError: the file cannot be written; nothing has entered.
        """
        moment = self._awaited[0]
        if moment <= self._printed:
            return
        if self._note_late is not None:
            self._note_late(moment, late)
        self._printed = moment
        late_symbols = ", ".join(f"{symbol} ({text})" for symbol, text in late.items())
        print_line(
            f"entries at {format_utc(moment)} waited {self._wait_seconds:g} s for {late_symbols} "
            "and go on without; the backtest waits for every symbol, so its entries may differ"
        )
