"""Flags as they were given, to be typed again."""

from collections.abc import Mapping


def backtest_flags(given: Mapping[str, object]) -> list[str]:
    """Return the words of a command line; flags that were not given are left out.

    Args:
        given: Values by the flags' names without dashes; None and False: not given.
    """
    words: list[str] = []
    for name, value in given.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words
