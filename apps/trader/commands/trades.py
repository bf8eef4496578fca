"""`trader trades`: every fill of the accounts."""

from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from trader.commands.common import ACCOUNTS, CONFIG, FROM, TO, open_accounts, select_accounts

if TYPE_CHECKING:
    from onetape.core.trading import Trade


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
    from trader.commands.account_result import read_digits, read_trades
    from trader.rendering.trades import trade_documents, trades_csv, trades_text

    if csv and json_:
        raise UsageError("--csv and --json are two formats; leave one of them out")
    start, end = _range_ms(from_, to)
    with open_accounts(db, config, exchange) as store, store.read():
        path = store.path
        chosen = select_accounts(store, account, symbol, exchange)
        digits = {one.name: read_digits(store, one) for one in chosen}
        trades = [trade for one in chosen for trade in read_trades(store, one)]
    trades.sort(key=lambda trade: trade.executed_ms)
    found = [trade for trade in trades if start <= trade.executed_ms < end]
    if trades and not found:
        raise _nothing_between(trades)
    if json_:
        print_json({"database": path, "trades": trade_documents(found)})
    elif csv:
        print_line(trades_csv(found))
    else:
        print_line(trades_text(found, digits, path, width=get_terminal_width()))


def _range_ms(from_: str | None, to: str | None) -> tuple[int, int]:
    """Return both ends, epoch milliseconds; the end is exclusive.

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


def _nothing_between(trades: "list[Trade]") -> Exception:
    """Return the error of a range without a trade, where there are others."""
    from onetape.core.clock import format_utc
    from onetape.core.errors import DataError

    first, last = (format_utc(trades[place].executed_ms // 1_000) for place in (0, -1))
    return DataError(
        f"no trade between --from and --to; the stored ones go from {first} to {last} UTC"
    )
