"""How many candles a strategy is given live: one rule for backtest, check, search and trader."""

from typing import Final

#: Minimum number of candles that a strategy gets, so that a short lookback is enough to warm up.
LEAST_CANDLES: Final = 100


def window_size(*lookbacks: int) -> int:
    """Return the number of closed candles of a window for a lookback, at least 100.

    Args:
        lookbacks: In candles of one timeframe: of the strategy, or of an order's size.
    """
    return max(LEAST_CANDLES, *lookbacks)
