"""Faults on demand: their kinds, places and counts, and a log from which a run can be repeated."""
