"""The candle store: candles, tickers, orders and trades in one SQLite file."""
