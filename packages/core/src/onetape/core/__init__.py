"""Candle and order types, timeframes, clock, errors, steps and rounding."""
