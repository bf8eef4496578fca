"""Selection for the subcommands: the database to read, and the chosen accounts in it."""

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.core.errors import ConfigurationError, DataError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onetape.store.accounts import AccountSeries
    from onetape.store.database import Store

CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file.  [default: user/config/trader.yaml if it exists, otherwise "
        "config/trader.yaml]",
    ),
]
ACCOUNTS = Annotated[
    list[str] | None,
    typer.Option(
        "--account",
        metavar="NAME",
        help="Account, on paper or live; repeat for several.  [default: all]",
    ),
]
FROM = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Start, UTC, inclusive.")]
TO = Annotated[str | None, typer.Option("--to", metavar="TIME", help="End, UTC, exclusive.")]


def open_accounts(db: Path | None, config: Path | None, exchange: str | None) -> "Store":
    """Open the database that flags and settings name for reading; it must hold an account.

    Args:
        db: Value of --db; None takes the settings' file or the usual one.
        config: Value of --config.
        exchange: Value of --exchange; accounts of the simulator have a separate file.

    Raises:
        ConfigurationError: the settings cannot be read.
        DataError: file not found, or no account in it; the text names files that hold some.
        StoreError: the file cannot be read.
    """
    from onetape.cli.loading import find_settings_file, load_settings
    from onetape.store.account_reading import read_accounts
    from onetape.store.read_only import open_read_only
    from trader.settings import TraderSettings, choose_trader_database

    given = {"db": db, "exchange": exchange}
    settings = load_settings(
        TraderSettings, "trader", find_settings_file("trader", config), given, reads_strategy=False
    ).settings
    path = choose_trader_database(settings)
    if not path.exists():
        raise DataError(f"{path} does not exist; {_describe_remedy(path)}")
    store = open_read_only(path)
    if not read_accounts(store):
        store.close()
        raise DataError(f"{path} holds no account; {_describe_remedy(path)}")
    return store


def read_configured_strategies(config: Path | None) -> list[str]:
    """Return the names of the strategies in the settings, of all symbols.

    Raises:
        ConfigurationError: the settings cannot be read.
    """
    from onetape.cli.loading import find_settings_file, load_settings
    from trader.settings import TraderSettings

    file = find_settings_file("trader", config)
    loaded = load_settings(TraderSettings, "trader", file, {}, reads_strategy=False)
    found = loaded.settings
    own = [one.strategy for one in found.symbols if one.strategy is not None]
    return [found.strategy.name, *(one.name for one in own)]


def select_accounts(
    store: "Store",
    accounts: list[str] | None,
    symbols: list[str] | None,
    exchange: str | None,
) -> "list[AccountSeries]":
    """Return the accounts that the flags leave, all of them where there are no flags.

    An account that trades several symbols has one record for each symbol.

    Raises:
        UsageError: a symbol that cannot be read.
        DataError: no account is left.
    """
    from onetape.core.message_text import suggest_name
    from onetape.core.symbols import parse_spot_symbol
    from onetape.store.account_reading import read_traded_series

    names = {unicodedata.normalize("NFC", name) for name in accounts or ()}
    wanted = {parse_spot_symbol(symbol) for symbol in symbols or ()}
    stored = read_traded_series(store)
    known = list(dict.fromkeys(account.name for account in stored))
    for name in sorted(names):
        if name not in known:
            raise DataError(
                f"{store.path} holds no account {name!r}{suggest_name(name, known)}; "
                "uv run trader accounts lists them"
            )
    chosen = [
        account
        for account in stored
        if (not names or account.name in names)
        and (not wanted or account.symbol in wanted)
        and (exchange is None or account.exchange == exchange)
    ]
    if not chosen:
        words = " ".join([*sorted(names), *([exchange] if exchange else []), *sorted(wanted)])
        raise DataError(
            f"{store.path} holds no account of {words}; uv run trader accounts lists them"
        )
    return chosen


def _describe_remedy(path: Path) -> str:
    """Return a text with other files that hold accounts, or the way to create the first account."""
    found = find_other_databases(path)
    if not found:
        return "no database in its folder holds one; start a trader first: uv run trader --help"
    return f"these do, choose one with --db: {', '.join(found)}"


def find_other_databases(path: Path) -> list[str]:
    """Return the databases in the folder of a file that hold accounts, each with their number."""
    from onetape.core.folders import DATA_FOLDER

    folders = dict.fromkeys((DATA_FOLDER, path.parent))
    files = dict.fromkeys(file for folder in folders for file in sorted(folder.glob("*.db")))
    return list(_iterate_account_databases(file for file in files if file != path))


def _iterate_account_databases(files: "Iterable[Path]") -> "Iterable[str]":
    """Yield each database that holds accounts, with their number."""
    from onetape.core.message_text import format_count
    from onetape.store.account_reading import read_accounts
    from onetape.store.read_only import open_read_only

    for file in files:
        try:
            with open_read_only(file) as store:
                count = len(read_accounts(store))
        except (StoreError, ConfigurationError):
            # A file that is no database of Onetape, or cannot be read, has no accounts to choose.
            continue
        if count:
            yield f"{file} ({format_count(count, 'account')})"
