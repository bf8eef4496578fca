"""Statistics of a chosen strategy: how much of the best trial's result is luck. Pure functions."""
