"""Read a plain command line without Typer, whose import takes a tenth of a short run.

A command line is plain if it has only flags of the program with a text, a number or no value:
`--name value`, `-n value`, `--switch`. Any other command line is read, or refused, by Typer: help,
commands, `--name=value`, several short flags in one, values that begin with a dash or have a wrong
type. A test compares both readers on random command lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from onetape.cli.flag_values import is_repeated, list_flag_settings, make_parameter_name


class PlainFlag(msgspec.Struct, frozen=True):
    """A flag that can be read without Typer, and the parameter that gets its value."""

    parameter: str
    """Name of the parameter that gets the value."""
    kind: type[Any] = str
    """str, int or float; list: a text that may be repeated; bool: a switch."""
    is_on: bool = True
    """Value that a switch sets."""


def collect_plain_flags(
    model: type[msgspec.Struct], program_flags: Mapping[str, PlainFlag]
) -> dict[str, PlainFlag]:
    """Return all flags of a program by their text, long and short.

    Args:
        model: Struct of the program's settings.
        program_flags: Flags of the program that are not settings, by their text.
    """
    flags = dict(program_flags)
    for declared in list_flag_settings(model):
        on, _, off = declared.setting.flag.partition("/")
        name = make_parameter_name(declared)
        kind = declared.kind if declared.kind in (bool, int, float) else str
        if is_repeated(declared):
            kind = list
        for flag in (on, *declared.setting.short):
            flags[flag] = PlainFlag(name, kind)
        if off:
            flags[off] = PlainFlag(name, bool, is_on=False)
    return flags


def read_plain(arguments: Iterable[str], flags: Mapping[str, PlainFlag]) -> dict[str, Any] | None:
    """Return the values of a command line by parameter name; None if it is not plain.

    A parameter whose flag is not given has the value None.

    Args:
        arguments: The command line, without the name of the program.
        flags: Flags as `collect_plain_flags` returns them.
    """
    values: dict[str, Any] = {flag.parameter: None for flag in flags.values()}
    rest = iter(arguments)
    for argument in rest:
        flag = flags.get(argument)
        if flag is None:
            return None
        if flag.kind is bool:
            values[flag.parameter] = flag.is_on
            continue
        text = next(rest, "-")
        if text.startswith("-"):
            return None
        try:
            value = text if flag.kind in (str, list) else flag.kind(text)
        except ValueError:
            return None
        values[flag.parameter] = _append_value(values[flag.parameter], value, flag)
    return values


def _append_value(before: Sequence[str] | None, value: Any, flag: PlainFlag) -> Any:
    return [*(before or ()), value] if flag.kind is list else value
