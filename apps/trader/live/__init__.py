"""Real orders of one symbol: sending, resolving, exits, protection, and the account's state."""
