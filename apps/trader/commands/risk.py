"""`trader risk`: shows losses of live accounts and their limits; `--clear` allows entries again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.cli import options
from onetape.core.errors import UsageError
from trader.commands.account_selection import (
    CONFIG,
    check_account_exists,
    normalize_account_name,
)

if TYPE_CHECKING:
    from onetape.store.risk_states import RiskRow

ACCOUNT = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Name of the account.  [default: all]"),
]
CLEAR = Annotated[
    bool,
    typer.Option(
        "--clear", help="Allow entries again after a limit was passed; losses count from now on."
    ),
]


def show_risk(
    *,
    account: ACCOUNT = None,
    clear: CLEAR = False,
    json: options.Json = False,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
) -> None:
    """Show losses of live accounts and their limits; --clear allows entries again."""
    from onetape.cli.loading import find_settings_file, load_settings
    from onetape.cli.output import print_json, print_line
    from onetape.store.database import open_store
    from onetape.store.read_only import open_read_only
    from onetape.store.risk_states import read_risk_states
    from trader.command_rows import get_user_and_host
    from trader.risk_guard import clear_risk
    from trader.settings import TraderSettings, choose_trader_database

    if clear and account is None:
        raise UsageError("--clear needs --account NAME: the account whose losses you have checked")
    settings = load_settings(
        TraderSettings,
        "trader",
        find_settings_file("trader", config),
        {"db": db, "exchange": exchange},
        reads_strategy=False,
    ).settings
    path: Path = choose_trader_database(settings)
    name = None if account is None else normalize_account_name(account)
    if clear and name is not None:
        with open_store(path, create=False) as store:
            clear_risk(store, name, cleared_by=get_user_and_host())
    with open_read_only(path) as store:
        rows = [one for one in read_risk_states(store) if name in (None, one.account)]
        if name is not None and not rows:
            check_account_exists(store, name)
    if json:
        print_json({"accounts": [_make_risk_document(row) for row in rows]})
        return
    for row in rows:
        for line in _format_risk_lines(row):
            print_line(line)
    if not rows:
        traded = "no account of it has" if name is None else f"account {name} has never"
        print_line(f"{path} has no risk state: {traded} traded live")


def _make_risk_document(row: "RiskRow") -> dict[str, Any]:
    from trader.risk_guard import decode_risk_state

    state = decode_risk_state(row.state)
    return {
        "account": row.account,
        "equity": state.equity,
        "day": state.day,
        "day_equity": state.day_equity,
        "peak_equity": state.peak_equity,
        "breaches": [{"limit": one.limit, "reason": one.reason} for one in state.breaches],
        "cleared_by": row.cleared_by,
    }


def _format_risk_lines(row: "RiskRow") -> list[str]:
    from trader.risk_guard import decode_risk_state

    state = decode_risk_state(row.state)
    day, peak = state.equity - state.day_equity, state.equity - state.peak_equity
    lines = [
        f"{row.account}: equity {state.equity:,.2f}, {day:+,.2f} since the start of {state.day}, "
        f"{peak:+,.2f} from its highest"
    ]
    lines += [f"  passed: {one.reason}; no entries" for one in state.breaches]
    if state.breaches:
        lines.append(f"  entries go on after: trader risk --clear --account {row.account}")
    return lines
