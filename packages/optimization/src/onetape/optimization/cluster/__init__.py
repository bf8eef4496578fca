"""Evaluate combinations on several computers, by Dask: scheduler, workers and the driver's pool."""
