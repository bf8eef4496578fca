"""Closed candles from REST into the store, and the ledger of gaps."""
