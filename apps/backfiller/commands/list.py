"""`backfiller list`: what the database holds."""

from typing import Any

from backfiller.commands.common import CONFIG, chosen_series, open_database
from onetape.cli import options


def list_series(
    *,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List every stored series: first and last candle, rows, gaps, where they came from."""
    from onetape.cli.output import print_json, print_line, table
    from onetape.core.clock import utc_text
    from onetape.store.candles import stored_series

    with open_database(db, config, exchange) as store:
        chosen = set(chosen_series(store, exchange, symbol, timeframe))
        rows = [one for one in stored_series(store) if one.key in chosen]
        path = store.path
    if json_:
        documents: list[dict[str, Any]] = [
            {
                "exchange": one.key.exchange,
                "symbol": one.key.symbol,
                "timeframe": one.key.timeframe,
                "first": one.first,
                "last": one.last,
                "rows": one.rows,
            }
            for one in rows
        ]
        print_json({"database": path, "series": documents})
        return
    head = ("exchange", "symbol", "timeframe", "first", "last", "rows")
    body = [
        (
            one.key.exchange,
            one.key.symbol,
            one.key.timeframe,
            utc_text(one.first),
            utc_text(one.last),
            f"{one.rows:,}",
        )
        for one in rows
    ]
    print_line(table([head, *body], right=(5,)))
    print_line(f"database: {path}")
