"""`backfiller verify`: check the database or chosen series; an error names the remedy."""

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from backfiller.commands.series_selection import (
    CONFIG,
    make_series_filter,
    open_database,
    read_chosen_series,
)
from onetape.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from onetape.core.candles import SeriesKey
    from onetape.store.verify import Finding


def verify_store(
    *,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Check for gaps, invalid and unclosed rows, and damage.

    Exit code 4 if a finding is unexplained.
    """
    from onetape.cli.output import print_json, print_line
    from onetape.core.errors import DataError
    from onetape.core.message_text import format_count
    from onetape.store.candles import read_series_summaries
    from onetape.store.quarantine import read_refused_rows
    from onetape.store.verify import verify

    with open_database(db, config, exchange) as store:
        # Without flags: all series, also those whose rows no other command can read.
        keys: list[SeriesKey] | None = None
        if exchange or symbol or timeframe:
            is_chosen = make_series_filter(exchange, symbol, timeframe)
            # A series whose rows were all refused has no candles, but findings.
            keys = [refused.key for refused in read_refused_rows(store) if is_chosen(refused.key)]
            keys += [
                summary.key for summary in read_series_summaries(store) if is_chosen(summary.key)
            ]
            keys = sorted(
                set(keys or read_chosen_series(store, exchange, symbol, timeframe)), key=str
            )
        findings = verify(store, keys)
        path = store.path
    unexplained = [finding for finding in findings if not finding.explained]
    explained = len(findings) - len(unexplained)
    if json_:
        print_json(
            {
                "database": path,
                "findings": [asdict(finding) for finding in findings],
                "unexplained": len(unexplained),
            }
        )
    else:
        for finding in unexplained:
            print_line(finding.text)
        known = f", {format_count(explained, 'gap')} with a known cause" if explained else ""
        print_line(f"{path}: {format_count(len(unexplained), 'unexplained finding')}{known}")
    if unexplained:
        remedy = _describe_remedy(path, unexplained)
        raise DataError(f"{format_count(len(unexplained), 'unexplained finding')}; {remedy}")


def _describe_remedy(path: "Path", findings: "list[Finding]") -> str:
    """Return the remedy for findings, with its command."""
    from backfiller.gap_remedies import UnprovenGap, describe_remedy
    from onetape.core.clock import SystemClock

    if any(finding.kind == "quick_check" for finding in findings):
        return f"no fetch repairs a damaged file: uv run backfiller restore BACKUP --db {path}"
    now_ms = SystemClock().now_ms()
    gaps = [
        UnprovenGap.make_gap(finding.key, finding.start, finding.candles, now_ms=now_ms)
        for finding in findings
        if finding.kind == "gap" and finding.key is not None
    ]
    out_of_reach = [gap for gap in gaps if gap.is_out_of_reach]
    if all(finding.kind == "every row refused" for finding in findings):
        return f"look at the rows: uv run backfiller quarantine --db {path}"
    repair = f"fetch what the exchange can supply: uv run backfiller repair --db {path}"
    parts = [repair] if len(out_of_reach) < len(findings) else []
    if out_of_reach:
        parts.append(describe_remedy(out_of_reach, path, minutes=0))
    return "; ".join(parts)
