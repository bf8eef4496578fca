"""The drill: tries a configuration with live orders against the simulator and its faults."""
