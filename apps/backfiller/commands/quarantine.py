"""`backfiller quarantine`: rows that were refused, and why."""

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import asdict

from backfiller.commands.series_selection import CONFIG, make_series_filter, open_database
from onetape.cli import options

if TYPE_CHECKING:
    from onetape.core.candles import SeriesKey
    from onetape.store.quarantine import QuarantinedRow, RefusedRows

#: Number of characters of a row that are shown in text output.
_SHOWN = 60


def list_quarantine(
    *,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rows printed for each series and reason.")
    ] = 10,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List refused rows: the reason, how often and when they came, and their text."""
    from onetape.cli.output import print_json, print_line
    from onetape.core.message_text import format_count
    from onetape.store.quarantine import read_quarantined_rows, read_refused_rows

    is_chosen = make_series_filter(exchange, symbol, timeframe)
    with open_database(db, config, exchange) as store:
        found = [one for one in read_refused_rows(store) if is_chosen(one.key)]
        rows = [read_quarantined_rows(store, one.key, one.fault, limit) for one in found]
        path = store.path
    if json_:
        faults = [
            {
                **_make_quarantine_document(one),
                "rows": [_make_quarantine_document(row) for row in stored],
            }
            for one, stored in zip(found, rows, strict=True)
        ]
        print_json({"database": path, "faults": faults})
        return
    for one, stored in zip(found, rows, strict=True):
        print_line(f"{one.key}: {one.fault}: {format_count(one.refused, 'row')}")
        print_line(_format_row_table(stored))
        if one.refused > len(stored):
            print_line(f"{one.refused - len(stored):,} more (--limit)")
    total = sum(one.refused for one in found)
    print_line(f"{path}: {format_count(total, 'refused row')}")


def _make_quarantine_document(one: "RefusedRows | QuarantinedRow") -> dict[str, object]:
    document = asdict(one)
    key: SeriesKey = document.pop("key")
    return {**asdict(key), **document}


def _format_row_table(rows: "list[QuarantinedRow]") -> str:
    from onetape.cli.tables import Column, fit_table
    from onetape.core.clock import format_utc

    def seen(moment_ms: int) -> str:
        return format_utc(moment_ms // 1_000)

    columns = [
        Column("candle", ["?" if one.timestamp is None else format_utc(one.timestamp)
                          for one in rows]),
        Column("times", [f"{one.times:,}" for one in rows], right=True),
        Column("first seen", [seen(one.first_seen_ms) for one in rows], ()),
        Column("last seen", [seen(one.last_seen_ms) for one in rows]),
        Column("source", [one.source for one in rows], ()),
        Column("row", [_shorten_text(one.payload, _SHOWN) for one in rows],
               [_shorten_text(one.payload, _SHOWN // 2) for one in rows]),
    ]  # fmt: skip
    return fit_table(columns)


def _shorten_text(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
