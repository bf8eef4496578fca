"""Faults on demand: their kinds, places and counts, and a log from which a run can be repeated.

A fault (`model.Fault`) is a declared error with a time and a count. A request, handshake, command
or event is a `registry.Call`; each fault that acts on the call now becomes a `registry.Firing`.
"""
