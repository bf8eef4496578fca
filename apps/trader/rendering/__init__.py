"""Text of the subcommands of the trader."""
