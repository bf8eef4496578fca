"""Commands of a person to a trader, and the state that they result in.

A command is a row of the table `controls`; it comes from any channel and survives a restart.

    pause     no entries; exits, stops and targets go on
    resume    ends a pause and a halt
    exit      closes the position that is open when the trader reads the command; entries go on, but
              not on the run of BUY signals that is under way
    halt      no order of any kind: an exit that becomes due is pending, and sent after a resume
    flatten   exit, and no entries until a resume
    reload    reads the settings file again
"""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

ControlVerb = Literal["pause", "resume", "exit", "halt", "flatten", "reload"]
_PAUSES: Final = ("pause", "halt", "flatten")
_CLOSES: Final = ("exit", "flatten")


class ControlCommand(Struct, frozen=True):
    """One command of a person to a trader."""

    number: int
    """Commands of an account are carried out in the order of their numbers."""
    verb: ControlVerb
    at_ms: int
    """Time at which the command was given, by the computer's clock, epoch milliseconds."""
    given_by: str
    """Person who gave the command, such as `anna on host`."""
    is_done: bool = False
    """Whether the trader has carried out the one-time part of the command: closing the position."""
    symbol: str | None = None
    """The symbol whose position is closed, or whose process reads the settings again; None: every
    symbol of the account."""
    applies_to_open: bool = False
    """Whether a reload changes the levels of a trade that is open."""


class ControlState(Struct, frozen=True):
    """State that the commands of one account result in."""

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
        controls: Controls of one account, by their numbers.
        symbol: The symbol that is traded; commands for another one close nothing and read nothing
            again. None: any.
    """
    pause: ControlCommand | None = None
    halt: ControlCommand | None = None
    closing: list[ControlCommand] = []
    reloads: list[ControlCommand] = []
    for control in controls:
        if control.verb in _PAUSES:
            # A second pause changes nothing: the first one has its time.
            pause = pause or control
        if control.verb == "halt":
            halt = halt or control
        elif control.verb == "resume":
            pause = halt = None
        if control.is_done or (symbol is not None and control.symbol not in (None, symbol)):
            continue
        if control.verb in _CLOSES:
            closing.append(control)
        elif control.verb == "reload":
            reloads.append(control)
    return ControlState(pause, halt, tuple(closing), tuple(reloads))
