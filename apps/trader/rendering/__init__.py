"""Text and JSON documents that the trader's subcommands print."""
