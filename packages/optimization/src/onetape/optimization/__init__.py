"""Optimization of parameters, walk-forward, and statistics that judge the winner."""
