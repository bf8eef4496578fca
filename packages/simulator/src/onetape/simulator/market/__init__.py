"""The invented market: prices, trades and candles as functions of seed, symbol and time."""
