"""The rules of orders, positions, stops and limits as pure functions: no clock, file or network."""
