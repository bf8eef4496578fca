"""`trader report`: what an account really traded, compared with a backtest of the same candles."""
