"""Flags that choose a database and its accounts, and the functions that open and select them."""

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.core.errors import ConfigurationError, DataError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onetape.store.accounts import AccountSeries
    from onetape.store.database import Store

# Flags of the subcommands, used as types of their arguments.
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
    """Open the database that flags and settings name, for reading only; the caller closes it.

    Args:
        db: Value of --db; None: the file of the settings, or the default of the exchange.
        config: Value of --config; None: the default settings file.
        exchange: Value of --exchange; the simulator has another default file. None: the exchange of
            the settings.

    Raises:
        ConfigurationError: the settings cannot be read.
        DataError: the file does not exist, or has no account; the text names files that have.
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
    """Return the accounts that the flags select; without flags, all accounts.

    An account that trades several symbols has one record for each symbol.

    Args:
        store: The open database.
        accounts: Values of --account; None: any.
        symbols: Values of --symbol; None: any.
        exchange: Value of --exchange; None: any.

    Raises:
        UsageError: a symbol that cannot be read.
        DataError: an account that does not exist, or no account fits the flags.
    """
    from onetape.core.symbols import parse_spot_symbol
    from onetape.store.account_reading import read_traded_series

    names = {normalize_account_name(name) for name in accounts or ()}
    wanted = {parse_spot_symbol(symbol) for symbol in symbols or ()}
    stored = read_traded_series(store)
    for name in sorted(names):
        _check_name(store, name, [account.name for account in stored])
    chosen = [
        account
        for account in stored
        if (not names or account.name in names)
        and (not wanted or account.symbol in wanted)
        and (exchange is None or account.exchange == exchange)
    ]
    if not chosen:
        selection = " ".join([*sorted(names), *([exchange] if exchange else []), *sorted(wanted)])
        raise DataError(
            f"{store.path} holds no account of {selection}; uv run trader accounts lists them"
        )
    return chosen


def normalize_account_name(name: str) -> str:
    """Return the value of --account as account names are stored: in Unicode's form NFC."""
    return unicodedata.normalize("NFC", name)


def check_account_exists(store: "Store", name: str) -> None:
    """Refuse the name of an account that the database does not hold.

    Raises:
        DataError: there is no such account.
        StoreError: the file cannot be read.
    """
    from onetape.store.account_reading import read_accounts

    _check_name(store, name, [account.name for account in read_accounts(store)])


def _check_name(store: "Store", name: str, known: "Sequence[str]") -> None:
    from onetape.core.message_text import suggest_name

    if name not in known:
        raise DataError(
            f"{store.path} holds no account {name!r}{suggest_name(name, dict.fromkeys(known))}; "
            "uv run trader accounts lists them"
        )


def _describe_remedy(path: Path) -> str:
    """Return a text with other files that hold accounts, or the way to create the first account."""
    found = find_other_databases(path)
    if not found:
        return "no database in its folder holds one; start a trader first: uv run trader --help"
    return f"these do, choose one with --db: {', '.join(found)}"


def find_other_databases(path: Path) -> list[str]:
    """Return texts of other databases that hold accounts: `data/market.db (2 accounts)`.

    Databases are searched in the data folder and in the folder of a file.

    Args:
        path: The file, which is left out.
    """
    from onetape.core.folders import DATA_FOLDER

    files: dict[Path, Path] = {}
    for folder in (DATA_FOLDER, path.parent):
        for file in sorted(folder.glob("*.db")):
            files.setdefault(file.resolve(), file)
    files.pop(path.resolve(), None)
    return list(_iterate_account_databases(files.values()))


def _iterate_account_databases(files: "Iterable[Path]") -> "Iterable[str]":
    """Yield a text of each database that holds accounts."""
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
