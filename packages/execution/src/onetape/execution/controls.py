"""Commands of a person to a trader, and the state that results from all commands of an account.

A command is a row of the table `controls`, so it survives a restart of the trader. The command
line, a command file and signals add such rows. `fold_controls` computes the state from all rows.

    pause     no entries; exits, stops and targets go on
    resume    ends a pause and a halt
    exit      closes the position that is open when the trader reads the command; entries go on, but
              not on the run of BUY signals that is under way
    halt      no order of any kind: an exit that becomes due is pending, and sent after a resume
    flatten   exit, and no entries until a resume
    reload    reads the settings file again
"""

from collections.abc import Collection, Iterable
from typing import Final, Literal

from msgspec import Struct

ControlVerb = Literal["pause", "resume", "exit", "halt", "flatten", "reload"]
_PAUSES: Final = ("pause", "halt", "flatten")
_CLOSES: Final = ("exit", "flatten")


class ControlCommand(Struct, frozen=True):
    """One command of a person to a trader."""

    number: int
    """Number of the command; commands of an account are carried out in the order of numbers."""
    verb: ControlVerb
    """The command, such as `pause`; the module's text explains each."""
    at_ms: int
    """Time at which the command was given, by the computer's clock, epoch milliseconds."""
    given_by: str
    """Person who gave the command, such as `anna on host`."""
    is_done: bool = False
    """Whether the trader has carried out the one-time part of the command: closing the position."""
    symbol: str | None = None
    """Symbol whose position is closed, or whose trader reloads; None: every symbol."""
    applies_to_open: bool = False
    """Whether a reload changes the levels of a trade that is open."""


class ControlState(Struct, frozen=True):
    """State that results from the commands of one account."""

    pause: ControlCommand | None = None
    """The command that forbids entries; None: entries are allowed."""
    halt: ControlCommand | None = None
    """The command that forbids orders of any kind; None: exits are allowed."""
    closing: tuple[ControlCommand, ...] = ()
    """Commands to close the position that are not carried out yet, oldest first."""
    reloads: tuple[ControlCommand, ...] = ()
    """Commands to read the settings again that are not carried out yet, oldest first."""


def fold_controls(controls: Iterable[ControlCommand], symbol: str | None = None) -> ControlState:
    """Return the state that results from commands.

    Args:
        controls: Commands of one account, in the order of their numbers.
        symbol: Symbol that the trader trades: an exit or a reload that names another symbol has no
            effect. None: commands for every symbol count.
    """
    state = ControlState()
    for control in controls:
        state = add_control(state, control, None if symbol is None else (symbol,))
    return state


def add_control(
    state: ControlState, control: ControlCommand, symbols: Collection[str] | None = None
) -> ControlState:
    """Return the state after one more command.

    Args:
        state: State before the command.
        control: The command; its number is higher than those before.
        symbols: Symbols that the trader trades: an exit or a reload that names another symbol has
            no effect. None: commands for every symbol count.
    """
    pause, halt = state.pause, state.halt
    if control.verb in _PAUSES:
        # A second pause changes nothing: the time of the first one stays.
        pause = pause or control
    if control.verb == "halt":
        halt = halt or control
    elif control.verb == "resume":
        pause = halt = None
    closing, reloads = state.closing, state.reloads
    is_for_symbols = symbols is None or control.symbol is None or control.symbol in symbols
    if is_for_symbols and not control.is_done:
        if control.verb in _CLOSES:
            closing = (*closing, control)
        elif control.verb == "reload":
            reloads = (*reloads, control)
    return ControlState(pause, halt, closing, reloads)


def remove_done(state: ControlState, numbers: Collection[int]) -> ControlState:
    """Return the state without the exits and reloads of these numbers, which were carried out."""
    return ControlState(
        state.pause,
        state.halt,
        tuple(command for command in state.closing if command.number not in numbers),
        tuple(command for command in state.reloads if command.number not in numbers),
    )


def describe_change(before: ControlState, control: ControlCommand) -> str | None:
    """Return a text with the effect of a pause, resume or halt; None: the state stays as it is.

    Args:
        before: State before the command.
        control: A command other than exit, flatten and reload.
    """
    if control.verb == "halt" and before.halt is None:
        return "no order of any kind; an exit that becomes due is pending until a resume"
    if control.verb == "pause" and before.pause is None:
        return "no entries; exits, stops and targets go on"
    if control.verb == "resume" and before.halt is not None:
        return "orders of any kind are allowed again"
    if control.verb == "resume" and before.pause is not None:
        return "entries are allowed again"
    return None
