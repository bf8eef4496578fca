"""The backtester's subcommands, one in each file; main.py registers them."""
