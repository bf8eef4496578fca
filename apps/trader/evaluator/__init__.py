"""Evaluates a strategy in a separate process, so that its code cannot block the trader."""
