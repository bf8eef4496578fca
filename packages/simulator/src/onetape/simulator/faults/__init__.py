"""Faults on demand: what fires, where, how often, and a log to repeat a run from."""
