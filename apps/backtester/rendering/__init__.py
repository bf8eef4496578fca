"""Rendering of results: text for a terminal, JSON documents, progress."""
