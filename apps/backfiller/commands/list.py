"""`backfiller list`: what the database holds."""

from dataclasses import asdict
from typing import Any

from backfiller.commands.common import CONFIG, chosen_summaries, open_database
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
    from backfiller.commands.tables import Column, fitted
    from onetape.cli.dates import day_text
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import utc_text
    from onetape.store.gaps import CONFIRMED, gaps_of

    with open_database(db, config, exchange) as store:
        found = chosen_summaries(store, exchange, symbol, timeframe)
        gaps = [gaps_of(store, one.key) for one in found]
        path = store.path
    if json_:
        documents: list[dict[str, Any]] = [
            {
                **asdict(one.key),
                "first": one.first,
                "last": one.last,
                "rows": one.rows,
                "gaps": len(holes),
                "missing": sum(hole.candles for hole in holes),
                "unproven": sum(hole.state != CONFIRMED for hole in holes),
                "sources": one.sources,
            }
            for one, holes in zip(found, gaps, strict=True)
        ]
        print_json({"database": path, "series": documents})
        return
    counts = [
        f"{len(holes):,} ({sum(hole.candles for hole in holes):,})" if holes else "0"
        for holes in gaps
    ]
    unproven = [sum(hole.state != CONFIRMED for hole in holes) for holes in gaps]
    columns = [
        Column("series", [str(one.key) for one in found]),
        Column(
            "first",
            [utc_text(one.first) for one in found],
            [day_text(one.first)[:10] for one in found],
        ),
        Column(
            "last",
            [utc_text(one.last) for one in found],
            [day_text(one.last)[:10] for one in found],
        ),
        Column("rows", [f"{one.rows:,}" for one in found], right=True),
        Column("gaps", counts, right=True),
        Column("open", [f"{count:,}" for count in unproven], right=True),
        Column("source", ["+".join(one.sources) for one in found]),
    ]
    print_line(fitted(columns))
    if any(gaps):
        print_line(
            "gaps: stretches (candles); open: those not proven to be missing at the exchange"
        )
    print_line(f"database: {path}")
