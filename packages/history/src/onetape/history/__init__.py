"""Closed candles from REST into the tape, and the ledger of what is missing."""
