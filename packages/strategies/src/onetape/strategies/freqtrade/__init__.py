"""Strategies written for freqtrade: a file with `class X(IStrategy)` runs as it is.

The text of the file is read before it runs: its stops, targets and timeframe become settings
(stated_settings.py), and features without an equivalent here are refused with their line
(unsupported_features.py). The class then runs as a `Strategy` (adapter.py). Its imports of
freqtrade get Onetape's small implementation of the interface (interface.py, parameters.py,
informative.py, qtpylib.py, import_modules.py).
"""
