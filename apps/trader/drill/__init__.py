"""Tries a configuration with live orders against the simulator, while things go wrong."""
