"""Evaluates a strategy in a process of its own, so that its code cannot hold the trader up."""
