"""Statistics of a chosen strategy: how much of the best result is chance. Pure functions."""
