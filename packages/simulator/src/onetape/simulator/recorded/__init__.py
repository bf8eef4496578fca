"""Recorded data: candles to replay as a market, replies and messages to play."""
