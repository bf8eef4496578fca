"""Remote monitoring of a running trader: JSON log, alerts and heartbeat.

Each part is a context manager in a file of its own, with threads that never delay trading;
`monitored_run.py` combines them.
"""
