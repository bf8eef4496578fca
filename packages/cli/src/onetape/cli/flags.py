"""Flags of a program, made from its declared settings."""

import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast, get_origin

import msgspec
import typer

from onetape.cli.setting_sources import TABLE
from onetape.core.errors import UsageError
from onetape.core.setting import Declared, Setting, Tree, declared_settings
from onetape.core.words import did_you_mean

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
        for one in _with_flags(model):
            parameter = _parameter(model, one)
            parameters[parameter.name] = parameter
            parameters.update(_following(own, after, one.flag, parameters))
        parameters.update(own)
        # Typer reads the first for the order and the second for the types.
        function.__signature__ = signature.replace(parameters=[*parameters.values()])
        notes = {name: parameter.annotation for name, parameter in parameters.items()}
        function.__annotations__ = {**notes, "return": None}
        return function

    return decorate


def _following(
    own: Mapping[str, inspect.Parameter],
    after: Mapping[str, str],
    flag: str,
    known: Mapping[str, inspect.Parameter],
) -> dict[str, inspect.Parameter]:
    """Return a command's own parameters that stand after a flag."""
    names = [name for name, place in after.items() if place == flag and name not in known]
    return {name: own[name] for name in names}


def _with_flags(model: type[msgspec.Struct]) -> list[Declared]:
    return [one for one in declared_settings(model).values() if one.setting.flag]


def _parameter(model: type[msgspec.Struct], one: Declared) -> inspect.Parameter:
    base = one.kind if one.kind in _TYPER_KINDS else str
    if is_repeated(one):
        base = list[str]
    return inspect.Parameter(
        parameter_name(one),
        inspect.Parameter.KEYWORD_ONLY,
        # As the default, not in `Annotated`: an alias for each flag takes a millisecond in all.
        default=option(one.setting, flag_help(model, one), is_default=True),
        annotation=base | None,
    )


def option(
    setting: Setting, text: str = "", *, is_several: bool = False, is_default: bool = False
) -> Any:
    """Return Typer's option of a setting, for a command that takes it as a parameter of its own.

    Args:
        setting: Its declaration.
        text: Its help; empty: as declared.
        is_several: Whether the flag may be repeated.
        is_default: Whether it is the default of the parameter, instead of a part of `Annotated`.
    """
    text = text or with_default(setting.help, setting.empty)
    # Typer lists short forms first, whatever the order here.
    names: list[Any] = [None] if is_default else []
    return typer.Option(
        *names,
        setting.flag,
        *setting.short,
        metavar=setting.metavar or None,
        help=several(text) if is_several else text,
    )


def parameter_name(one: Declared) -> str:
    """Return the name under which a command gets the value of a setting's flag."""
    name = one.flag.removeprefix("--").replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def is_repeated(one: Declared) -> bool:
    """Return whether the flag of a setting is read as a list."""
    setting = one.setting
    return get_origin(one.kind) in (list, dict) or setting.is_joined or bool(setting.once)


def flag_help(model: type[msgspec.Struct], one: Declared) -> str:
    """Return the help of a setting's flag, with its default."""
    numbers = [f"{other.name}={other.setting.example}" for other in numbers_of(model, one)]
    text = one.setting.help.replace("{numbers}", ", ".join(numbers))
    text = text.replace("{example}", one.setting.example)
    is_several = is_repeated(one) and not one.setting.once and one.kind != TABLE
    return with_default(several(text) if is_several else text, default_text(one))


def several(text: str) -> str:
    """Return the help of a flag that may be repeated."""
    return f"{text.removesuffix('.')}; repeat for several."


def numbers_of(model: type[msgspec.Struct], one: Declared) -> list[Declared]:
    """Return the settings whose numbers the flag of this one gives, too."""
    section = one.key.removesuffix(one.name)
    return [
        other
        for other in declared_settings(model).values()
        if other.setting.number_of == one.name and other.key == section + other.name
    ]


def default_text(one: Declared) -> str:
    """Return the default of a setting in words; empty where it has none, or is a plain no."""
    default: object = one.default
    if default is None or default is False or default in ([], {}):
        return one.setting.empty
    if default is True:
        return "yes"
    if isinstance(default, list):
        return ", ".join(cast("list[str]", default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def with_default(text: str, default: str) -> str:
    """Return the help of a flag with its default, where it has one."""
    return f"{text}  [default: {default}]" if default else text


def flag_values(model: type[msgspec.Struct], given: Mapping[str, Any]) -> Tree:
    """Return the values that flags give, by dotted key, as `load_settings` takes them.

    Args:
        model: Struct of the program's settings.
        given: Values of the flags by parameter name, as Typer read them; None: not given.

    Raises:
        UsageError: a flag is not written as it has to be, or is given too often.
    """
    values: Tree = {}
    for one in _with_flags(model):
        value = given.get(parameter_name(one))
        if value is None or value == [] or value == ():
            continue
        numbers = numbers_of(model, one)
        if numbers:
            values.update(_kind_and_number(one, numbers, value))
        else:
            values[one.key] = _value(one, value)
    return values


def _value(one: Declared, value: Any) -> Any:
    if not is_repeated(one):
        return value
    texts: Sequence[str] = value
    if one.setting.once:
        return _only(one, texts)
    if one.kind == dict[str, str]:
        return _named_values(one.flag, texts)
    if get_origin(one.kind) is list:
        return list(texts)
    # An empty one of several makes all of it empty, which is refused. As one text, a table
    # replaces that of a file rather than add to it.
    return ",".join(texts) if all(text.strip() for text in texts) else ""


def _only(one: Declared, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise UsageError(
            f"{one.flag} is given {len(values)} times ({', '.join(values)}), {one.setting.once}"
        )
    return values[0]


def _named_values(flag: str, given: Sequence[str]) -> dict[str, str]:
    """Return the values of `--param name=value` by name.

    Raises:
        UsageError: one is not written as name=value, or a name is given twice.
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


def _kind_and_number(one: Declared, numbers: Sequence[Declared], given: str) -> dict[str, str]:
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
            f"its number: {forms}{did_you_mean(name, keys)}"
        )
    return {one.key: name, keys[name]: value} if equals else {one.key: name}
