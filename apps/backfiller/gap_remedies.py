"""Remedies for unproven gaps; only remedies that can work are named."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from onetape.core.candles import SeriesKey
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.quirks import get_quirks, is_out_of_reach
from onetape.core.timeframes import Timeframe


class UnprovenGap(Struct, frozen=True):
    """A range of missing candles whose cause is not proven."""

    key: SeriesKey
    start: int
    """Open of the first missing candle, epoch seconds."""
    candle_count: int
    is_out_of_reach: bool
    """Whether the exchange serves only candles that are newer than the gap."""

    @classmethod
    def make_gap(
        cls, key: SeriesKey, start: int, candle_count: int, *, now_ms: int
    ) -> "UnprovenGap":
        """Return a gap; `now_ms`, a market time, decides whether the exchange still serves it."""
        timeframe = Timeframe.parse(key.timeframe)
        gone = is_out_of_reach(key.exchange, timeframe, start, now_ms // 1_000)
        return cls(key, start, candle_count, gone)


def describe_unproven_gaps(gaps: Sequence[UnprovenGap], path: Path, *, minutes: int) -> str:
    """Return a text: number of candles in unproven gaps, the first gap, the remedy.

    Args:
        gaps: Unproven gaps, at least one.
        path: The database.
        minutes: Minutes after the first response from which another one may prove a gap.
    """
    candles = sum(gap.candle_count for gap in gaps)
    first = gaps[0]
    verb = "is" if candles == 1 else "are"
    return (
        f"{format_count(candles, 'candle')} in {format_count(len(gaps), 'gap')} {verb} missing, "
        f"unproven: first {first.key} {format_utc(first.start)} UTC; "
        f"{describe_remedy(gaps, path, minutes=minutes)}"
    )


def describe_remedy(gaps: Sequence[UnprovenGap], path: Path, *, minutes: int) -> str:
    """Return the remedy for gaps as a part of a sentence; arguments: `describe_unproven_gaps`."""
    gone = [gap for gap in gaps if gap.is_out_of_reach]
    parts: list[str] = []
    if len(gone) < len(gaps):
        parts.append(
            f"run again in {minutes} minutes or later: another response of the exchange fetches "
            "them or proves that it has none"
        )
    if gone:
        key, file = gone[0].key, shlex.quote(str(path))
        parts.append(
            f"{key.exchange} serves its newest {get_quirks(key.exchange).newest_only:,} candles "
            f"only, not the candles of {format_count(len(gone), 'older gap')}: import a file that "
            f"has the candles (uv run backfiller import FILE --db {file}), or accept the gap "
            f"(uv run backfiller gaps --accept FROM..TO --because REASON --db {file})"
        )
    return "; ".join(parts)
