"""Faults that the simulator makes on request: their kinds, the choice of those that fire, a log.

A fault (`model.Fault`) is a declared error with a time and a count. A request, handshake, command
or event is a `registry.Call`; each fault that acts on the call now becomes a `registry.Firing`.
"""
