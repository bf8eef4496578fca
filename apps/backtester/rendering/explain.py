"""Render the explanation of one candle for a terminal."""

from onetape.backtest.explain import CandleExplanation
from onetape.core.clock import utc_text
from onetape.core.digits import number_text


def render_explanation(found: CandleExplanation) -> str:
    """Return the explanation of one candle, for a terminal."""
    candle, digits = found.candle, found.digits
    prices = ", ".join(
        f"{name} {digits.price_text(candle[name])}" for name in ("open", "high", "low", "close")
    )
    seen = ", ".join(
        f"{name} {'unknown' if value is None else number_text(value, commas=True)}"
        for name, value in found.indicators.items()
    )
    reason = f" ({found.reason})" if found.reason else ""
    lines = [
        f"{found.strategy} on {found.series}, candle {utc_text(found.opened)} to "
        f"{utc_text(found.closed)} UTC",
        f"candle:     {prices}, volume {number_text(candle['volume'], commas=True)}",
        *(f"inside it:  {text}" for text in found.inside),
        f"indicators: {seen or 'none'}",
        f"position:   {found.position}; equity {digits.money_text(found.equity)}",
        f"signal:     {found.signal}{reason}",
        f"followed:   {found.followed}",
    ]
    if found.has_finer_steps:
        lines.append(f"market:     {found.market}")
    return "\n".join(lines)
