"""The tape: candles, tickers, orders and trades in one SQLite file."""
