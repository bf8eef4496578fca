"""The checks before an order: one list for entries and one for exits.

An exit is part of a position that is at risk already. So conditions that only make an entry unwise
(a stream that is down, an old signal, candles missing in the warm-up) must not hold an exit back.
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
    missing_since: int | None
    """First unexplained missing candle of the warm-up, epoch seconds, or None."""
    candles: int
    """Candles that the strategy was given."""
    lookback: int
    """Candles that the strategy needs for one signal."""
    higher_obstacle: str | None
    """Reason why higher timeframes lack candles; None: they have enough."""
    is_stream_up: bool
    open_order: str | None
    """Side of the open order, or None."""


def check_entry(context: RiskContext) -> dict[str, str]:
    """Return each check that an order to buy must pass, with its verdict: `ok` or a reason."""
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
    return verdicts


def check_exit(context: RiskContext) -> dict[str, str]:
    """Return each check that a strategy's SELL must pass, with its verdict: `ok` or a reason.

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
    """Return the first verdict that is not `ok`, or None if all checks are passed."""
    return next((verdict for verdict in verdicts.values() if verdict != OK), None)


def _format_span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
