"""Printed lines that acknowledge the commands of persons: one for each command and symbol."""

from collections.abc import Sequence
from typing import Final

from onetape.cli.output import print_line
from onetape.execution.controls import ControlCommand, ControlState, describe_change
from trader.account_commands import TakenCommand
from trader.control_state import format_pause

#: Effect of a pause.
_NO_ENTRIES: Final = "no entries; exits, stops and targets go on"


def show_changes(account: str, taken: Sequence[TakenCommand]) -> bool:
    """Print a line for each new pause, resume and halt; return whether any command forbids entries.

    Exits, flattens and reloads get a separate line once they are carried out.

    Args:
        account: Account of the commands.
        taken: Commands that one symbol has not acknowledged yet.
    """
    for one in taken:
        control = one.control
        if control.verb in ("pause", "resume", "halt"):
            show(control, format_change_line(account, one))
    return any(one.control.verb in ("pause", "halt", "flatten") for one in taken)


def format_change_line(account: str, taken: TakenCommand) -> str:
    """Return the line that acknowledges a pause, a resume or a halt, with its effect."""
    control, before = taken.control, taken.before
    change = describe_change(before, control)
    if control.verb == "resume":
        nothing = "nothing changes, because no command forbids entries or orders"
        if change is None:
            return f"resume by {control.given_by}: {nothing}"
        return f"resumed by {control.given_by}: {change}"
    if change is not None:
        return f"{format_pause(control)}: {change}; {format_resume_hint(account)}"
    forbids = before.halt or before.pause
    already = "" if forbids is None else f", because it is {format_pause(forbids)} already"
    return f"{control.verb} by {control.given_by}: nothing changes{already}"


def format_resume_hint(account: str) -> str:
    """Return a text with the command that ends a pause, a halt or a flatten."""
    return f'end it with: uv run trader resume --account "{account}"'


def show_state(account: str, state: ControlState) -> None:
    """Print the command of before the start that forbids entries or orders, if there is one."""
    forbids = state.halt or state.pause
    if forbids is not None:
        effect = describe_change(ControlState(), forbids) or _NO_ENTRIES
        line = f"{format_pause(forbids)}: {effect}; {format_resume_hint(account)}"
        show(forbids, line)


def show_waiting(account: str, taken: Sequence[TakenCommand], symbol: str, until: str) -> None:
    """Print a line for each new command while the session of a symbol does not run.

    Args:
        account: Account of the commands.
        taken: Commands that the symbol has not acknowledged yet.
        symbol: The symbol.
        until: Event that exits, flattens and reloads wait for, to follow the word "once".
    """
    show_changes(account, taken)
    for one in taken:
        control = one.control
        if control.verb in ("exit", "flatten", "reload") and control.symbol in (None, symbol):
            done = "the settings are read" if control.verb == "reload" else "the position is sold"
            show(control, f"{control.verb} by {control.given_by}: stored; {done} once {until}")


def show(control: ControlCommand, line: str) -> None:
    """Print a line about a command, and log it as an event with the person who gave it."""
    print_line(
        line,
        event="control",
        verb=control.verb,
        number=control.number,
        given_by=control.given_by,
    )
