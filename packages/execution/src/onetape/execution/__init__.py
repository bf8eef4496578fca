"""What can happen to orders and positions, as pure functions: no clock, no file, no network."""
