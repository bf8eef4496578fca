"""Statistics of a chosen strategy: the part of chance in the best result. Pure functions."""
