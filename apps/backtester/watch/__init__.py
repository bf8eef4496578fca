"""`backtester --watch`: on each save the strategy runs again, and the open report reloads."""
