"""Fill rules, accounting and metrics, the same for backtest and paper."""
