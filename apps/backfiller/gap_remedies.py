"""Texts for the user on what to do about unproven gaps: fetch again, import or accept.

Fetching again is not named for gaps that the exchange does not serve any more.
"""

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
    """Number of missing candles."""
    is_out_of_reach: bool
    """Whether the exchange serves only candles that are newer than the gap."""

    @classmethod
    def make_gap(
        cls, key: SeriesKey, start: int, candle_count: int, *, now_ms: int
    ) -> "UnprovenGap":
        """Return a gap; the market time `now_ms` decides whether the exchange still serves it."""
        timeframe = Timeframe.parse(key.timeframe)
        out_of_reach = is_out_of_reach(key.exchange, timeframe, start, now_ms // 1_000)
        return cls(key, start, candle_count, out_of_reach)


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
    out_of_reach = [gap for gap in gaps if gap.is_out_of_reach]
    parts: list[str] = []
    if len(out_of_reach) < len(gaps):
        parts.append(
            f"run again in {minutes} minutes or later: another response of the exchange fetches "
            "them or proves that it has none"
        )
    if out_of_reach:
        key, file = out_of_reach[0].key, shlex.quote(str(path))
        parts.append(
            f"{key.exchange} serves its newest {get_quirks(key.exchange).newest_only:,} candles "
            f"only, not the candles of {format_count(len(out_of_reach), 'older gap')}: import a "
            f"file that has the candles (uv run backfiller import FILE --db {file}), or accept "
            f"the gap (uv run backfiller gaps --accept FROM..TO --because REASON --db {file})"
        )
    return "; ".join(parts)
