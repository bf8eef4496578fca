"""`backfiller gaps`: every missing range, and what is known of it."""

from typing import Any

from msgspec.structs import asdict

from backfiller.commands.common import CONFIG, chosen_series, known_gaps, open_database
from onetape.cli import options


def list_gaps(
    *,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List every missing range between the first and the last candle, and why it is missing."""
    from backfiller.commands.tables import Column, fitted
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import utc_text
    from onetape.core.words import counted

    with open_database(db, config, exchange) as store:
        chosen = chosen_series(store, exchange, symbol, timeframe)
        known = {key: known_gaps(store, key) for key in chosen}
        path = store.path
    found = {key: gaps for key, gaps in known.items() if gaps is not None}
    if json_:
        documents: list[dict[str, Any]] = [
            {**asdict(key), **asdict(gap)} for key, gaps in found.items() for gap in gaps
        ]
        print_json({"database": path, "gaps": documents})
        return

    def day(moment_ms: int | None) -> str:
        return "never" if moment_ms is None else utc_text(moment_ms // 1_000)[:10]

    for key, gaps in found.items():
        missing = counted(sum(gap.candles for gap in gaps), "candle")
        print_line(f"{key}: {counted(len(gaps), 'gap')}, {missing}" if gaps else f"{key}: no gaps")
        if gaps:
            columns = [
                Column("from", [utc_text(gap.start) for gap in gaps]),
                Column("to", [utc_text(gap.end) for gap in gaps]),
                Column("candles", [f"{gap.candles:,}" for gap in gaps], right=True),
                Column("state", [gap.state for gap in gaps]),
                Column("seen", [day(gap.first_seen_ms) for gap in gaps], ()),
                Column("asked", [day(gap.last_asked_ms) for gap in gaps]),
            ]
            print_line(fitted(columns))
    print_line(f"database: {path}")
