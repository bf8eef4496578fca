"""Number of candles in a strategy's window: one rule for backtest, check, optimize and trader."""

from typing import Final

#: Minimum number of candles that a strategy gets, so that a short lookback is enough to warm up.
MIN_CANDLES: Final = 100


def compute_window_size(*lookbacks: int) -> int:
    """Return the number of closed candles of a window for a lookback, at least 100.

    Args:
        lookbacks: Numbers of candles that the strategy's signal and an order's size need.
    """
    return max(MIN_CANDLES, *lookbacks)
