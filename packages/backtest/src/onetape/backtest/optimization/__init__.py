"""Optimization: many combinations of parameters, ranked, beside an out-of-sample part."""
