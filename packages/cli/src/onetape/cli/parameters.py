"""`--param name=value`, as often as wanted."""

from collections.abc import Sequence

from onetape.core.errors import UsageError


def parse_parameters(given: Sequence[str] | None) -> dict[str, str]:
    """Return the values by name.

    Raises:
        UsageError: one is not written as name=value, or a name is given twice.
    """
    parsed: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--param {text!r} was not understood; write name=value, as period=10")
        if name.strip() in parsed:
            raise UsageError(
                f"--param {name.strip()} is given twice, as {parsed[name.strip()]} and as "
                f"{value.strip()}; leave one out"
            )
        parsed[name.strip()] = value.strip()
    return parsed


def parse_sizing(given: str | None) -> dict[str, str]:
    """Return the settings of `--sizing all_in` or `--sizing equity_share=0.5`."""
    if given is None:
        return {}
    name, equals, value = (part.strip() for part in given.partition("="))
    return {"sizing": name, name: value} if equals else {"sizing": name}
