"""`trader logs`: the stored events of the traders of a database, in order of time."""

from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from trader.commands.account_selection import ACCOUNTS, CONFIG, open_accounts, select_accounts

if TYPE_CHECKING:
    from onetape.store.accounts import AccountSeries
    from onetape.store.database import Store

_DAY_MS = 86_400_000


def show_logs(
    *,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Start, UTC: a day, a moment or a time of day; 03:00 is the last 03:00.  "
            "[default: 24 hours ago]",
        ),
    ] = None,
    problems: Annotated[
        bool,
        typer.Option(
            "--problems",
            help="Only problems: states, outages, blocked signals, rejected orders, corrections.",
        ),
    ] = False,
    account: ACCOUNTS = None,
    symbol: options.Symbols = None,
    exchange: options.Exchange = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Show the events of traders, in order of time.

    Sessions, states, outages, signals, decided exits, trades, orders that were not filled,
    corrections of candles, and commands of a person.
    """
    from onetape.cli.output import get_terminal_width, print_json, print_line
    from onetape.core.symbols import SIMULATOR_ID
    from onetape.store.event_reading import read_controls_since, read_events
    from trader.rendering.logs import format_logs, make_trader_event_document

    with open_accounts(db, config, exchange) as store, store.read():
        path = store.path
        chosen = select_accounts(store, account, symbol, exchange)
        now_ms = _read_market_time(store, chosen)
        since_ms = now_ms - _DAY_MS if since is None else parse_since(since, now_ms)
        events = [event for one in chosen for event in read_events(store, one, since_ms)]
        symbols = {one.symbol for one in chosen}
        events += [
            event
            for name in dict.fromkeys(one.name for one in chosen)
            for event in read_controls_since(
                store,
                name,
                since_ms,
                is_simulated=any(one.exchange == SIMULATOR_ID for one in chosen),
            )
            if event.symbol is None or event.symbol in symbols
        ]
    events.sort(key=lambda event: event.at_ms)
    found = [event for event in events if event.is_problem or not problems]
    if json_:
        entries = [make_trader_event_document(event) for event in found]
        print_json({"database": path, "since_ms": since_ms, "events": entries})
        return
    is_one = len({one.name for one in chosen}) == 1
    print_line(
        format_logs(
            found,
            path,
            since_ms,
            is_one_account=is_one,
            is_one_symbol=len({(one.name, one.symbol) for one in chosen})
            == len({one.name for one in chosen}),
            is_problems=problems,
            width=get_terminal_width(),
        )
    )


def parse_since(text: str, now_ms: int) -> int:
    """Return the moment of `--since`, epoch milliseconds.

    Args:
        text: A moment, or a time of the day such as `03:00`: its last one until now.
        now_ms: Market time, epoch milliseconds.

    Raises:
        UsageError: the text is not a time, or the time is in the future.
    """
    from datetime import UTC, datetime, time, timedelta

    from onetape.core.clock import format_utc
    from onetape.core.dates import parse_moment
    from onetape.core.errors import UsageError

    now = datetime.fromtimestamp(now_ms / 1_000, tz=UTC)
    try:
        clock = time.fromisoformat(text) if ":" in text and len(text) <= len("00:00:00") else None
    except ValueError:
        clock = None
    if clock is not None:
        moment = datetime.combine(now.date(), clock, tzinfo=UTC)
        found = moment if moment <= now else moment - timedelta(days=1)
        return int(found.timestamp()) * 1_000
    since = parse_moment(text, "--since") * 1_000
    if since > now_ms:
        raise UsageError(
            f"--since {text!r} is in the future; it is {format_utc(now_ms // 1_000)} UTC there"
        )
    return since


def _read_market_time(store: "Store", accounts: "list[AccountSeries]") -> int:
    """Return the present market time; of simulated markets the newest that is stored."""
    from onetape.core.clock import SystemClock
    from onetape.core.symbols import SIMULATOR_ID
    from onetape.store.account_reading import read_newest_time
    from trader.commands.account_result import make_series_key

    if any(one.exchange != SIMULATOR_ID for one in accounts):
        return SystemClock().now_ms()
    return max(read_newest_time(store, make_series_key(one)) or one.opened_ms for one in accounts)
