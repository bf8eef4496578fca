"""The subcommands of the trader, and what they read from the database.

A file named after a subcommand has its flags; the others compute what several subcommands show.
Commands to a trader, answers and a drill are stored; all other subcommands only read.
"""
