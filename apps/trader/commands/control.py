"""`trader pause`, `resume`, `exit`, `halt`, `flatten` and `reload`: commands to running traders."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from onetape.core.errors import UsageError
from trader.commands.common import CONFIG, open_accounts, select_accounts

if TYPE_CHECKING:
    from trader.command_rows import Command

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
    from trader.command_rows import Command

    _give(Command("pause"), account, all_, exchange, db, config)


def resume_entries(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """End a pause, a halt or a flatten."""
    from trader.command_rows import Command

    _give(Command("resume"), account, all_, exchange, db, config)


def exit_position(
    *,
    symbol: Annotated[
        str, typer.Argument(metavar="[SYMBOL|all]", help="Whose position is sold.")
    ] = "all",
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Close the open position at the newest price; the strategy goes on.

    It enters again with a BUY that follows another signal, not on the same run of BUYs.
    """
    from trader.command_rows import Command, parse_exit_symbol

    _give(Command("exit", parse_exit_symbol(symbol)), account, all_, exchange, db, config)


def halt_orders(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Send no order of any kind until `trader resume`, no stop either; open orders are cancelled.

    A stop, target or SELL that becomes due meanwhile is stored, and sold after the resume.
    """
    from trader.command_rows import Command

    _give(Command("halt"), account, all_, exchange, db, config)


def flatten_position(
    *,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Close every open position at the newest price, and enter none until `trader resume`."""
    from trader.command_rows import Command

    _give(Command("flatten"), account, all_, exchange, db, config)


def reload_settings(
    *,
    apply_to_open: Annotated[
        bool,
        typer.Option("--apply-to-open", help="Open trades get the changed stops and targets too."),
    ] = False,
    account: NAMED = None,
    all_: ALL = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Let a running trader read its settings file again.

    It applies what is safe, and prints what needs a restart. An open trade keeps its own levels.
    """
    from trader.command_rows import Command

    _give(Command("reload", applies_to_open=apply_to_open), account, all_, exchange, db, config)


def _give(
    command: "Command",
    names: list[str] | None,
    all_: bool,
    exchange: str | None,
    db: Path | None,
    config: Path | None,
) -> None:
    """Store a command for each chosen account, and print whether its trader runs."""
    from onetape.cli.output import print_line
    from onetape.store.account_reading import read_lease
    from onetape.store.controls import insert_controls
    from onetape.store.database import open_store
    from onetape.store.leases import lease_name
    from trader.command_rows import rows_of, user_and_host
    from trader.commands.status_record import is_alive

    if names and all_:
        raise UsageError("--all and --account exclude each other; leave one of them out")
    with open_accounts(db, config, exchange) as reading:
        chosen = select_accounts(reading, names, None, exchange)
        path = reading.path
    accounts = list(dict.fromkeys(one.name for one in chosen))
    if len(accounts) > 1 and not names and not all_:
        listed = ", ".join(accounts)
        raise UsageError(
            f"{path} holds {len(accounts)} paper accounts ({listed}); choose with --account NAME, "
            "or take all with --all"
        )
    wall_ms = time.time_ns() // 1_000_000
    rows = rows_of(chosen, command, at_ms=wall_ms, given_by=user_and_host())
    with open_store(path, create=False) as store:
        insert_controls(store, rows)
        for row in rows:
            traded = [
                lease_name(one.name, one.symbol)
                for one in chosen
                if one.name == row.account and row.symbol in (None, one.symbol)
            ]
            leases = [(name, read_lease(store, name)) for name in traded]
            is_running = any(
                lease is not None and is_alive(store, name, lease, wall_ms)
                for name, lease in leases
            )
            effect = "its trader acts within a second" if is_running else "no trader runs on it now"
            later = "" if is_running else "; the next one that starts acts on it"
            what = row.verb if row.symbol is None else f"{row.verb} {row.symbol}"
            print_line(f"{row.account}: {what} stored; {effect}{later}")
