"""Changes of orders and positions as pure functions: no clock, no file, no network."""
