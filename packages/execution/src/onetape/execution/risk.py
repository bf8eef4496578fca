"""Checks of a decision before its order is made, on paper and live: for entries and for exits.

A check returns a verdict by its name: `ok`, or the reason for the refusal as a text. An exit has
fewer checks, because its position is at risk already: a stream that is down, an old signal or
candles missing in the warm-up forbid an entry and no exit. The limits of a live account are in
`execution/limit_checks.py`.
"""

from typing import Final

from msgspec import Struct

from onetape.core.clock import format_utc

#: Verdict of a check that is passed.
OK: Final = "ok"


class RiskContext(Struct, frozen=True):
    """Facts that are known at the moment of a decision."""

    is_decided_before: bool
    """Whether an earlier session decided on this candle."""
    late_reason: str | None
    """Reason why this is not the newest closed candle; None: it is the newest."""
    age_seconds: float
    """Time since the close of the candle, on the wall clock."""
    max_age_seconds: float
    """Maximum time since the close of the candle at which an entry is still made."""
    missing_since: int | None
    """First unexplained missing candle of the warm-up, epoch seconds, or None."""
    candles: int
    """Candles that the strategy was given."""
    lookback: int
    """Candles that the strategy needs for one signal."""
    higher_obstacle: str | None
    """Reason why higher timeframes lack candles; empty: they have enough; None: the strategy reads
    none."""
    market_obstacle: str | None
    """Reason why other markets lack candles; empty: they have enough; None: the strategy reads
    none."""
    is_stream_up: bool
    """Whether the stream of the exchange sends current candles."""
    open_order: str | None
    """Side of the order that is not over, `buy` or `sell`; None: there is none."""


def check_entry(context: RiskContext) -> dict[str, str]:
    """Return the verdicts on an entry by check: `ok`, or the reason for the refusal."""
    missing = context.missing_since
    is_too_old = context.age_seconds > context.max_age_seconds
    decided = "decided by an earlier session"
    verdicts = {
        "decided before": decided if context.is_decided_before else OK,
        "newest candle": OK if context.is_decided_before else context.late_reason or OK,
        "signal age": f"{_format_span(context.age_seconds)} too late" if is_too_old else OK,
        "candles": OK if missing is None else f"candles missing from {format_utc(missing)}",
        "stream": OK if context.is_stream_up else "the stream is not up",
        "open order": OK if context.open_order is None else "an order is open",
    }
    if context.higher_obstacle is not None:
        verdicts["higher timeframes"] = context.higher_obstacle or OK
    if context.market_obstacle is not None:
        verdicts["other markets"] = context.market_obstacle or OK
    return verdicts


def check_exit(context: RiskContext) -> dict[str, str]:
    """Return the verdicts on a SELL of the strategy by check: `ok`, or the reason for the refusal.

    A strategy with fewer candles than its lookback since an unexplained gap has no signal yet.
    """
    missing = context.missing_since
    is_short = missing is not None and context.candles < context.lookback
    short = f"{context.candles:,} of {context.lookback:,} candles of the lookback since a gap"
    return {
        "decided before": "decided by an earlier session" if context.is_decided_before else OK,
        "candles": short if is_short else OK,
        "open order": "an exit order is open" if context.open_order == "sell" else OK,
    }


def find_obstacle(verdicts: dict[str, str]) -> str | None:
    """Return the reason of the first check that was not passed; None: all were passed."""
    return next((verdict for verdict in verdicts.values() if verdict != OK), None)


def _format_span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
