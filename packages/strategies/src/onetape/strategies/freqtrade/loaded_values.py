"""Check that a loaded strategy class has the values that were read from its text.

Settings are read without running the file; code that changes them would otherwise go unnoticed.
"""

from typing import Any, Final

from onetape.core.errors import ConfigurationError
from onetape.strategies.freqtrade.interface import IStrategy
from onetape.strategies.freqtrade.interface_names import METHODS, SETTINGS, SWITCHED
from onetape.strategies.freqtrade.source import FreqtradeClass
from onetape.strategies.freqtrade.stated_settings import read_protection_list

_MISSING: Final = object()


def check_loaded(found: FreqtradeClass, made: object) -> None:
    """Refuse a strategy whose instance differs from the values read from the file's text.

    Args:
        found: Class as read from the text of its file.
        made: An instance of the class.

    Raises:
        ConfigurationError: names each setting and method that differs.
    """
    values = [name for name in (*SETTINGS, *SWITCHED) if _is_different(found, name, made)]
    methods = [name for name in METHODS if _is_other_method(found, name, made)]
    if values or methods:
        names = ", ".join(values + methods)
        raise ConfigurationError(
            f"{found.place(found.line)}: class {found.name} has another {names} "
            "once it is loaded than its text states; write it as a plain value, or as a method, "
            "into the body of the class (docs/freqtrade.md)"
        )


def _is_different(found: FreqtradeClass, name: str, made: object) -> bool:
    is_stated = name in found.attributes or (name == "protections" and name in found.methods)
    real = getattr(made, name, _MISSING)
    if not is_stated:
        # The base class has values of its own for some.
        return real is not _MISSING and real is not getattr(IStrategy, name, _MISSING)
    try:
        stated = (
            read_protection_list(found) if name == "protections" else found.read_value(name, None)
        )
    except ConfigurationError:
        # Not a plain value: if a setting needs it, the file has been refused already.
        return False
    return real is _MISSING or _convert_tuples_to_lists(real) != stated


def _is_other_method(found: FreqtradeClass, name: str, made: object) -> bool:
    """Return whether a method differs from that of the text, which was empty or switched off."""
    real = getattr(made, name, None)
    read = found.methods.get(name)
    if real is None or read is None:
        return (real is None) != (read is None)
    lines = {read.lineno, *(one.lineno for one in read.decorator_list)}
    return getattr(getattr(real, "__code__", None), "co_firstlineno", 0) not in lines


def _convert_tuples_to_lists(value: Any) -> Any:
    """Return a value with lists in place of tuples, as `read_value` returns it."""
    if isinstance(value, (list, tuple)):
        return [_convert_tuples_to_lists(one) for one in value]  # pyright: ignore[reportUnknownVariableType] - a user's
    if isinstance(value, dict):
        return {key: _convert_tuples_to_lists(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value
