"""`trader report`: writes a page that compares the real trades of an account with a backtest."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from trader.commands.account_selection import ACCOUNTS, CONFIG, open_accounts, select_accounts

if TYPE_CHECKING:
    from onetape.store.accounts import AccountSeries


def write_account_report(
    *,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file.  [default: in the folder of the database]"),
    ] = None,
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    strategy: options.StrategyName = None,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Compare the trades of an account with a backtest of the same candles.

    The backtest runs over the same candles with the settings of the last session. Each difference
    has its cause and its amount of money.
    """
    from onetape.cli.output import get_terminal_width, print_json, print_line
    from onetape.cli.stdout import claim_stdout
    from onetape.report import write_report
    from trader.commands.account_selection import read_configured_strategies
    from trader.rendering.report import format_report, make_report_document
    from trader.traded_report.account import compare_account
    from trader.traded_report.page import make_page_data

    strategies = (strategy, *read_configured_strategies(config))
    claim_stdout()
    with open_accounts(db, config, exchange) as store, store.read():
        chosen = _check_one_account(select_accounts(store, account, symbol, exchange))
        found = compare_account(store, chosen, strategies)
        path = store.path
    file = report or path.with_name(f"{path.stem}-{_make_file_name(chosen[0].name)}.html")
    write_report(make_page_data(found), file)
    if json_:
        print_json({"database": path, **make_report_document(found, file)})
        return
    print_line(format_report(found, file, width=get_terminal_width()))


def _check_one_account(chosen: "list[AccountSeries]") -> "list[AccountSeries]":
    """Return the chosen records, if all are of one account.

    Raises:
        UsageError: they are of several accounts.
    """
    from onetape.core.errors import UsageError

    names = list(dict.fromkeys(one.name for one in chosen))
    if len(names) > 1:
        raise UsageError(
            f"a report is of one account, found {', '.join(names)}; choose one with --account NAME"
        )
    return chosen


def _make_file_name(name: str) -> str:
    """Return the name of an account as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-") or "account"
