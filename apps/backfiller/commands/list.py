"""`backfiller list`: the stored series of a database."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from backfiller.commands.series_selection import (
    CONFIG,
    open_database,
    read_chosen_summaries,
    read_known_gaps,
)
from onetape.cli import options

if TYPE_CHECKING:
    from onetape.cli.tables import Column
    from onetape.store.candles import SeriesSummary
    from onetape.store.gaps import Gap


def list_series(
    *,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List every stored series: first and last candle, rows, gaps, sources."""
    from onetape.cli.output import print_json, print_line
    from onetape.cli.tables import Column, fit_table

    with open_database(db, config, exchange) as store:
        found = read_chosen_summaries(store, exchange, symbol, timeframe)
        gaps = [read_known_gaps(store, summary.key) for summary in found]
        path = store.path
    if json_:
        documents = [
            _make_series_document(summary, known)
            for summary, known in zip(found, gaps, strict=True)
        ]
        print_json({"database": path, "series": documents})
        return
    unproven = [_count_unproven_gaps(known) for known in gaps]
    columns = [
        Column("series", [str(summary.key) for summary in found]),
        _make_time_column("first", [summary.first for summary in found]),
        _make_time_column("last", [summary.last for summary in found]),
        Column("rows", [f"{summary.rows:,}" for summary in found], right=True),
        Column("gaps", [_format_gap_count(known) for known in gaps], right=True),
        Column("open", ["?" if count is None else f"{count:,}" for count in unproven], right=True),
        Column("source", ["+".join(summary.sources) for summary in found]),
    ]
    print_line(fit_table(columns))
    if any(gaps):
        print_line("gaps: ranges (candles); open: cause not known (see: backfiller gaps)")
    print_line(f"database: {path}")


def _make_series_document(summary: "SeriesSummary", gaps: "list[Gap] | None") -> dict[str, Any]:
    """Return a series for --json; gaps are None if its timeframe is invalid."""
    return {
        **asdict(summary.key),
        "first": summary.first,
        "last": summary.last,
        "rows": summary.rows,
        "gaps": None if gaps is None else len(gaps),
        "missing": None if gaps is None else sum(gap.candles for gap in gaps),
        "unproven": _count_unproven_gaps(gaps),
        "sources": summary.sources,
    }


def _count_unproven_gaps(gaps: "list[Gap] | None") -> int | None:
    return None if gaps is None else sum(not gap.is_explained for gap in gaps)


def _format_gap_count(gaps: "list[Gap] | None") -> str:
    """Return the number of gaps, and of their candles in parentheses; `?`: unknown."""
    if gaps is None:
        return "?"
    return f"{len(gaps):,} ({sum(gap.candles for gap in gaps):,})" if gaps else "0"


def _make_time_column(title: str, moments: "list[int]") -> "Column":
    """Return a column of times, epoch seconds; a narrow terminal shows only the days."""
    from onetape.cli.tables import Column
    from onetape.core.clock import format_day, format_utc

    days = [format_day(moment)[:10] for moment in moments]
    return Column(title, [format_utc(moment) for moment in moments], days)
