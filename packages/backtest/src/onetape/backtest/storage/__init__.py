"""Saved runs: one folder for each, written whole or not at all."""
