"""Fetches candle history over REST into SQLite."""
