"""Backtests as a library: run a strategy over stored candles, check, explain, save, optimize."""
