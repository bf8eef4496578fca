"""Runs a strategy on live candles, on paper."""
