"""Parameters of a strategy: type, default, bounds and help, declared where the field stands."""

import dataclasses
import functools
import math
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import suggest_name

#: Types of the value of a parameter.
ParameterValue = int | float | str | bool

_Value = TypeVar("_Value", int, float, str, bool)
_METADATA_KEY = "onetape"
_KINDS: dict[type, str] = {int: "a whole number", float: "a number", str: "text", bool: "yes or no"}
_YES_NO = {"true": True, "yes": True, "false": False, "no": False}


class Bounds(Struct, frozen=True):
    """Arguments of `parameter` for one field of a strategy."""

    ge: float | None
    """Smallest value allowed."""
    le: float | None
    """Largest value allowed."""
    choices: tuple[ParameterValue, ...]
    """Allowed values; empty: any value within the bounds."""
    help: str
    """Description of the parameter, one sentence for command line and docs."""


class ParameterInfo(Struct, frozen=True):
    """One parameter of a strategy, as help texts, a search and a report need it."""

    name: str
    """Name of the parameter."""
    type: type[Any]
    """Type of the parameter: int, float, str or bool."""
    default: ParameterValue
    """Default value of the parameter."""
    ge: float | None
    """Smallest value allowed; None: no bound."""
    le: float | None
    """Largest value allowed; None: no bound."""
    choices: tuple[ParameterValue, ...]
    """Allowed values; empty: any value within the bounds."""
    help: str
    """Description of the parameter in one sentence."""

    @property
    def allowed(self) -> str:
        """Return the allowed values as text, such as `2 to 500` or `below, cross_up`."""
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        if self.ge is not None and self.le is not None:
            return f"{self.ge:g} to {self.le:g}"
        if self.ge is not None:
            return f"{self.ge:g} or more"
        return f"{self.le:g} or less" if self.le is not None else _KINDS[self.type]


def parameter(
    default: _Value,
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[_Value] = (),
    help: str = "",  # noqa: A002 - the word of Typer and argparse
) -> _Value:
    """Declare a parameter in the body of a strategy's class.

    Args:
        default: Value where none is given; the field's annotation is its type.
        ge: Smallest value allowed.
        le: Largest value allowed.
        choices: The values allowed, where they are few.
        help: One sentence for the command line and the docs.
    """
    bounds = Bounds(ge, le, tuple(choices), help)
    # Typed as its value, as dataclasses.field is: the class decorator turns it into a field.
    return dataclasses.field(default=default, metadata={_METADATA_KEY: bounds})


def collect_parameters(strategy: Any) -> tuple[ParameterInfo, ...]:
    """Return the parameters of a strategy (an instance or its class), in the order written.

    Raises:
        ConfigurationError: a field has no default, or a type other than int, float, str and bool.
    """
    return _collect_parameters_of_class(strategy if isinstance(strategy, type) else type(strategy))


# Cached, because an optimization makes a strategy for each combination of parameters.
@functools.lru_cache(maxsize=16)
def _collect_parameters_of_class(cls: type) -> tuple[ParameterInfo, ...]:
    types = typing.get_type_hints(cls)
    return tuple(_make_info(cls, field, types[field.name]) for field in dataclasses.fields(cls))


def check_parameters(strategy: Any) -> None:
    """Check every parameter of a strategy against its declaration.

    Raises:
        UsageError: a value is out of bounds or of the wrong type; the text names the strategy, the
            parameter, what is allowed and what was found.
    """
    for info in collect_parameters(strategy):
        _check_parameter(strategy.name, info, getattr(strategy, info.name))


def check_under(strategy: Any, low: str, high: str) -> None:
    """Check that one number is under another; call it in `__post_init__`, after the base's.

    Args:
        strategy: The strategy.
        low: Name of the parameter with the lower number, such as `fast`.
        high: Name of the parameter with the higher number, such as `slow`.

    Raises:
        UsageError: `low` is not under `high`.
    """
    low_value, high_value = getattr(strategy, low), getattr(strategy, high)
    if low_value >= high_value:
        raise UsageError(
            f"strategy {strategy.name}: {low} must be under {high}, found {low} {low_value:g} and "
            f"{high} {high_value:g}",
            setting=(make_setting_key(low), make_setting_key(high)),
        )


def convert_parameters(cls: Any, given: typing.Mapping[str, object]) -> dict[str, Any]:
    """Return parameters with their declared types: text such as "14" is converted.

    Args:
        cls: The strategy's class.
        given: Values by name of the parameter.

    Raises:
        UsageError: the strategy has no such parameter, or the text is no value of its type.
    """
    known = {info.name: info for info in collect_parameters(cls)}
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise UsageError(
                f"strategy {cls.name} has no parameter {name!r}{suggest_name(name, known)} "
                f"(it has: {names})",
                setting=make_setting_key(name),
            )
    return {name: _convert_value(cls.name, known[name], value) for name, value in given.items()}


def _make_info(cls: type, field: "dataclasses.Field[Any]", kind: Any) -> ParameterInfo:
    if kind not in _KINDS:
        raise ConfigurationError(
            f"strategy class {cls.__name__}: parameter {field.name} has type {kind!r}; "
            "use int, float, str or bool"
        )
    if field.default is dataclasses.MISSING:
        raise ConfigurationError(
            f"strategy class {cls.__name__}: parameter {field.name} has no default; "
            f"write {field.name}: {kind.__name__} = parameter(...)"
        )
    bounds = field.metadata.get(_METADATA_KEY, Bounds(None, None, (), ""))
    return ParameterInfo(
        field.name, kind, field.default, bounds.ge, bounds.le, bounds.choices, bounds.help
    )


def _check_parameter(strategy: str, info: ParameterInfo, value: object) -> None:
    """Raise `UsageError` if a value has the wrong type or is not allowed."""
    fits = isinstance(value, (int, float) if info.type is float else info.type)
    if info.type is not bool and isinstance(value, bool):
        fits = False
    if not fits:
        raise _make_invalid_value_error(strategy, info, value, _KINDS[info.type])
    if info.choices and value not in info.choices:
        hint = suggest_name(str(value), [str(choice) for choice in info.choices])
        raise _make_invalid_value_error(strategy, info, value, f"one of {info.allowed}", hint)
    if isinstance(value, (int, float)) and not _is_within_bounds(info, value):
        raise _make_invalid_value_error(strategy, info, value, info.allowed)


def _is_within_bounds(info: ParameterInfo, value: float) -> bool:
    if math.isnan(value):
        return False
    return (info.ge is None or value >= info.ge) and (info.le is None or value <= info.le)


def _convert_value(strategy: str, info: ParameterInfo, value: object) -> object:
    if not isinstance(value, str) or info.type is str:
        is_whole = info.type is int and isinstance(value, float) and value.is_integer()
        return int(typing.cast("float", value)) if is_whole else value
    text = value.strip()
    if info.type is bool:
        if text.lower() in _YES_NO:
            return _YES_NO[text.lower()]
        raise _make_invalid_value_error(strategy, info, value, _KINDS[bool])
    try:
        return info.type(text)
    except ValueError as error:
        raise _make_invalid_value_error(strategy, info, value, _KINDS[info.type]) from error


def _make_invalid_value_error(
    strategy: str, info: ParameterInfo, value: object, allowed: str, hint: str = ""
) -> UsageError:
    return UsageError(
        f"strategy {strategy}: {info.name} must be {allowed}, found {value!r}{hint}",
        setting=make_setting_key(info.name),
    )


def make_setting_key(name: str) -> str:
    """Return the dotted key of a strategy's parameter among the settings of a program."""
    return f"strategy.parameters.{name}"
