"""Output of `backtester explain` for a terminal: the explanation of one candle."""

from collections.abc import Mapping

from onetape.backtest.candle_text import format_candle, format_indicators
from onetape.backtest.explain import CandleExplanation
from onetape.core.clock import format_utc


def render_explanation(found: CandleExplanation) -> str:
    """Return the explanation of one candle, for a terminal."""
    digits = found.digits
    reason = f" ({found.reason})" if found.reason else ""
    lines = [
        f"{found.strategy} on {found.series}, candle {format_utc(found.opened)} to "
        f"{format_utc(found.closed)} UTC",
        f"candle:     {format_candle(found.candle, digits)}",
        *(f"input:      {text}" for text in found.inputs),
        *(f"inside it:  {text}" for text in found.inside),
        f"indicators: {format_indicators(found.indicators)}",
        *_format_conditions(found.conditions),
        f"position:   {found.position}; equity {digits.format_money(found.equity)}",
        f"signal:     {found.signal}{reason}",
        f"order:      {found.order}",
    ]
    if found.has_finer_steps:
        lines.append(f"trading rules: {found.trading_rules}")
    return "\n".join(lines)


def _format_conditions(found: Mapping[str, bool]) -> list[str]:
    """Return the line about the conditions that a strategy names; empty if it names none."""
    if not found:
        return []
    texts = [f"{name} {'met' if is_met else 'NOT MET'}" for name, is_met in found.items()]
    return [f"conditions: {', '.join(texts)}"]
