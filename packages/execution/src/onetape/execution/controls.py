"""Commands of a person to a trader, and what they add up to.

A command is a row of the table `controls`; it comes from any channel and survives a restart.

    pause     no entries; exits, stops and targets go on
    resume    ends a pause
    exit      closes the position that is open when the trader reads the command; entries go on
    flatten   exit and pause
"""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

ControlVerb = Literal["pause", "resume", "exit", "flatten"]
_PAUSES: Final = ("pause", "flatten")
_CLOSES: Final = ("exit", "flatten")


class Control(Struct, frozen=True):
    """One command."""

    number: int
    """Commands of an account are carried out in the order of their numbers."""
    verb: ControlVerb
    at_ms: int
    """When the command was given, by the computer's time, epoch milliseconds."""
    given_by: str
    """Who gave it, such as `anna on host`."""
    is_done: bool = False
    """Whether the trader has carried out what the command asks for once: closing the position."""


class ControlState(Struct, frozen=True):
    """What the commands of one account add up to."""

    pause: Control | None = None
    """The command that forbids entries; None: entries are allowed."""
    closing: tuple[Control, ...] = ()
    """Commands to close the position that are not carried out yet, oldest first."""


def fold_controls(controls: Iterable[Control]) -> ControlState:
    """Return what commands add up to.

    Args:
        controls: Of one account, by their numbers.
    """
    pause: Control | None = None
    closing: list[Control] = []
    for control in controls:
        if control.verb in _PAUSES:
            # A second pause changes nothing: the first one says since when.
            pause = pause or control
        elif control.verb == "resume":
            pause = None
        if control.verb in _CLOSES and not control.is_done:
            closing.append(control)
    return ControlState(pause, tuple(closing))
