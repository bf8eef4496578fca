"""`backfiller list`: what the database holds."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from backfiller.commands.common import CONFIG, chosen_summaries, known_gaps, open_database
from onetape.cli import options

if TYPE_CHECKING:
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
    """List every stored series: first and last candle, rows, gaps, where they came from."""
    from backfiller.commands.tables import Column, fitted
    from onetape.cli.dates import day_text
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import utc_text
    from onetape.store.gaps import CONFIRMED

    def unproven_of(holes: "list[Gap] | None") -> int | None:
        return None if holes is None else sum(hole.state != CONFIRMED for hole in holes)

    def counted(holes: "list[Gap] | None") -> str:
        if holes is None:
            return "?"
        return f"{len(holes):,} ({sum(hole.candles for hole in holes):,})" if holes else "0"

    with open_database(db, config, exchange) as store:
        found = chosen_summaries(store, exchange, symbol, timeframe)
        gaps = [known_gaps(store, one.key) for one in found]
        path = store.path
    if json_:
        documents: list[dict[str, Any]] = [
            {
                **asdict(one.key),
                "first": one.first,
                "last": one.last,
                "rows": one.rows,
                "gaps": None if holes is None else len(holes),
                "missing": None if holes is None else sum(hole.candles for hole in holes),
                "unproven": unproven_of(holes),
                "sources": one.sources,
            }
            for one, holes in zip(found, gaps, strict=True)
        ]
        print_json({"database": path, "series": documents})
        return
    unproven = [unproven_of(holes) for holes in gaps]
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
        Column("gaps", [counted(holes) for holes in gaps], right=True),
        Column("open", ["?" if count is None else f"{count:,}" for count in unproven], right=True),
        Column("source", ["+".join(one.sources) for one in found]),
    ]
    print_line(fitted(columns))
    if any(gaps):
        print_line(
            "gaps: stretches (candles); open: those not proven to be missing at the exchange"
        )
    print_line(f"database: {path}")
