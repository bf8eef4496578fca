"""What an account really traded, compared with the backtest of the same candles."""
