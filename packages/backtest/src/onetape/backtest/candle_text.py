"""Text of a candle and of indicator values, for `backtester explain` and `trader explain`."""

from collections.abc import Mapping

from onetape.core.digits import Digits, format_number


def format_candle(candle: Mapping[str, float], digits: Digits) -> str:
    """Return prices and volume of a candle as text.

    Args:
        candle: Open, high, low, close and volume, by these names.
        digits: Decimals of prices.
    """
    prices = ", ".join(
        f"{name} {digits.format_price(candle[name])}" for name in ("open", "high", "low", "close")
    )
    return f"{prices}, volume {format_number(candle['volume'], commas=True)}"


def format_indicators(indicators: Mapping[str, float | None]) -> str:
    """Return indicator values as text; an indicator without a value is `unknown`."""
    seen = ", ".join(
        f"{name} {'unknown' if value is None else format_number(value, commas=True)}"
        for name, value in indicators.items()
    )
    return seen or "none"
