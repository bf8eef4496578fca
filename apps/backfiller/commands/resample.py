"""`backfiller resample`: build candles of a higher timeframe from stored ones, and store them."""

from typing import Annotated

import typer

from backfiller.commands.series_selection import CONFIG, open_database, read_chosen_series
from onetape.cli import options


def resample_stored(
    *,
    into: Annotated[
        list[str],
        typer.Option(
            "--into", metavar="NAME", help="The higher timeframe, such as 1h; repeat for several."
        ),
    ],
    timeframe: Annotated[
        str,
        typer.Option("--timeframe", "-t", metavar="NAME", help="Timeframe of the stored candles."),
    ] = "1m",
    symbol: options.Symbols = None,
    exchange: options.Exchanges = None,
    allow_gaps: Annotated[
        bool,
        typer.Option(
            "--allow-gaps",
            help="Also build candles over gaps whose cause is unknown.",
        ),
    ] = False,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Build missing candles of a higher timeframe from stored candles, as Binance does."""
    from backfiller.resampling import ResampleResult, resample_series
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import SystemClock
    from onetape.core.errors import DataError
    from onetape.core.resample import check_multiple
    from onetape.core.timeframes import Timeframe

    small = Timeframe.parse(timeframe)
    higher_timeframes = [Timeframe.parse(name) for name in dict.fromkeys(into)]
    for each in higher_timeframes:
        check_multiple(small, each)
    done: list[ResampleResult] = []
    with open_database(db, config, exchange) as store:
        keys = read_chosen_series(store, exchange, symbol, [small.name])
        if not keys:
            raise DataError(f"{store.path} holds no candles")
        for key in keys:
            for each in higher_timeframes:
                now_ms = SystemClock().now_ms()
                done.append(resample_series(store, key, each, allow_gaps=allow_gaps, now_ms=now_ms))
                if not json_:
                    print_line(done[-1].format_line())
        path = store.path
    if json_:
        print_json({"database": path, "series": [result.make_document() for result in done]})
    else:
        print_line(f"database: {path}")
