"""`trader pause`, `resume`, `exit`, `halt`, `flatten` and `reload`: commands to running traders.

A command is stored as rows of the table `controls`; the trader reads them several times a second.
"""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import Struct

from onetape.cli import options
from onetape.core.errors import UsageError
from trader.commands.account_selection import CONFIG, open_accounts, select_accounts

if TYPE_CHECKING:
    from onetape.execution.controls import ControlVerb
    from onetape.store.accounts import AccountSeries
    from onetape.store.controls import NewControl
    from onetape.store.database import Store

#: Effect of each command on a trader that waits for the exchange at its start.
_WHILE_WAITING: Final[Mapping[str, str]] = {
    "pause": "acts within a second",
    "resume": "acts within a second",
    "halt": "acts within a second",
    "exit": "sells the position once it trades",
    "flatten": "makes no entries from now on; the position is sold once it trades",
    "reload": "reads the settings once it trades",
}


class ChosenAccounts(Struct, frozen=True):
    """Values of the flags that choose accounts and database of a command."""

    names: list[str] | None
    """Values of --account; None: the only account."""
    is_all: bool
    """Whether --all was given."""
    exchange: str | None
    db: Path | None
    config: Path | None


def _choose_accounts(
    *,
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account", metavar="NAME", help="Account, on paper or live; repeat for several."
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every account of the database.")] = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> ChosenAccounts:
    """Return the values of the flags; its arguments are flags of each command."""
    return ChosenAccounts(account, all_, exchange, db, config)


def _takes_accounts(function: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of `_choose_accounts` to a command, and pass its result as first argument."""
    flags = inspect.signature(_choose_accounts).parameters
    _, *own = inspect.signature(function).parameters.values()
    parameters = [*own, *flags.values()]

    def run(**values: Any) -> None:
        chosen = _choose_accounts(**{name: values.pop(name) for name in flags})
        function(chosen, **values)

    # Typer reads the first for the order and the second for the types.
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = function.__doc__
    return run


@_takes_accounts
def pause_entries(chosen: ChosenAccounts) -> None:
    """Make no entries until `trader resume`; exits, stops and targets go on."""
    _store_command(chosen, "pause")


@_takes_accounts
def resume_entries(chosen: ChosenAccounts) -> None:
    """End a pause, a halt or a flatten."""
    _store_command(chosen, "resume")


@_takes_accounts
def exit_position(
    chosen: ChosenAccounts,
    *,
    symbol: Annotated[
        str, typer.Argument(metavar="SYMBOL|all", help="Symbol of the position, or all.")
    ],
) -> None:
    """Sell the open position at the newest price; the strategy goes on.

    The strategy may enter again with a later run of BUYs, not with the present one.
    """
    from trader.command_rows import parse_exit_symbol

    _store_command(chosen, "exit", parse_exit_symbol(symbol))


@_takes_accounts
def halt_orders(chosen: ChosenAccounts) -> None:
    """Send no orders until `trader resume`, on paper no stops either; cancel open orders.

    A stop at an exchange stays. A stop, target or SELL that becomes due is stored, and the position
    is sold after the resume.
    """
    _store_command(chosen, "halt")


@_takes_accounts
def flatten_position(chosen: ChosenAccounts) -> None:
    """Sell every open position at the newest price; make no entries until `trader resume`."""
    _store_command(chosen, "flatten")


@_takes_accounts
def reload_settings(
    chosen: ChosenAccounts,
    *,
    apply_to_open: Annotated[
        bool,
        typer.Option("--apply-to-open", help="Apply changed stops and targets to open trades too."),
    ] = False,
) -> None:
    """Read the settings file of a running trader again.

    The trader applies the changes that are safe, and prints those that need a restart. An open
    trade keeps its levels.
    """
    _store_command(chosen, "reload", applies_to_open=apply_to_open)


def _store_command(
    chosen: ChosenAccounts,
    verb: "ControlVerb",
    symbol: str | None = None,
    *,
    applies_to_open: bool = False,
) -> None:
    """Store a command for each chosen account, and print when its trader acts on it.

    Raises:
        UsageError: several accounts, and no flag that chooses.
        DataError: no account fits the flags.
    """
    from onetape.cli.output import print_line
    from onetape.store.controls import insert_controls
    from onetape.store.database import open_store
    from trader.command_rows import NewCommand, get_user_and_host, make_command_rows

    names = chosen.names
    if names and chosen.is_all:
        raise UsageError("--all and --account exclude each other; leave one of them out")
    with open_accounts(chosen.db, chosen.config, chosen.exchange) as reading:
        found = select_accounts(reading, names, None, chosen.exchange)
        path = reading.path
    accounts = list(dict.fromkeys(one.name for one in found))
    if len(accounts) > 1 and not names and not chosen.is_all:
        listed = ", ".join(accounts)
        raise UsageError(
            f"{path} holds {len(accounts)} accounts ({listed}); choose with --account NAME, "
            "or take all with --all"
        )
    wall_ms = time.time_ns() // 1_000_000
    command = NewCommand(verb, symbol, applies_to_open=applies_to_open)
    rows = make_command_rows(found, command, at_ms=wall_ms, given_by=get_user_and_host())
    with open_store(path, create=False) as store:
        insert_controls(store, rows)
        for row in rows:
            effect = _describe_effect(store, row, [one.symbol for one in found if _is_of(row, one)])
            command_text = row.verb if row.symbol is None else f"{row.verb} {row.symbol}"
            print_line(f"{row.account}: {command_text} stored; {effect}")


def _is_of(row: "NewControl", account: "AccountSeries") -> bool:
    """Return whether a command is for a symbol of an account."""
    return account.name == row.account and row.symbol in (None, account.symbol)


def _describe_effect(store: "Store", row: "NewControl", symbols: Sequence[str]) -> str:
    """Return a text about when the traders of some symbols act on a command."""
    from onetape.store.account_reading import is_lease_holder_alive, read_lease
    from onetape.store.leases import make_lease_name

    running: list[str] = []
    for symbol in symbols:
        name = make_lease_name(row.account, symbol)
        lease = read_lease(store, name)
        if lease is not None and is_lease_holder_alive(store, name, lease, row.at_ms):
            running.append(symbol)
    if not running:
        return "no trader runs on it now; the next one that starts acts on it"
    if any(_is_waiting(store, row.account, symbol) for symbol in running):
        return f"its trader waits for the exchange, and {_WHILE_WAITING[row.verb]}"
    return "its trader acts within a second"


def _is_waiting(store: "Store", account: str, symbol: str) -> bool:
    """Return whether the running trader of a symbol waits for the exchange at its start."""
    from onetape.store.account_reading import read_last_session, read_state
    from trader.states import WAITING

    session = read_last_session(store, account, symbol)
    state = None if session is None else read_state(store, session.session)
    return state is not None and state.reason.startswith(WAITING)
