"""Fetch closed candles over REST into the store, and prove which candles an exchange lacks.

Backfiller and trader use it, so that both store candles by the same rules.
"""
