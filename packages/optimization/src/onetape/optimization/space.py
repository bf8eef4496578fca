"""Search space of an optimization: the values of each parameter, and their combinations.

A grid takes every combination. A random search draws from the same values, or from the bounds that
the strategy declares; its draws are seeded, and a longer search begins with those of a shorter one.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any, Final

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.optimization.search_options import MAX_COMBINATIONS
from onetape.strategies import ParameterInfo, Strategy, collect_parameters
from onetape.strategies.parameters import make_setting_key

#: Values by the parameters' names: one combination.
ParameterSet = dict[str, Any]

#: Number of draws for each requested combination after which the space counts as exhausted.
_DRAWS_FOR_ONE: Final = 100
#: Significant digits of a drawn number, few enough to type it again.
_RANDOM_DIGITS: Final = 4
_YES_NO: Final = {"true": True, "yes": True, "false": False, "no": False}


class ParameterRange(Struct, frozen=True):
    """One parameter: listed values, or all between two bounds."""

    name: str
    """Name of the parameter."""
    values: tuple[Any, ...]
    """Allowed values; empty: any value from `low` to `high`."""
    low: float = 0.0
    """Smallest value, if `values` is empty."""
    high: float = 0.0
    """Largest value, if `values` is empty."""
    is_whole: bool = False
    """Whether values between `low` and `high` are whole numbers."""

    @property
    def is_fixed(self) -> bool:
        """Return whether the parameter has a single value."""
        return len(self.values) == 1

    @property
    def lowest(self) -> Any:
        """Return the lower end of a range without listed values."""
        return int(self.low) if self.is_whole else self.low

    @property
    def highest(self) -> Any:
        """Return the upper end of a range without listed values."""
        return int(self.high) if self.is_whole else self.high

    @property
    def text(self) -> str:
        """Return the values such as `5, 10, 15 ... 50 (10 values)` or `any from 5 to 50`."""
        if not self.values:
            return f"any from {self.low:g} to {self.high:g}"
        texts = [format_parameter_value(value) for value in self.values]
        if len(texts) <= 6:
            return ", ".join(texts)
        return f"{', '.join(texts[:3])} ... {texts[-1]} ({len(texts)} values)"

    def draw_value(self, random: Random) -> Any:
        """Return one value of the range, drawn at random."""
        if self.values:
            return random.choice(self.values)
        if self.is_whole:
            return random.randint(int(self.low), int(self.high))
        return round_drawn_value(self, random.uniform(self.low, self.high))


def round_drawn_value(one: ParameterRange, value: Any) -> Any:
    """Return a drawn value; a number between bounds is rounded to few digits within them."""
    if one.values or one.is_whole:
        return value
    rounded = float(f"{value:.{_RANDOM_DIGITS}g}")
    return min(max(rounded, one.low), one.high)


def format_parameter_value(value: Any) -> str:
    """Return a value as text for `--param`: exact, and booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def make_ranges(
    cls: type[Strategy],
    given: Mapping[str, str],
    further: Sequence[ParameterRange] = (),
    *,
    is_random: bool,
) -> tuple[ParameterRange, ...]:
    """Return the range of each parameter of a strategy, in the order written.

    Args:
        cls: The strategy.
        given: Texts by name, as `parse_range` takes them.
        further: Ranges that are no parameters of the strategy; they come last.
        is_random: Whether other parameters are drawn from the declared bounds; False: they have
            their defaults.

    Raises:
        UsageError: no such parameter, an invalid value, or nothing to choose from.
    """
    known = {info.name: info for info in collect_parameters(cls)}
    for name in given:
        if name not in known:
            raise UsageError(
                f"strategy {cls.name} has no parameter {name!r}{suggest_name(name, known)} "
                f"(it has: {', '.join(known) or 'none'})",
                setting=make_setting_key(name),
            )
    ranges = tuple(
        parse_range(f"strategy {cls.name}: ", info, given[info.name], is_random=is_random)
        if info.name in given
        else _make_declared_range(info, is_random=is_random)
        for info in known.values()
    )
    ranges = (*ranges, *further)
    if all(one.is_fixed for one in ranges):
        example = next(iter(known), "period")
        raise UsageError(
            f"nothing to optimize: give a parameter of {cls.name} several values, such as "
            f"--param {example}=5:50:5 (it has: {', '.join(known) or 'none'})"
        )
    return ranges


def iterate_grid_points(ranges: tuple[ParameterRange, ...]) -> Iterator[ParameterSet]:
    """Yield every combination; the last parameter changes fastest.

    Raises:
        UsageError: there are too many combinations.
    """
    count = math.prod(len(one.values) for one in ranges)
    if count > MAX_COMBINATIONS:
        raise UsageError(
            f"the grid has {count:,} combinations, more than {MAX_COMBINATIONS:,}; take larger "
            "steps, or draw some of them: --sampler random --trials 1000"
        )
    names = [one.name for one in ranges]
    for values in itertools.product(*(one.values for one in ranges)):
        yield dict(zip(names, values, strict=True))


def iterate_random_points(
    ranges: tuple[ParameterRange, ...], count: int, seed: int
) -> Iterator[ParameterSet]:
    """Yield seeded draws without repetition: at least `count`, or all that the space has."""
    random = Random(seed)  # noqa: S311 - not for secrets: the draws must be repeatable
    seen: set[tuple[Any, ...]] = set()
    for _ in range(count * _DRAWS_FOR_ONE):
        point = {one.name: one.draw_value(random) for one in ranges}
        values = tuple(point.values())
        if values not in seen:
            seen.add(values)
            yield point


def _make_declared_range(info: ParameterInfo, *, is_random: bool) -> ParameterRange:
    if not is_random:
        return ParameterRange(info.name, (info.default,))
    if info.type is bool:
        return ParameterRange(info.name, (False, True))
    if info.choices:
        return ParameterRange(info.name, info.choices)
    if info.type is str or info.ge is None or info.le is None:
        return ParameterRange(info.name, (info.default,))
    return ParameterRange(info.name, (), info.ge, info.le, is_whole=info.type is int)


def parse_range(owner: str, info: ParameterInfo, text: str, *, is_random: bool) -> ParameterRange:
    """Return the range of a text: `14`, `20,50,100`, `5:50:5` (the end included) or `5:50`.

    Args:
        owner: Beginning of the texts of errors, such as `strategy rsi: `.
        info: The parameter.
        text: The text.
        is_random: Whether `5:50` takes any value between its ends.

    Raises:
        UsageError: an invalid value.
    """
    if info.type in (int, float) and ":" in text:
        low, high, step = _parse_range_ends(owner, info, text)
        if step is None and is_random:
            _refuse_outside(owner, info, (_convert_number(info, low), _convert_number(info, high)))
            return ParameterRange(info.name, (), float(low), float(high), is_whole=info.type is int)
        values = _list_range_values(owner, info, text, (low, high, step))
    else:
        values = tuple(_parse_value(owner, info, part) for part in text.split(","))
    _refuse_outside(owner, info, values)
    return ParameterRange(info.name, tuple(dict.fromkeys(values)))


def _parse_range_ends(
    owner: str, info: ParameterInfo, text: str
) -> tuple[Decimal, Decimal, Decimal | None]:
    """Return the ends of a range, and its step if one is given."""
    parts = text.split(":")
    try:
        numbers = [Decimal(part.strip()) for part in parts]
    except InvalidOperation:
        numbers = []
    if len(numbers) not in (2, 3) or not all(number.is_finite() for number in numbers):
        raise _make_parameter_error(owner, info, "a range such as 5:50:5 (from, to, step)", text)
    low, high = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else None
    if low > high or (step is not None and step <= 0):
        raise _make_parameter_error(owner, info, "a range that goes up, by a step above 0", text)
    if info.type is int and any(number % 1 for number in numbers):
        raise _make_parameter_error(owner, info, "a range of whole numbers", text)
    return low, high, step


def _list_range_values(
    owner: str, info: ParameterInfo, text: str, ends: tuple[Decimal, Decimal, Decimal | None]
) -> tuple[Any, ...]:
    low, high, step = ends
    if step is None:
        if info.type is float:
            raise _make_parameter_error(
                owner, info, "a range with a step in a grid, as 0.5:2:0.25", text
            )
        step = Decimal(1)
    count = int((high - low) // step) + 1
    if count > MAX_COMBINATIONS:
        raise _make_parameter_error(
            owner, info, f"a range of {MAX_COMBINATIONS:,} values at most", text
        )
    # Computed in Decimals, so that values such as 0.3 equal those that are written.
    return tuple(_convert_number(info, low + step * number) for number in range(count))


def _convert_number(info: ParameterInfo, value: Decimal) -> Any:
    return int(value) if info.type is int else float(value)


def _parse_value(owner: str, info: ParameterInfo, part: str) -> Any:
    text = part.strip()
    if info.type is str:
        return text
    if info.type is bool:
        if text.lower() in _YES_NO:
            return _YES_NO[text.lower()]
        raise _make_parameter_error(owner, info, "yes or no", part)
    try:
        return info.type(text)
    except ValueError as error:
        kind = "a whole number" if info.type is int else "a number"
        raise _make_parameter_error(
            owner, info, f"{kind}, or several as 20,50,100", part
        ) from error


def _refuse_outside(owner: str, info: ParameterInfo, values: tuple[Any, ...]) -> None:
    for value in values:
        is_fine = not info.choices or value in info.choices
        if isinstance(value, (int, float)) and is_fine:
            is_fine = (info.ge is None or value >= info.ge) and (
                info.le is None or value <= info.le
            )
            is_fine = is_fine and not math.isnan(value)
        if not is_fine:
            raise _make_parameter_error(owner, info, info.allowed, format_parameter_value(value))


def _make_parameter_error(owner: str, info: ParameterInfo, allowed: str, found: str) -> UsageError:
    return UsageError(
        f"{owner}{info.name} must be {allowed}, found {found!r}",
        setting=make_setting_key(info.name),
    )
