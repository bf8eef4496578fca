"""Parses commands of persons, and makes the rows of the table `controls` that store them.

All channels use it: the subcommands (`trader pause`), the command file and signals.
"""

import shlex
from collections.abc import Sequence
from typing import Final, get_args

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.core.symbols import parse_spot_symbol
from onetape.execution.controls import ControlVerb
from onetape.store.accounts import AccountSeries
from onetape.store.controls import NewControl

#: Names of the commands.
VERBS: Final[tuple[ControlVerb, ...]] = get_args(ControlVerb)
#: Commands with a separate row for each symbol: several processes may trade an account, and each
#: carries out the rows of its symbols once.
_BY_SYMBOL: Final = ("exit", "flatten", "reload")


class NewCommand(Struct, frozen=True):
    """One command of a person, before it is stored."""

    verb: ControlVerb
    symbol: str | None = None
    """The symbol whose position is closed; None: every symbol."""
    account: str | None = None
    """Account of the command; None: every paper account of the database."""
    applies_to_open: bool = False
    """Whether a reload changes the levels of the open trade too."""


def parse_command(line: str) -> NewCommand:
    """Return the command of a line such as `exit BTC/USDT --account mine`.

    Raises:
        UsageError: the line is not a command.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line!r} cannot be read: {error}") from error
    account: str | None = None
    if "--account" in words:
        at = words.index("--account")
        account = words[at + 1] if at + 1 < len(words) else ""
        if not account:
            raise UsageError(f"{line!r} has no account after --account")
        del words[at : at + 2]
    applies_to_open = "--apply-to-open" in words
    words = [word for word in words if word != "--apply-to-open"]
    verb: ControlVerb | None = next(
        (one for one in VERBS if words and one == words[0].lower()), None
    )
    if verb is None:
        hint = suggest_name(words[0], VERBS) if words else ""
        raise UsageError(f"{line!r} is not a command{hint}; known are {', '.join(VERBS)}")
    if applies_to_open and verb != "reload":
        raise UsageError(f"{line!r}: --apply-to-open belongs to reload")
    rest = words[1:]
    if rest and (verb != "exit" or len(rest) > 1):
        raise UsageError(f"{line!r}: {verb} takes nothing else, found {rest[-1]!r}")
    if verb == "exit" and not rest:
        raise UsageError(f"{line!r}: exit takes a symbol, or all")
    return NewCommand(verb, parse_exit_symbol(rest[0] if rest else None), account, applies_to_open)


def parse_exit_symbol(text: str | None) -> str | None:
    """Return the symbol of `exit SYMBOL|all`; None: every symbol.

    Args:
        text: The text after `exit`; None: a command without a symbol.

    Raises:
        UsageError: the text is no spot symbol.
    """
    return None if text is None or text.lower() == "all" else parse_spot_symbol(text)


def make_command_rows(
    traded: Sequence[AccountSeries], command: NewCommand, *, at_ms: int, given_by: str
) -> list[NewControl]:
    """Return the rows of a command, to be stored: one for each account that it reaches.

    An exit, a flatten and a reload have one row for each symbol of the account.

    Args:
        traded: Accounts of the database, one for each of their symbols.
        command: The command.
        at_ms: The computer's time, epoch milliseconds.
        given_by: Origin of the command: user and computer, file or signal.

    Raises:
        UsageError: no account of `traded` fits the command.
    """
    reached = [
        one
        for one in traded
        if command.account in (None, one.name) and command.symbol in (None, one.symbol)
    ]
    if not reached:
        raise UsageError(_describe_missing_account(traded, command))
    is_by_symbol = command.verb in _BY_SYMBOL
    if not is_by_symbol:
        reached = list({one.name: one for one in reached}.values())
    return [
        NewControl(
            one.name,
            command.verb,
            at_ms,
            given_by,
            one.symbol if is_by_symbol else None,
            command.applies_to_open,
        )
        for one in reached
    ]


def _describe_missing_account(traded: Sequence[AccountSeries], command: NewCommand) -> str:
    names = list(dict.fromkeys(one.name for one in traded))
    if command.account is not None and command.account not in names:
        return f"no account {command.account!r}{suggest_name(command.account, names)}"
    symbols = ", ".join(dict.fromkeys(one.symbol for one in traded))
    return f"no account trades {command.symbol}; traded are {symbols}"


def get_user_and_host() -> str:
    """Return the origin of a command as `USER on HOST`."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user id without a name.
        user = "unknown user"
    return f"{user} on {socket.gethostname()}"
