"""`backfiller gaps`: list every missing range and the known cause; accept gaps, or undo it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import asdict

from backfiller.commands.series_selection import (
    CONFIG,
    open_database,
    read_chosen_series,
    read_known_gaps,
)
from onetape.cli import options

if TYPE_CHECKING:
    from onetape.core.candles import SeriesKey
    from onetape.store.gaps import Gap

_RANGE = "FROM..TO"


def list_gaps(
    *,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar=_RANGE,
            help="Mark the gaps of this range (UTC, TO exclusive), or `all` gaps, as explained; "
            "works offline.",
        ),
    ] = None,
    because: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Reason for --accept: outage, maintenance, no trades."),
    ] = None,
    undo: Annotated[
        str | None,
        typer.Option(metavar=_RANGE, help="Undo --accept for this range, or for `all` gaps."),
    ] = None,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """List every missing range, and why its candles are missing."""
    from backfiller.gap_acceptance import (
        accept_gaps,
        parse_range,
        parse_reason_flags,
        undo_acceptance,
    )
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import SystemClock
    from onetape.core.message_text import format_count

    reason = parse_reason_flags(accept, because, undo)
    requested = parse_range(accept or undo, "--accept" if accept else "--undo")
    with open_database(db, config, exchange) as store:
        chosen = read_chosen_series(store, exchange, symbol, timeframe)
        changed: int | None = None
        if accept is not None:
            now_ms = SystemClock().now_ms()
            changed = accept_gaps(store, chosen, requested, reason=reason, now_ms=now_ms)
        elif undo is not None:
            changed = undo_acceptance(store, chosen, requested)
        known = {key: read_known_gaps(store, key) for key in chosen}
        path = store.path
    found = {key: gaps for key, gaps in known.items() if gaps is not None}
    if json_:
        documents: list[dict[str, Any]] = [
            _make_gap_document(key, gap) for key, gaps in found.items() for gap in gaps
        ]
        print_json({"database": path, "gaps": documents, "changed": changed})
        return
    for key, gaps in found.items():
        _print_series(key, gaps)
    verb = "accepted" if accept is not None else "no longer accepted"
    done = "" if changed is None else f", {format_count(changed, 'candle')} {verb}"
    print_line(f"database: {path}{done}")


def _make_gap_document(key: "SeriesKey", gap: "Gap") -> dict[str, Any]:
    """Return a gap for --json."""
    return {**asdict(key), **asdict(gap)}


def _print_series(key: "SeriesKey", gaps: "list[Gap]") -> None:
    """Print the gaps of one series as a table."""
    from onetape.cli.output import print_line
    from onetape.cli.tables import Column, fit_table
    from onetape.core.clock import format_utc
    from onetape.core.message_text import format_count

    missing = format_count(sum(gap.candles for gap in gaps), "candle")
    print_line(f"{key}: {format_count(len(gaps), 'gap')}, {missing}" if gaps else f"{key}: no gaps")
    if not gaps:
        return
    columns = [
        Column("from", [format_utc(gap.start) for gap in gaps]),
        Column("to", [format_utc(gap.end) for gap in gaps]),
        Column("candles", [f"{gap.candles:,}" for gap in gaps], right=True),
        Column("state", [_describe_gap_state(gap) for gap in gaps], [gap.state for gap in gaps]),
        Column("since", [_format_day(gap.since_ms, "unknown") for gap in gaps]),
        Column("last requested", [_format_day(gap.last_requested_ms, "never") for gap in gaps], ()),
    ]
    print_line(fit_table(columns))


def _describe_gap_state(gap: "Gap") -> str:
    """Return the evidence for a gap as a text, such as `unproven, left out of 1 response`."""
    from onetape.core.message_text import format_count
    from onetape.store.gaps import UNPROVEN

    if gap.reason is not None:
        return f"{gap.state}: {gap.reason}"
    if gap.state == UNPROVEN:
        return f"{gap.state}, left out of {format_count(gap.responses, 'response')}"
    return gap.state


def _format_day(moment_ms: int | None, absent: str) -> str:
    """Return the day of a time, UTC; `absent` is the text for None."""
    from onetape.core.clock import format_utc

    return absent if moment_ms is None else format_utc(moment_ms // 1_000)[:10]
