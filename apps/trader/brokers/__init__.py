"""The exchanges that a trader can send its orders to."""
