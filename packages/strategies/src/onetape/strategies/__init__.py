"""RSI, MACD, SMA cross and the interface of your own."""
