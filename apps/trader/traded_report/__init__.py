"""The real trades of an account, compared with the backtest of the same candles."""
