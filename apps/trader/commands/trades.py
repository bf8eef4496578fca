"""`trader trades`: every fill of the accounts."""

from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from trader.commands.account_selection import (
    ACCOUNTS,
    CONFIG,
    FROM,
    TO,
    open_accounts,
    select_accounts,
)

if TYPE_CHECKING:
    from onetape.core.trading import Fill


def list_trades(
    *,
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    exchange: options.Exchange = None,
    from_: FROM = None,
    to: TO = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print comma-separated values with all digits and ids.")
    ] = False,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List every fill with its fee and ids."""
    from onetape.cli.output import get_terminal_width, print_json, print_line
    from onetape.core.errors import UsageError
    from trader.commands.account_result import read_account_fills, read_digits
    from trader.rendering.trades import format_fills, format_fills_csv, make_fill_documents

    if csv and json_:
        raise UsageError("--csv and --json are two formats; leave one of them out")
    start, end = _parse_range_ms(from_, to)
    with open_accounts(db, config, exchange) as store, store.read():
        path = store.path
        chosen = select_accounts(store, account, symbol, exchange)
        digits = {(one.name, one.symbol): read_digits(store, one) for one in chosen}
        fills = [fill for one in chosen for fill in read_account_fills(store, one)]
    fills.sort(key=lambda fill: fill.executed_ms)
    found = [fill for fill in fills if start <= fill.executed_ms < end]
    if fills and not found:
        raise _make_empty_range_error(fills)
    if json_:
        print_json({"database": path, "fills": make_fill_documents(found)})
    elif csv:
        print_line(format_fills_csv(found))
    else:
        print_line(format_fills(found, digits, path, width=get_terminal_width()))


def _parse_range_ms(from_: str | None, to: str | None) -> tuple[int, int]:
    """Return the range of --from and --to, epoch milliseconds; the end is exclusive.

    Raises:
        UsageError: a flag is no time, or the end is not after the start.
    """
    from onetape.core.candles import LATEST_TIMESTAMP
    from onetape.core.clock import check_range
    from onetape.core.dates import parse_moment

    start = 0 if from_ is None else parse_moment(from_, "--from")
    end = LATEST_TIMESTAMP if to is None else parse_moment(to, "--to")
    check_range(start, end)
    return start * 1_000, end * 1_000


def _make_empty_range_error(fills: "list[Fill]") -> Exception:
    """Return the error that no fill lies between --from and --to, with the range of all fills."""
    from onetape.core.clock import format_utc
    from onetape.core.errors import DataError

    first, last = (format_utc(fills[index].executed_ms // 1_000) for index in (0, -1))
    return DataError(
        f"no fill between --from and --to; the stored fills go from {first} to {last} UTC"
    )
