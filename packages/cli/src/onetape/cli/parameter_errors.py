"""Where a parameter was given that only the user's own file could tell to be wrong.

Settings are looked at before a user's file runs, and it runs once: its errors come later.
"""

import re
from collections.abc import Callable, Mapping

from onetape.cli.settings import StrategySettings
from onetape.core.errors import OnetapeError, UsageError

#: Takes settings of a strategy, and raises where they cannot be used.
Check = Callable[[StrategySettings], None]
_NAMED = re.compile(r"^strategy \S+ has no parameter '(.+?)'|^strategy \S+: (\w+) must ")


def placed(
    error: UsageError, given: Mapping[str, str], load_again: Callable[[Check], object]
) -> OnetapeError:
    """Return the error of a parameter with its place: the line of a file, the variable, the flag.

    Args:
        error: What the run ended with.
        given: Parameters of the run, as text by name.
        load_again: Loads the settings with a check, and raises as `load_settings` does.

    Returns:
        The error as it is, where it is not about a parameter that was given.
    """
    name = _parameter_in(str(error), given)
    if name is None:
        return error
    found = given[name]

    def check(other: StrategySettings) -> None:
        if other.parameters.get(name) == found:
            raise UsageError(str(error))

    try:
        load_again(check)
    except OnetapeError as with_place:
        return with_place
    return error


def _parameter_in(text: str, given: Mapping[str, str]) -> str | None:
    """Return the parameter that a text is about; of two that do not fit, one that was given."""
    named = _NAMED.search(text)
    if named is None:
        return None
    words = [named[1] or named[2], *re.findall(r"\w+", text[named.end() :])]
    return next((word for word in words if word in given), None)
