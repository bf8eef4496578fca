"""`trader status`: the present state of every trader of a database, as text, JSON and exit code."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from onetape.cli import options
from trader.commands.account_selection import ACCOUNTS, CONFIG, open_accounts, select_accounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from onetape.core.digits import Digits
    from trader.commands.status_record import TraderStatus

#: Interval at which --watch shows the state again, wall seconds.
WATCH_SECONDS: Final = 2.0
#: Puts the cursor into the first line and clears the terminal.
_CLEAR: Final = "\x1b[H\x1b[2J"


def show_status(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the state again every 2 s until Ctrl-C.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Only traders that run on this computer or container.")
    ] = False,
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> int:
    """Show the state of every trader; its exit code is a health check.

    Exit codes: 0 all running traders are trading, 10 one is degraded, 11 one is halted, 12 one
    failed or was killed, or none runs.
    """
    from onetape.cli.output import print_json
    from onetape.core.errors import UsageError
    from trader.commands.status_record import choose_exit_code
    from trader.rendering.status import make_status_document

    def read() -> "tuple[Path, list[tuple[TraderStatus, Digits]]]":
        return _read_statuses(db, config, exchange, account, symbol, is_here=here)

    if watch and json_:
        raise UsageError("--watch shows text for a person; leave out --watch or --json")
    if watch:
        _watch(read)
        return 0
    path, found = read()
    code = choose_exit_code(status for status, _ in found)
    if json_:
        traders = [make_status_document(status) for status, _ in found]
        print_json({"database": path, "exit_code": code, "traders": traders})
    else:
        _print_statuses(path, found)
        _print_other_files(path, code)
    return code


def _watch(read: "Callable[[], tuple[Path, list[tuple[TraderStatus, Digits]]]]") -> None:
    """Show the state again and again until Ctrl-C."""
    try:
        while True:
            path, found = read()
            _clear_terminal()
            _print_statuses(path, found)
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _print_statuses(path: Path, found: "list[tuple[TraderStatus, Digits]]") -> None:
    from onetape.cli.output import get_terminal_width, print_line
    from trader.rendering.status import format_status

    print_line(format_status(found, path, width=get_terminal_width()))


def _print_other_files(path: Path, code: int) -> None:
    """Print other databases with accounts, if no trader of this database runs."""
    from onetape.cli.output import print_line
    from trader.commands.account_selection import find_other_databases
    from trader.commands.status_record import EXIT_NOT_RUNNING

    others = find_other_databases(path) if code == EXIT_NOT_RUNNING else []
    if others:
        print_line(
            f"no trader of {path} runs; other databases with accounts, choose one with --db: "
            f"{', '.join(others)}"
        )


def _read_statuses(
    db: Path | None,
    config: Path | None,
    exchange: str | None,
    account: list[str] | None,
    symbol: list[str] | None,
    *,
    is_here: bool,
) -> "tuple[Path, list[tuple[TraderStatus, Digits]]]":
    """Return the database, and the state of each chosen trader with the decimals of its market."""
    from onetape.core.errors import DataError
    from trader.commands.account_result import read_digits
    from trader.commands.status_record import read_status

    with open_accounts(db, config, exchange) as store, store.read():
        chosen = select_accounts(store, account, symbol, exchange)
        found = [(read_status(store, one), read_digits(store, one)) for one in chosen]
        if is_here:
            found = [one for one in found if one[0].is_here]
            if not found:
                raise DataError(
                    f"{store.path} holds no trader of this computer; leave out --here to see all"
                )
        return store.path, found


def _clear_terminal() -> None:
    """Clear the terminal; if stdout is not a terminal, print an empty line instead."""
    from onetape.cli.stdout import get_stdout

    out = get_stdout()
    out.write(_CLEAR if out.isatty() else "\n")
