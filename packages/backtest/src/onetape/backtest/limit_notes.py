"""Texts on the limit entries of a run: the rule, and the number of orders."""

from onetape.core.message_text import format_count
from onetape.engine import SimulationResult
from onetape.strategies import Signals


def describe_limits(signals: Signals) -> str:
    """Return the rule of limit entries, for the assumptions; empty without a limit column."""
    if signals.limit is None:
        return ""
    candles = format_count(signals.limit_expiry_candles, "candle")
    return (
        f"a BUY with a limit price is a limit order for {candles}: filled at the limit once a "
        "candle's low is below it (maker), or at an open below it (taker)"
    )


def describe_limit_orders(result: SimulationResult) -> list[str]:
    """Return the note on the limit orders of a run; empty: there were none."""
    fill_log = result.fill_log
    if not fill_log.has_limits:
        return []
    filled, unfilled = len(fill_log.limit_waits), len(fill_log.unfilled_limits) // 2
    inside = len(fill_log.inside_entries)
    open_ = "" if fill_log.open_limit is None else ", 1 open at the end of the range"
    sent = filled + unfilled + (fill_log.open_limit is not None)
    return [
        f"{format_count(sent, 'limit order')} to buy: {inside:,} filled at the limit, "
        f"{filled - inside:,} at an open below it, {unfilled:,} not filled{open_}"
    ]
