"""Remote monitoring of a trader: JSON log, alerts and heartbeat."""
