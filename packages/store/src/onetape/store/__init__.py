"""The candle store: one SQLite file with candles, tickers, accounts, decisions and orders."""
