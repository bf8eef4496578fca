"""Rendering of results: text for a terminal, documents for `--json`, progress."""
