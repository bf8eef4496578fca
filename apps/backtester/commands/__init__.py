"""The backtester's subcommands, one a file; main.py registers them."""
