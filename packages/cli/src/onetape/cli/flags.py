"""Make the flags of a Typer command, and their help texts, from the declared settings."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

import msgspec
import typer

from onetape.cli.flag_values import (
    is_repeated,
    list_flag_settings,
    list_number_settings,
    make_parameter_name,
)
from onetape.cli.setting_sources import TABLE
from onetape.core.setting import DeclaredSetting, Setting

F = TypeVar("F", bound=Callable[..., None])
#: Types that Typer converts; values of other types stay text until the settings are loaded.
_TYPER_KINDS: Final = (bool, int, float, Path)


def takes_settings(
    model: type[msgspec.Struct], *, after: Mapping[str, str] = MappingProxyType({})
) -> Callable[[F], F]:
    """Return a decorator that adds a flag for each setting of a program to a Typer command.

    The flags have the order of the declarations.

    Args:
        model: Struct of the program's settings.
        after: Position of the command's other parameters among the flags in the help: for the name
            of a parameter, the flag before it. Parameters that are not listed come last.

    Returns:
        A decorator of a function that takes the flags as `**flags`, by parameter name.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        setting_flags = {
            name: parameter
            for name, parameter in signature.parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        }
        positional = [
            parameter
            for parameter in setting_flags.values()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        ]
        parameters = {parameter.name: parameter for parameter in positional}
        for declared in list_flag_settings(model):
            parameter = _make_parameter(model, declared)
            parameters[parameter.name] = parameter
            parameters.update(_find_following(setting_flags, after, declared.flag, parameters))
        parameters.update(setting_flags)
        # Typer reads the first for the order and the second for the types.
        function.__signature__ = signature.replace(parameters=[*parameters.values()])
        notes = {name: parameter.annotation for name, parameter in parameters.items()}
        function.__annotations__ = {**notes, "return": None}
        return function

    return decorate


def _find_following(
    setting_flags: Mapping[str, inspect.Parameter],
    after: Mapping[str, str],
    flag: str,
    known: Mapping[str, inspect.Parameter],
) -> dict[str, inspect.Parameter]:
    """Return the parameters that the command itself declares and that follow `flag` in the help."""
    names = [name for name, place in after.items() if place == flag and name not in known]
    return {name: setting_flags[name] for name in names}


def _make_parameter(model: type[msgspec.Struct], declared: DeclaredSetting) -> inspect.Parameter:
    """Return the parameter of a command for a setting, with its flag as the default."""
    base = declared.kind if declared.kind in _TYPER_KINDS else str
    if is_repeated(declared):
        base = list[str]
    return inspect.Parameter(
        make_parameter_name(declared),
        inspect.Parameter.KEYWORD_ONLY,
        # As the default and not in `Annotated`, which would take a millisecond for all flags.
        default=make_option(declared.setting, format_flag_help(model, declared), is_default=True),
        annotation=base | None,
    )


def make_option(
    setting: Setting, text: str = "", *, is_several: bool = False, is_default: bool = False
) -> Any:
    """Return the `typer.Option` of a setting's flag.

    Args:
        setting: Declaration of the setting.
        text: Help text; empty: as declared.
        is_several: Whether the flag may be repeated.
        is_default: Whether the option is the default of the parameter, instead of a part of
            `Annotated`.
    """
    text = text or append_default(setting.help, setting.empty)
    # Typer lists short forms first, whatever the order here.
    names: list[Any] = [None] if is_default else []
    return typer.Option(
        *names,
        setting.flag,
        *setting.short,
        metavar=setting.metavar or None,
        help=describe_repeatable(text) if is_several else text,
    )


def format_flag_help(model: type[msgspec.Struct], declared: DeclaredSetting) -> str:
    """Return the help text of a setting's flag, with its default."""
    numbers = [
        f"{other.name}={other.setting.example}" for other in list_number_settings(model, declared)
    ]
    text = declared.setting.help.replace("{numbers}", ", ".join(numbers))
    text = text.replace("{example}", declared.setting.example)
    is_several = is_repeated(declared) and not declared.setting.once and declared.kind != TABLE
    return append_default(
        describe_repeatable(text) if is_several else text, format_default(declared)
    )


def describe_repeatable(text: str) -> str:
    """Return the help text of a flag, with the note that the flag may be repeated."""
    return f"{text.removesuffix('.')}; repeat for several."


def format_default(declared: DeclaredSetting) -> str:
    """Return the default of a setting as text.

    Without a default, or for a switch that is off, this is `empty` of the declaration.
    """
    default: object = declared.default
    if declared.setting.file_default is not None:
        return f"{declared.setting.file_default:g} in config/*.yaml, otherwise {default:g}"
    if default is None or default is False or default in ([], {}):
        return declared.setting.empty
    if default is True:
        return "yes"
    if isinstance(default, list):
        return ", ".join(cast("list[str]", default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def append_default(text: str, default: str) -> str:
    """Return the help text of a flag with its default; unchanged if `default` is empty."""
    return f"{text}  [default: {default}]" if default else text
