"""The backtester: backtests over stored candles, optimization of parameters, saved runs."""
