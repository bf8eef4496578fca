"""Values of the flags of a command line, by setting.

Loads no Typer, as most backtests do not: `plain_flags.py`.
"""

import keyword
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

import msgspec

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.core.setting import Declared, Tree, collect_settings


def collect_flag_values(model: type[msgspec.Struct], given: Mapping[str, Any]) -> Tree:
    """Return the values that flags give, by dotted key, as `load_settings` takes them.

    Args:
        model: Struct of the program's settings.
        given: Values of the flags by parameter name, as Typer read them; None: not given.

    Raises:
        UsageError: a flag is not written as it has to be, or is given too often.
    """
    values: Tree = {}
    for one in list_flag_settings(model):
        value = given.get(make_parameter_name(one))
        if value is None or value == [] or value == ():
            continue
        numbers = list_number_settings(model, one)
        if numbers:
            values.update(_parse_kind_and_number(one, numbers, value))
        else:
            values[one.key] = _convert_value(one, value)
    return values


def list_flag_settings(model: type[msgspec.Struct]) -> list[Declared]:
    """Return the settings of a program that a flag gives, in the order of their declarations."""
    return [one for one in collect_settings(model).values() if one.setting.flag]


def make_parameter_name(one: Declared) -> str:
    """Return the name under which a command gets the value of a setting's flag."""
    name = one.flag.removeprefix("--").replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def is_repeated(one: Declared) -> bool:
    """Return whether the flag of a setting is read as a list."""
    setting = one.setting
    return get_origin(one.kind) in (list, dict) or setting.is_joined or bool(setting.once)


def list_number_settings(model: type[msgspec.Struct], one: Declared) -> list[Declared]:
    """Return other settings whose values this setting's flag may also give."""
    section = one.key.removesuffix(one.name)
    return [
        other
        for other in collect_settings(model).values()
        if other.setting.number_of == one.name and other.key == section + other.name
    ]


def _convert_value(one: Declared, value: Any) -> Any:
    if not is_repeated(one):
        return value
    texts: Sequence[str] = value
    if one.setting.once:
        return _get_only_value(one, texts)
    if one.kind == dict[str, str]:
        return _parse_named_values(one.flag, texts)
    if get_origin(one.kind) is list:
        return list(texts)
    # One empty value makes the whole value empty, which is refused. As one text, a table
    # replaces that of a file rather than add to it.
    return ",".join(texts) if all(text.strip() for text in texts) else ""


def _get_only_value(one: Declared, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise UsageError(
            f"{one.flag} is given {len(values)} times ({', '.join(values)}), {one.setting.once}"
        )
    return values[0]


def _parse_named_values(flag: str, given: Sequence[str]) -> dict[str, str]:
    """Return the values of `--param name=value` by name.

    Raises:
        UsageError: a value is not written as name=value, or a name is given twice.
    """
    parsed: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {text!r} was not understood; write name=value, as period=10")
        if name.strip() in parsed:
            raise UsageError(
                f"{flag} {name.strip()} is given twice, as {parsed[name.strip()]} and as "
                f"{value.strip()}; leave one out"
            )
        parsed[name.strip()] = value.strip()
    return parsed


def _parse_kind_and_number(
    one: Declared, numbers: Sequence[Declared], given: str
) -> dict[str, str]:
    """Return the settings of `--sizing all_in` or `--sizing equity_share=0.5`, by key.

    Raises:
        UsageError: there is no such kind, or one that takes no number is given one.
    """
    if not given.strip():
        return {one.key: given}
    name, equals, value = (part.strip() for part in given.partition("="))
    keys = {other.name: other.key for other in numbers}
    plain = [choice for choice in one.choices if choice not in keys]
    if name not in keys and (name not in plain or equals):
        forms = ", ".join(f"{other.name}={other.setting.example}" for other in numbers)
        raise UsageError(
            f"{one.flag} {given!r} was not understood; write {' or '.join(plain)}, or a kind with "
            f"its number: {forms}{suggest_name(name, keys)}"
        )
    return {one.key: name, keys[name]: value} if equals else {one.key: name}
