"""Carries out the commands of persons for one symbol: pause, resume, exit, halt, flatten, reload.

It runs as a task of the symbol's session, four times a second. `account_commands` reads the rows;
each command that comes while the trader runs is acknowledged by one line of each symbol.
"""

import asyncio
from typing import Final

from onetape.cli.output import print_line
from onetape.exchange.rest import RestExchange
from onetape.execution.controls import ControlCommand, ControlState
from trader.account_context import AccountContext
from trader.command_lines import format_resume_hint, show, show_changes, show_state
from trader.control_state import format_pause
from trader.exit_orders import ExitOrders
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.states import TraderStates

#: Interval between two checks for new commands, wall seconds.
CHECK_SECONDS: Final = 0.25


class ControlWatch:
    """Carries out the commands for one symbol of an account."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        orders: ExitOrders,
        rule_runner: RuleRunner,
        states: TraderStates,
        account_context: AccountContext,
    ) -> None:
        """Initialise; the first check also reads commands from before the start.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock dates the commands that were carried out.
            orders: Exits of the symbol; cancels orders, and forbids them during a halt.
            rule_runner: Sells the position.
            states: States of the trader, which forbid entries during a pause.
            account_context: Reads the commands and applies changed settings, for all symbols of
                the account in this process.
        """
        self._context = context
        self._exchange = exchange
        self._orders = orders
        self._rule_runner = rule_runner
        self._states = states
        self._commands = account_context.commands
        self._reload = account_context.reload
        self._waiting: set[int] = set()
        """Numbers of commands to close that were printed and wait for the fills of an entry."""

    async def carry_out_commands(self) -> None:
        """Carry out the commands that are not carried out yet; then wait `CHECK_SECONDS`.

        Raises:
            StoreError: the file cannot be read or written; nothing of the command is lost.
            SafetyRefusal: another process trades the account.
        """
        symbol, commands = self._context.key.symbol, self._commands
        for line in commands.read(max_age_seconds=CHECK_SECONDS / 2):
            print_line(line)
        state = commands.state
        taken = commands.take_new(symbol)
        is_change_shown = show_changes(self._context.session.account, taken)
        cancelled = self._apply_halt(state)
        cancelled = self._apply_pause(state, is_change_shown=is_change_shown) or cancelled
        if cancelled is not None:
            print_line(cancelled)
        commands.finish_changes(self._exchange.now_ms())
        for control in commands.get_close_commands(symbol):
            self._close_position(control)
        self._reload_settings(state)
        await asyncio.sleep(CHECK_SECONDS)

    def _reload_settings(self, state: ControlState) -> None:
        """Read the settings again, once for all commands that wait and all symbols here."""
        if state.reloads:
            # The first symbol of the process that finds the commands carries them out.
            self._commands.finish(state.reloads, self._exchange.now_ms())
            applies_to_open = any(one.applies_to_open for one in state.reloads)
            for line in self._reload.reload(applies_to_open=applies_to_open):
                print_line(line, event="control")
        line = self._reload.apply_pending()
        if line is not None:
            print_line(line, event="control")

    def _apply_halt(self, state: ControlState) -> str | None:
        """Forbid or allow orders of any kind; return a text with the cancelled order, or None."""
        if state.halt is None:
            self._orders.halt = None
            return None
        return self._orders.halt_orders(format_pause(state.halt))

    def _apply_pause(self, state: ControlState, *, is_change_shown: bool) -> str | None:
        """Forbid or allow entries; return a text with the cancelled order, or None.

        Args:
            state: State that the commands result in.
            is_change_shown: Whether the change was printed as a new command; a pause from before
                the start of the program was not.
        """
        forbids = state.halt or state.pause
        text = None if forbids is None else format_pause(forbids)
        if text == self._states.pause:
            return None
        self._states.pause = text
        if text is None or forbids is None:
            return None
        if not is_change_shown:
            show_state(self._context.session.account, state)
        return self._orders.cancel_entry(text)

    def _close_position(self, control: ControlCommand) -> None:
        """Close the position for a command, once, also if the process was killed in between.

        While the filled amount of an entry at the exchange is unknown, the command stays open: the
        whole position is closed once the amount is known, by the next session if this one ends
        before.
        """
        reason = f"{control.verb} by {control.given_by}"
        later = ""
        if control.verb == "flatten" and self._commands.state.pause is not None:
            later = f"; no entries; {format_resume_hint(self._context.session.account)}"
        if self._orders.is_entry_in_flight:
            if control.number not in self._waiting:
                self._waiting.add(control.number)
                effect = "coins of the order to buy are sold once its fills are known"
                show(control, f"{reason}: {effect}{later}")
            return
        if not self._orders.has_position:
            goes_on = "; the order to buy that waits goes on" if self._orders.is_buying else ""
            show(control, f"{reason}: there is no position to close{goes_on}{later}")
        elif self._orders.is_exit_pending:
            show(control, f"{reason}: an exit is pending already{later}")
        else:
            halt = self._orders.halt
            once = "" if halt is None else f", once orders are allowed: {halt}"
            show(control, f"{reason}: the position is sold at the newest price{once}{later}")
            self._rule_runner.sell_for_command(reason)
        self._commands.finish([control], self._exchange.now_ms())
        self._rule_runner.fill()
