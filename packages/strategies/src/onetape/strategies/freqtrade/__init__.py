"""Strategies written for freqtrade: a file with `class X(IStrategy)` runs as it is.

The file is read before anything of it runs: what it states of stops, targets and the timeframe
becomes settings (stated_settings.py), and what has no equivalent here is refused with its line
(unsupported_features.py). The class then runs as a `Strategy` (adapter.py) on our own small
implementation of the interface (interface.py, parameters.py, informative.py, qtpylib.py,
import_modules.py).
"""
