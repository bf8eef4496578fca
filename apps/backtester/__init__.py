"""Replays strategies over stored candles."""
