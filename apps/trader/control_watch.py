"""Carries out the commands of a person: pause, resume, exit, halt, flatten and reload."""

import asyncio
from typing import Final

from onetape.cli.output import print_line
from onetape.exchange.rest import RestExchange
from onetape.execution.controls import ControlCommand
from onetape.store.controls import finish_control
from trader.command_file import CommandFiles
from trader.control_state import pause_text, read_control_state
from trader.exit_orders import ExitOrders
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.settings_reload import SettingsReload
from trader.states import TraderStates

#: Interval between two checks for new commands, wall seconds.
LOOK_SECONDS: Final = 0.25


class ControlWatch:
    """Looks for the commands of one account."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        orders: ExitOrders,
        exits: RuleRunner,
        states: TraderStates,
        reload: SettingsReload,
    ) -> None:
        """Begin; commands from before are read with the first look.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock dates what was carried out.
            orders: Holds the pending exit; cancels an order to buy.
            exits: Closes the position.
            states: Forbid entries while there is a pause.
            reload: Applies changed settings to all symbols of the account.
        """
        self._context = context
        self._files = CommandFiles(context.store)
        self._exchange = exchange
        self._orders = orders
        self._exits = exits
        self._states = states
        self._reload = reload
        self._waiting: set[int] = set()
        """Numbers of the commands to close that wait for an entry; each is printed once."""

    async def look(self) -> None:
        """Carry out the new commands of the account; then wait a moment.

        Raises:
            StoreError: the file cannot be read or written; nothing of the command is lost.
            SafetyRefusal: another process trades the account.
        """
        context = self._context
        for line in self._files.take():
            print_line(line)
        found = read_control_state(context.store, context.session.account, context.key.symbol)
        self._halt(found.halt)
        self._pause(found.pause)
        for control in found.closing:
            self._close(control)
        for control in found.reloads:
            finish_control(context.store, control.number, done_ms=self._exchange.now_ms())
            for line in self._reload.carry_out(control):
                print_line(line)
        line = self._reload.apply_pending()
        if line is not None:
            print_line(line)
        await asyncio.sleep(LOOK_SECONDS)

    def _halt(self, halt: ControlCommand | None) -> None:
        """Forbid orders of any kind, or allow them again."""
        if halt is None:
            self._orders.halt = None
            return
        cancelled = self._orders.halt_orders(pause_text(halt))
        if cancelled is not None:
            print_line(cancelled)

    def _pause(self, pause: ControlCommand | None) -> None:
        text = None if pause is None else pause_text(pause)
        # A halt after a pause is a change, too.
        text = self._orders.halt or text
        if text == self._states.pause:
            return
        self._states.pause = text
        if text is None:
            print_line("resumed: entries are allowed again")
            return
        account = self._context.session.account
        what = "no entries; exits, stops and targets go on"
        if self._orders.halt is not None:
            what = "no order of any kind; an exit that becomes due is pending until then"
        print_line(f'{text}: {what}; end it with: uv run trader resume --account "{account}"')
        cancelled = self._orders.cancel_entry(text)
        if cancelled is not None:
            print_line(cancelled)

    def _close(self, control: ControlCommand) -> None:
        """Close the position for a command; where the program is killed meanwhile, once only.

        While it is not known what an entry at the exchange has filled, the command stays open: the
        whole position is closed once that is known, by the next session where this one ends before.
        """
        reason = f"{control.verb} by {control.given_by}"
        if self._orders.is_entry_in_flight:
            if control.number not in self._waiting:
                self._waiting.add(control.number)
                what = "coins of the order to buy are sold once its fills are known"
                print_line(f"{reason}: {what}")
            return
        if not self._orders.has_position:
            later = "; the order to buy that waits goes on" if self._orders.is_buying else ""
            print_line(f"{reason}: there is no position to close{later}")
        elif self._orders.is_exit_pending:
            print_line(f"{reason}: an exit is pending already")
        else:
            print_line(
                f"{reason}: the position is sold at the newest price"
                + (
                    ""
                    if self._orders.halt is None
                    else f", once orders are allowed: {self._orders.halt}"
                )
            )
            self._exits.leave_for_command(reason)
        finish_control(self._context.store, control.number, done_ms=self._exchange.now_ms())
        self._exits.fill()
