"""WebSocketManager: live candles and tickers through CCXT Pro."""
