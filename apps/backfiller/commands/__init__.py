"""The backfiller's subcommands, one in each file; main.py registers them.

The functions are typer commands: their docstrings and the helps of their options are printed by
`--help`. They print their result as text, or as one JSON document with --json.
"""
