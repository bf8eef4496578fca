"""Statistics of a chosen strategy: what the best of many trials is worth. Pure functions."""
