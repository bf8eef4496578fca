"""Reasons of the trading rules against an entry or a SELL, as texts for a decision or a log line.

The rules themselves are the engine's. The settings with these effects are `trading_hours`, the
entry guards, `reentry`, `cooldown_bars` and `exit_profit_offset`.
"""

from collections.abc import Callable

from onetape.core.candles import Candles
from onetape.engine import EntryPause
from onetape.strategies import Signals
from trader.account_rules import AccountRules
from trader.executor import Executor
from trader.reentry import describe_entry_obstacle
from trader.session_context import SessionContext
from trader.stepping import RuleStepper


class RuleObstacles:
    """Finds the reasons of the rules against entries and SELLs of one symbol."""

    def __init__(
        self,
        context: SessionContext,
        executor: Executor,
        rules: AccountRules,
        get_stepper: Callable[[], RuleStepper],
    ) -> None:
        """Initialise.

        Args:
            context: Context of the traded symbol.
            executor: Executor of the symbol, with its last entry.
            rules: Rules of all symbols of the account, with the entry guards.
            get_stepper: Returns the rules of the symbol with their present state.
        """
        self._context = context
        self._executor = executor
        self._rules = rules
        self._get_stepper = get_stepper

    def find_hours_obstacle(self, timestamp: int) -> str | None:
        """Return a text if the trading hours forbid the entry of a BUY; None: the BUY may enter.

        Args:
            timestamp: Open of the candle with the BUY, epoch seconds; the next one fills it.
        """
        hours = self._get_stepper().rules.entry_hours
        if hours is None:
            return None
        opened = self._context.timeframe.next(timestamp)
        return None if hours.contains(opened) else hours.describe_closed(opened)

    def find_guard_obstacle(self, timestamp: int) -> str | None:
        """Return a text if an entry guard pauses the entry of a BUY; None: the BUY may enter.

        Args:
            timestamp: Open of the candle with the BUY, epoch seconds; the next one fills it.
        """
        pause = self.find_pause(self._context.timeframe.next(timestamp))
        return None if pause is None else pause.describe()

    def find_entry_obstacle(self, timestamp: int, candles: Candles, signals: Signals) -> str | None:
        """Return the reason why a BUY on the newest closed candle may not enter; None: it may.

        The rules are fed with the signals of earlier candles first (`RuleStepper.add_signals`).

        Args:
            timestamp: Open of the candle, epoch seconds.
            candles: Input candles of the strategy; the last one is decided on.
            signals: Signals of the strategy for these candles.
        """
        stepper = self._get_stepper()
        stepper.add_signals(candles, signals)
        if not stepper.is_decidable(timestamp):
            return "a later candle has opened already"
        found = stepper.find_entry_obstacle(timestamp)
        if found is None:
            return None
        return describe_entry_obstacle(
            found, stepper.rules, stepper.state, self._executor.last_entry
        )

    def find_sell_obstacle(self, close: float) -> str | None:
        """Return the reason why a SELL of the open position does not count; None: it counts.

        Args:
            close: Close of the candle with the SELL.
        """
        held, exits = self._get_stepper().state.position, self._context.rules.exits
        if held is None or exits.sell_counts(held.entry_price, close):
            return None
        bound = held.entry_price * (exits.min_exit_factor or 0.0)
        digits = self._context.digits
        return (
            f"the close {digits.format_price(close)} is not above {digits.format_price(bound)} "
            f"(exit_profit_offset {exits.exit_profit_offset:g}, both fees paid)"
        )

    def describe_drop(self) -> str:
        """Return the reason why the rules have dropped the entry that was due last."""
        state, hours = self._get_stepper().state, self._get_stepper().rules.entry_hours
        moment = state.closed if state.opened is None else state.opened.timestamp
        if hours is not None and moment is not None and not hours.contains(moment):
            return hours.describe_closed(moment)
        pause = None if moment is None else self.find_pause(moment)
        if pause is not None:
            return pause.describe()
        if state.due_limit is not None and state.due_limit.last < state.candles:
            return "it expired while it waited for a trade"
        return self._rules.describe_taken_slots()

    def find_pause(self, moment: int) -> EntryPause | None:
        """Return the pause of entries at an open, epoch seconds; None: no guard pauses them."""
        return self._rules.find_pause(self._context.key.symbol, moment)
