"""`backfiller export`: write the candles of one series to a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backfiller.commands.series_selection import CONFIG, open_database, read_chosen_series
from onetape.cli import options

if TYPE_CHECKING:
    from onetape.core.candles import SeriesKey
    from onetape.store.database import Store

_Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="File to write: .csv, .csv.gz, .parquet, or .feather (freqtrade's format).",
    ),
]
_From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First day, UTC.")]
_To = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM-DD", help="Stop before this day, UTC (exclusive)."),
]


def export_series(
    *,
    out: _Out,
    symbol: options.Symbol = None,
    timeframe: options.OneTimeframe = None,
    exchange: options.Exchange = None,
    from_: _From = None,
    to: _To = None,
    timerange: options.Timerange = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Export the closed candles of one series; importing the file gives equal candles."""
    from backfiller.formats.candle_writer import check_target, write_candles
    from onetape.cli.dates import parse_range_flags
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import format_utc
    from onetape.core.errors import DataError
    from onetape.core.message_text import format_count
    from onetape.core.printable import escape_unprintable
    from onetape.store.gaps import read_gaps
    from onetape.store.reading import read_closed_between

    start, end = _parse_range(*parse_range_flags(from_, to, timerange))
    check_target(out, force=force)
    with open_database(db, config, _wrap_in_list(exchange)) as store:
        key = _choose_one_series(store, exchange, symbol, timeframe)
        candles = read_closed_between(store, key, start, end)
        if not len(candles):
            raise DataError(f"{store.path} holds no closed candles of {key} in that range")
        first, last = int(candles.timestamp[0]), int(candles.timestamp[-1])
        gaps = read_gaps(store, key, start=first, end=last)
    write_candles(out, candles)
    missing = sum(gap.candles for gap in gaps)
    if json_:
        print_json(
            {
                "file": out,
                "exchange": key.exchange,
                "symbol": key.symbol,
                "timeframe": key.timeframe,
                "first": first,
                "last": last,
                "rows": len(candles),
                "gaps": len(gaps),
                "missing": missing,
            }
        )
        return
    gap_text = (
        f"{format_count(len(gaps), 'gap')} ({format_count(missing, 'candle')})"
        if gaps
        else "no gaps"
    )
    print_line(
        f"{escape_unprintable(str(out))}: {key}: {format_count(len(candles), 'candle')} from "
        f"{format_utc(first)} to {format_utc(last)} UTC, {gap_text}"
    )


def _parse_range(from_: str | None, to: str | None) -> tuple[int, int]:
    """Return start and end (exclusive), epoch seconds; without flags the range of all candles.

    Raises:
        UsageError: a flag is no date, or the range is empty.
    """
    from onetape.core.candles import LATEST_TIMESTAMP
    from onetape.core.clock import check_range
    from onetape.core.dates import parse_moment

    start = 0 if from_ is None else parse_moment(from_, "--from")
    end = LATEST_TIMESTAMP if to is None else parse_moment(to, "--to")
    check_range(start, end)
    return start, end


def _choose_one_series(
    store: "Store", exchange: str | None, symbol: str | None, timeframe: str | None
) -> "SeriesKey":
    """Return the only stored series that matches the flags; a None matches all.

    Raises:
        UsageError: several series match.
        DataError: no stored series fits the flags.
    """
    from onetape.core.errors import DataError, UsageError

    chosen = read_chosen_series(
        store, _wrap_in_list(exchange), _wrap_in_list(symbol), _wrap_in_list(timeframe)
    )
    if not chosen:
        raise DataError(f"{store.path} holds no candles")
    if len(chosen) > 1:
        raise UsageError(
            f"a file holds one series, and {len(chosen)} fit, such as {chosen[0]} and "
            f"{chosen[1]}; choose with --exchange, --symbol and --timeframe"
        )
    return chosen[0]


def _wrap_in_list(value: str | None) -> list[str] | None:
    """Return the value as a list of one; None: None."""
    return [value] if value else None
