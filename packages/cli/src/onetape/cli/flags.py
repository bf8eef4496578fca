"""Flags of a program, made from its declared settings."""

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
from onetape.core.setting import Declared, Setting

F = TypeVar("F", bound=Callable[..., None])
#: Types that Typer converts; values of others travel as text.
_TYPER_KINDS: Final = (bool, int, float, Path)


def takes_settings(
    model: type[msgspec.Struct], *, after: Mapping[str, str] = MappingProxyType({})
) -> Callable[[F], F]:
    """Give a command a flag for each setting of a program, in the order of the declarations.

    Args:
        model: Struct of the program's settings.
        after: Own parameters of the command that stand in the middle of the help: the name of each,
            and the flag that stands before it. Other own parameters come last.

    Returns:
        A decorator of a function that takes the flags as `**flags`, by parameter name.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = {
            name: parameter
            for name, parameter in signature.parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        }
        positional = [one for one in own.values() if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        parameters = {parameter.name: parameter for parameter in positional}
        for one in list_flag_settings(model):
            parameter = _make_parameter(model, one)
            parameters[parameter.name] = parameter
            parameters.update(_find_following(own, after, one.flag, parameters))
        parameters.update(own)
        # Typer reads the first for the order and the second for the types.
        function.__signature__ = signature.replace(parameters=[*parameters.values()])
        notes = {name: parameter.annotation for name, parameter in parameters.items()}
        function.__annotations__ = {**notes, "return": None}
        return function

    return decorate


def _find_following(
    own: Mapping[str, inspect.Parameter],
    after: Mapping[str, str],
    flag: str,
    known: Mapping[str, inspect.Parameter],
) -> dict[str, inspect.Parameter]:
    """Return a command's own parameters that stand after a flag."""
    names = [name for name, place in after.items() if place == flag and name not in known]
    return {name: own[name] for name in names}


def _make_parameter(model: type[msgspec.Struct], one: Declared) -> inspect.Parameter:
    base = one.kind if one.kind in _TYPER_KINDS else str
    if is_repeated(one):
        base = list[str]
    return inspect.Parameter(
        make_parameter_name(one),
        inspect.Parameter.KEYWORD_ONLY,
        # As the default, not in `Annotated`: an alias for each flag takes a millisecond in all.
        default=make_option(one.setting, format_flag_help(model, one), is_default=True),
        annotation=base | None,
    )


def make_option(
    setting: Setting, text: str = "", *, is_several: bool = False, is_default: bool = False
) -> Any:
    """Return Typer's option of a setting, for a command that takes the setting as a parameter.

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


def format_flag_help(model: type[msgspec.Struct], one: Declared) -> str:
    """Return the help of a setting's flag, with its default."""
    numbers = [
        f"{other.name}={other.setting.example}" for other in list_number_settings(model, one)
    ]
    text = one.setting.help.replace("{numbers}", ", ".join(numbers))
    text = text.replace("{example}", one.setting.example)
    is_several = is_repeated(one) and not one.setting.once and one.kind != TABLE
    return append_default(describe_repeatable(text) if is_several else text, format_default(one))


def describe_repeatable(text: str) -> str:
    """Return the help of a flag that may be repeated."""
    return f"{text.removesuffix('.')}; repeat for several."


def format_default(one: Declared) -> str:
    """Return the default of a setting as text; empty without one, or for a switch that is off."""
    default: object = one.default
    if default is None or default is False or default in ([], {}):
        return one.setting.empty
    if default is True:
        return "yes"
    if isinstance(default, list):
        return ", ".join(cast("list[str]", default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def append_default(text: str, default: str) -> str:
    """Return the help of a flag with its default, if any."""
    return f"{text}  [default: {default}]" if default else text
