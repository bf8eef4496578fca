"""`backfiller quarantine`: list the rows that were refused, and why."""

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
        found = [refused for refused in read_refused_rows(store) if is_chosen(refused.key)]
        rows = [
            read_quarantined_rows(store, refused.key, refused.fault, limit) for refused in found
        ]
        path = store.path
    if json_:
        faults = [
            {
                **_make_quarantine_document(refused),
                "rows": [_make_quarantine_document(row) for row in stored],
            }
            for refused, stored in zip(found, rows, strict=True)
        ]
        print_json({"database": path, "faults": faults})
        return
    for refused, stored in zip(found, rows, strict=True):
        print_line(f"{refused.key}: {refused.fault}: {format_count(refused.refused, 'row')}")
        print_line(_format_row_table(stored))
        if refused.refused > len(stored):
            print_line(f"{refused.refused - len(stored):,} more (--limit)")
    total = sum(refused.refused for refused in found)
    print_line(f"{path}: {format_count(total, 'refused row')}")


def _make_quarantine_document(refused: "RefusedRows | QuarantinedRow") -> dict[str, object]:
    """Return a row, or a series with its reason, for --json."""
    document = asdict(refused)
    key: SeriesKey = document.pop("key")
    return {**asdict(key), **document}


def _format_row_table(rows: "list[QuarantinedRow]") -> str:
    from onetape.cli.tables import Column, fit_table
    from onetape.core.clock import format_utc

    def format_ms(moment_ms: int) -> str:
        return format_utc(moment_ms // 1_000)

    columns = [
        Column("candle", ["?" if row.timestamp is None else format_utc(row.timestamp)
                          for row in rows]),
        Column("times", [f"{row.times:,}" for row in rows], right=True),
        Column("first seen", [format_ms(row.first_seen_ms) for row in rows], ()),
        Column("last seen", [format_ms(row.last_seen_ms) for row in rows]),
        Column("source", [row.source for row in rows], ()),
        Column("row", [_shorten_text(row.payload, _SHOWN) for row in rows],
               [_shorten_text(row.payload, _SHOWN // 2) for row in rows]),
    ]  # fmt: skip
    return fit_table(columns)


def _shorten_text(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
