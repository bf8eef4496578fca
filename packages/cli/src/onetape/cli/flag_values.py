"""Turn the flags of a command line into values of settings: `--stop-loss 0.05` by dotted key.

This module does not import Typer, because most backtests do not need it (plain_flags.py).
"""

import keyword
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

import msgspec

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.core.setting import DeclaredSetting, SettingsTree, collect_settings


def collect_flag_values(model: type[msgspec.Struct], given: Mapping[str, Any]) -> SettingsTree:
    """Return the values of the given flags, by dotted key, as `load_settings` takes them.

    Args:
        model: Struct of the program's settings.
        given: Values of the flags by parameter name, as Typer read them; None: not given.

    Raises:
        UsageError: a flag has an invalid form, or is given too often.
    """
    values: SettingsTree = {}
    for declared in list_flag_settings(model):
        value = given.get(make_parameter_name(declared))
        if value is None or value == [] or value == ():
            continue
        numbers = list_number_settings(model, declared)
        if numbers:
            values.update(_parse_kind_and_number(declared, numbers, value))
        else:
            values[declared.key] = _convert_value(declared, value)
    return values


def list_flag_settings(model: type[msgspec.Struct]) -> list[DeclaredSetting]:
    """Return the settings of a program that have a flag, in the order of their declarations."""
    return [declared for declared in collect_settings(model).values() if declared.setting.flag]


def make_parameter_name(declared: DeclaredSetting) -> str:
    """Return the name of the Python parameter of a setting's flag: `stop_loss` of --stop-loss."""
    name = declared.flag.removeprefix("--").replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def is_repeated(declared: DeclaredSetting) -> bool:
    """Return whether the flag of a setting is read as a list."""
    setting = declared.setting
    return get_origin(declared.kind) in (list, dict) or setting.is_joined or bool(setting.once)


def list_number_settings(
    model: type[msgspec.Struct], declared: DeclaredSetting
) -> list[DeclaredSetting]:
    """Return other settings whose values this setting's flag may also give."""
    section = declared.key.removesuffix(declared.name)
    return [
        other
        for other in collect_settings(model).values()
        if other.setting.number_of == declared.name and other.key == section + other.name
    ]


def _convert_value(declared: DeclaredSetting, value: Any) -> Any:
    """Return the value of a flag in the form in which setting sources hold it."""
    if not is_repeated(declared):
        return value
    texts: Sequence[str] = value
    if declared.setting.once:
        return _get_only_value(declared, texts)
    if declared.kind == dict[str, str]:
        return _parse_named_values(declared.flag, texts)
    if get_origin(declared.kind) is list:
        return list(texts)
    # One empty value makes the whole value empty, which is refused. As one text, a table
    # replaces that of a file rather than add to it.
    return ",".join(texts) if all(text.strip() for text in texts) else ""


def _get_only_value(declared: DeclaredSetting, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise UsageError(
            f"{declared.flag} is given {len(values)} times ({', '.join(values)}), "
            f"{declared.setting.once}"
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
    declared: DeclaredSetting, numbers: Sequence[DeclaredSetting], given: str
) -> dict[str, str]:
    """Return the values of `--sizing all_in` or `--sizing equity_share=0.5`, by dotted key.

    Args:
        declared: The setting of the flag, whose choices are the kinds.
        numbers: Settings of the numbers, each named like a kind.
        given: Value of the flag.

    Raises:
        UsageError: there is no such kind, or a kind without a number has one.
    """
    if not given.strip():
        return {declared.key: given}
    name, equals, value = (part.strip() for part in given.partition("="))
    keys = {other.name: other.key for other in numbers}
    plain = [choice for choice in declared.choices if choice not in keys]
    if name not in keys and (name not in plain or equals):
        forms = ", ".join(f"{other.name}={other.setting.example}" for other in numbers)
        raise UsageError(
            f"{declared.flag} {given!r} was not understood; write {' or '.join(plain)}, or a kind "
            f"with its number: {forms}{suggest_name(name, keys)}"
        )
    return {declared.key: name, keys[name]: value} if equals else {declared.key: name}
