"""`trader pause`, `resume`, `exit` and `flatten`: commands to running traders, as rows."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from onetape.core.errors import UsageError
from trader.commands.common import CONFIG, open_accounts, select_accounts

if TYPE_CHECKING:
    from onetape.execution.controls import ControlVerb

NAMED = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="NAME", help="Paper account; repeat for several."),
]
ALL = Annotated[bool, typer.Option("--all", help="Every paper account of the database.")]


def pause_entries(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Enter no position until `trader resume`; exits, stops and targets go on."""
    _give("pause", account, all_, exchange, db, config)


def resume_entries(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """End a pause."""
    _give("resume", account, all_, exchange, db, config)


def exit_position(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Close the open position at the newest price; the strategy goes on, entries included."""
    _give("exit", account, all_, exchange, db, config)


def flatten_position(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Close the open position at the newest price, and enter none until `trader resume`."""
    _give("flatten", account, all_, exchange, db, config)


def _give(
    verb: "ControlVerb",
    names: list[str] | None,
    all_: bool,
    exchange: str | None,
    db: Path | None,
    config: Path | None,
) -> None:
    """Store a command for each chosen account, and print whether its trader runs."""
    from onetape.cli.output import print_line
    from onetape.store.account_reading import read_lease
    from onetape.store.controls import insert_control
    from onetape.store.database import open_store
    from trader.commands.status_record import is_alive

    if names and all_:
        raise UsageError("--all and --account exclude each other; leave one of them out")
    with open_accounts(db, config, exchange) as reading:
        chosen = [one.name for one in select_accounts(reading, names, None, exchange)]
        path = reading.path
    if len(chosen) > 1 and not names and not all_:
        listed = ", ".join(chosen)
        raise UsageError(
            f"{path} holds {len(chosen)} paper accounts ({listed}); choose with --account NAME, or "
            "take all with --all"
        )
    wall_ms = time.time_ns() // 1_000_000
    with open_store(path, create=False) as store:
        for name in chosen:
            insert_control(store, name, verb, at_ms=wall_ms, given_by=_giver())
            lease = read_lease(store, name)
            is_running = lease is not None and is_alive(store, name, lease, wall_ms)
            effect = "its trader acts within a second" if is_running else "no trader runs on it now"
            later = "" if is_running else "; the next one that starts acts on it"
            print_line(f"{name}: {verb} stored; {effect}{later}")


def _giver() -> str:
    """Return who gives the command: user and computer."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        user = "unknown user"
    return f"{user} on {socket.gethostname()}"
