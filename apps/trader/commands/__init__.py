"""The subcommands of the trader; all of them read the database and change nothing."""
