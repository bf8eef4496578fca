"""What a person far away notices a trader by: JSON log, alerts and heartbeat."""
