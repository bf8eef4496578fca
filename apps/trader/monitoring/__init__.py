"""Remote monitoring of a running trader: JSON log, alerts and heartbeat.

Each part is a context manager in a separate file, with threads that never delay trading;
`monitored_run.py` combines them.
"""
