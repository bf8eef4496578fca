"""freqtrade's parameters of a strategy: IntParameter and the other classes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

#: Types of the values that a parameter of a Onetape strategy may have.
_PLAIN_TYPES = (bool, int, float, str)


class BaseParameter:
    """A parameter: a default, and the values that may be tried."""

    def __init__(
        self,
        *,
        default: Any,
        space: str | None = None,
        optimize: bool = True,
        load: bool = True,
        **options: Any,
    ) -> None:
        """Take the default as the value; the other arguments are stored and have no effect."""
        self.value: Any = default
        self.space, self.optimize, self.load, self.options = space, optimize, load, options


class NumericParameter(BaseParameter):
    """A number between two bounds, both allowed."""

    def __init__(
        self, low: float | Sequence[float], high: float | None = None, *, default: Any, **rest: Any
    ) -> None:
        """Take the bounds as two numbers or as one sequence."""
        bounds = list(low) if isinstance(low, Sequence) else [low, high]
        if len(bounds) != 2 or bounds[1] is None:
            msg = "a parameter needs a lower and an upper bound: IntParameter(10, 50, default=20)"
            raise ValueError(msg)
        self.low, self.high = bounds[0], bounds[1]
        super().__init__(default=default, **rest)


class IntParameter(NumericParameter):
    """A whole number between two bounds."""

    @property
    def range(self) -> Sequence[int]:
        """Return the values that a loop over the parameter takes: the one that is set."""
        return [self.value]


class RealParameter(NumericParameter):
    """A real number between two bounds."""


class DecimalParameter(NumericParameter):
    """A number between two bounds with a number of decimals."""

    def __init__(
        self,
        low: float | Sequence[float],
        high: float | None = None,
        *,
        default: float,
        decimals: int = 3,
        **rest: Any,
    ) -> None:
        """Round the default to the decimals."""
        self.decimals = decimals
        super().__init__(low, high, default=round(default, decimals), **rest)

    @property
    def range(self) -> Sequence[float]:
        """Return the values that a loop over the parameter takes: the one that is set."""
        return [self.value]


class CategoricalParameter(BaseParameter):
    """A parameter with a list of allowed values."""

    def __init__(self, categories: Sequence[Any], *, default: Any = None, **rest: Any) -> None:
        """Take the values; the first one is the default where none is given."""
        self.categories = list(categories)
        super().__init__(default=self.categories[0] if default is None else default, **rest)

    @property
    def range(self) -> Sequence[Any]:
        """Return the values that a loop over the parameter takes: the one that is set."""
        return [self.value]


class BooleanParameter(CategoricalParameter):
    """A parameter that is True or False."""

    def __init__(self, *, default: Any = None, **rest: Any) -> None:
        """Take the default; without one, True."""
        super().__init__([True, False], default=default, **rest)


class AdjustableParameter(Struct, frozen=True):
    """A freqtrade parameter as a parameter of a Onetape strategy."""

    name: str
    default: Any
    low: float | None
    """Smallest value allowed; None: no bound."""
    high: float | None
    """Largest value allowed; None: no bound."""
    choices: tuple[Any, ...]
    """Allowed values; empty: any value within the bounds."""


def collect_class_parameters(cls: type) -> dict[str, BaseParameter]:
    """Return the parameters of a strategy class by name, with the values that the class states.

    `buy_params`, `sell_params` and others of that form replace defaults, as in freqtrade.
    """
    found = {
        name: value
        for name in _collect_attribute_names(cls)
        if isinstance(value := getattr(cls, name), BaseParameter)
    }
    stated = _collect_stated_values(cls)
    return {
        name: _copy_parameter(one, stated.get(name, one.value) if one.load else one.value)
        for name, one in found.items()
    }


def iterate_adjustable_parameters(
    parameters: Mapping[str, BaseParameter],
) -> Iterator[AdjustableParameter]:
    """Yield those parameters whose values are numbers, texts or yes/no of one type."""
    for name, one in parameters.items():
        if isinstance(one, CategoricalParameter):
            kinds: set[type] = {type(value) for value in (*one.categories, one.value)}
            if len(kinds) == 1 and kinds <= set(_PLAIN_TYPES):
                choices = () if kinds == {bool} else tuple(one.categories)
                yield AdjustableParameter(name, one.value, None, None, choices)
        elif isinstance(one, NumericParameter):
            default = one.value if isinstance(one, IntParameter) else float(one.value)
            # As in freqtrade, a stated value is allowed even if it lies outside the bounds.
            low, high = min(one.low, default), max(one.high, default)
            yield AdjustableParameter(name, default, float(low), float(high), ())


def copy_with_value(parameter: BaseParameter, value: Any) -> BaseParameter:
    """Return a copy of a parameter with another value."""
    return _copy_parameter(parameter, value)


def _copy_parameter(parameter: BaseParameter, value: Any) -> BaseParameter:
    copy = object.__new__(type(parameter))
    copy.__dict__.update(parameter.__dict__, value=value)
    return copy


def _collect_attribute_names(cls: type) -> list[str]:
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        names.update(dict.fromkeys(vars(base)))
    return list(names)


def _collect_stated_values(cls: type) -> dict[str, Any]:
    tables = [
        getattr(cls, name) for name in _collect_attribute_names(cls) if name.endswith("_params")
    ]
    values: dict[str, Any] = {}
    for table in tables:
        if isinstance(table, Mapping):
            values.update(table)  # pyright: ignore[reportUnknownArgumentType] - a user's table
    return values
