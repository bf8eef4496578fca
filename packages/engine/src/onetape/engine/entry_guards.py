"""Entry guards of an account: rules that pause entries after losses.

A guard is one setting. Its numbers have the names of freqtrade's protections (StoplossGuard,
MaxDrawdown, LowProfitPairs): `trade_limit=4,lookback_period_candles=24,stop_duration_candles=12`. A
run without entry guards does not load this module.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.engine.exit_config import MAX_BARS

#: stoploss_guard: many stops; drawdown_pause: a fall of the summed profit; low_profit_pairs: a low
#: sum of a symbol's profit.
GuardName = Literal["stoploss_guard", "drawdown_pause", "low_profit_pairs"]
_COUNTS: Final = ("trade_limit", "lookback_period_candles", "stop_duration_candles")
#: Name of the number that a guard compares with, its bounds (inclusive) and its default; None: it
#: must be given.
_BOUNDS: Final[Mapping[GuardName, tuple[str, float, float, float | None]]] = {
    "stoploss_guard": ("required_profit", -1.0, 1_000.0, 0.0),
    "drawdown_pause": ("max_allowed_drawdown", 0.0, 1_000.0, None),
    "low_profit_pairs": ("required_profit", -1_000.0, 1_000.0, None),
}
_FLAG: Final = "only_per_pair"
#: Guards that may count the trades of each symbol alone.
_WITH_FLAG: Final[tuple[GuardName, ...]] = ("stoploss_guard",)
#: Names of all guards.
GUARD_NAMES: Final[tuple[GuardName, ...]] = tuple(_BOUNDS)
_FLAG_VALUES: Final = {"yes": True, "true": True, "no": False, "false": False}
_COUNT_EXAMPLE: Final = "trade_limit=4,lookback_period_candles=24,stop_duration_candles=12"


class EntryGuard(Struct, frozen=True):
    """A rule that pauses entries after closed trades; exits are made at any time."""

    name: GuardName
    trade_limit: int
    """Number of closed trades (stoploss_guard: of stops) in the period that can lead to a pause."""
    lookback_period_candles: int
    """Number of candles whose exits count, the candle of the newest exit included."""
    stop_duration_candles: int
    """Number of candles after that of the newest exit at whose opens nothing is entered."""
    bound: float
    """Profit ratio below which a stop counts (stoploss_guard), or the sum of the ratios must be
    (low_profit_pairs); drawdown of the summed ratios above which entries pause (drawdown_pause)."""
    is_per_symbol: bool
    """Whether the trades of each symbol are counted alone and only its entries pause."""

    @property
    def numbers(self) -> dict[str, int | float | bool]:
        """Return the numbers of the guard's setting by name, such as `trade_limit`."""
        numbers: dict[str, int | float | bool] = {one: getattr(self, one) for one in _COUNTS}
        numbers[_BOUNDS[self.name][0]] = self.bound
        return {**numbers, _FLAG: self.is_per_symbol} if self.name in _WITH_FLAG else numbers

    @property
    def title(self) -> str:
        """Return the name for output."""
        return {"low_profit_pairs": "low-profit pairs"}.get(self.name, self.name.replace("_", " "))

    def describe(self) -> str:
        """Return the description of the guard for output."""
        counted = {
            "stoploss_guard": f"{self.trade_limit:,} or more stops with a profit under "
            f"{self.bound:.2%}",
            "drawdown_pause": f"a drawdown of summed profit ratios above {self.bound:.2%} in "
            f"{self.trade_limit:,} or more trades",
            "low_profit_pairs": f"a summed profit ratio under {self.bound:.2%} of "
            f"{self.trade_limit:,} or more trades",
        }[self.name]
        where = " of one symbol" if self.is_per_symbol else ""
        whose = "its entries" if self.is_per_symbol else "all entries"
        return (
            f"{self.title}: {counted}{where} within {self.lookback_period_candles:,} candles "
            f"pause {whose} for {self.stop_duration_candles:,} candles"
        )


class GuardNumber(NamedTuple):
    """One number in the setting of an entry guard."""

    kind: type[int] | type[float] | type[bool]
    """Type of the number; bool: yes or no."""
    minimum: float
    """Smallest value allowed."""
    maximum: float
    """Largest value allowed."""
    is_required: bool
    """Whether the setting must have the number."""


def list_guard_numbers(name: GuardName) -> dict[str, GuardNumber]:
    """Return the numbers in the setting of an entry guard, by name, in the order of the docs."""
    bound, minimum, maximum, default = _BOUNDS[name]
    count = GuardNumber(int, 1, MAX_BARS, is_required=True)
    numbers: dict[str, GuardNumber] = dict.fromkeys(_COUNTS, count)
    numbers[bound] = GuardNumber(float, minimum, maximum, is_required=default is None)
    if name in _WITH_FLAG:
        numbers[_FLAG] = GuardNumber(bool, 0, 1, is_required=False)
    return numbers


def format_guard_setting(numbers: Mapping[str, object]) -> str:
    """Return the text of a guard's setting: `trade_limit=4,lookback_period_candles=24,...`.

    Args:
        numbers: Numbers by name; a boolean is written as yes or no.
    """
    return ",".join(
        f"{name}={('yes' if value else 'no') if isinstance(value, bool) else value}"
        for name, value in numbers.items()
    )


@cache
def parse_entry_guards(
    stoploss_guard: str | None, drawdown_pause: str | None, low_profit_pairs: str | None
) -> tuple[EntryGuard, ...]:
    """Return the entry guards that settings describe.

    Args:
        stoploss_guard: `trade_limit=4,lookback_period_candles=24,stop_duration_candles=12`, also
            with `required_profit` and `only_per_pair`; None: no such guard.
        drawdown_pause: The same numbers with `max_allowed_drawdown`; None: no such guard.
        low_profit_pairs: The same numbers with `required_profit`; None: no such guard.

    Raises:
        UsageError: a setting is invalid; the text names setting, allowed values and value found.
    """
    given: dict[GuardName, str | None] = {
        "stoploss_guard": stoploss_guard,
        "drawdown_pause": drawdown_pause,
        "low_profit_pairs": low_profit_pairs,
    }
    return tuple(_parse_guard(name, text) for name, text in given.items() if text is not None)


def _parse_guard(name: GuardName, text: str) -> EntryGuard:
    """Return one entry guard from its text, such as `trade_limit=4,...`."""
    bound, lowest, highest, default = _BOUNDS[name]
    allowed = list_guard_numbers(name)
    values = dict(_iterate_values(name, text, list(allowed)))
    missing = [key for key, one in allowed.items() if one.is_required and key not in values]
    if missing:
        raise _make_error(name, f"needs {', '.join(missing)} too", text)
    counts = {one: _parse_count(name, one, values[one]) for one in _COUNTS}
    number = _parse_number(values[bound]) if bound in values else default
    if number is None or not lowest <= number <= highest:
        raise UsageError(
            f"{bound} of {name} must be a number from {lowest:,g} to {highest:,g} (0.02 is 2 %), "
            f"found {values.get(bound)!r}",
            setting=f"account.{name}",
        )
    is_per_symbol = _FLAG_VALUES.get(values.get(_FLAG, "no").lower())
    if is_per_symbol is None:
        raise UsageError(
            f"{_FLAG} of {name} must be yes or no, found {values[_FLAG]!r}",
            setting=f"account.{name}",
        )
    return EntryGuard(
        name=name,
        bound=number,
        is_per_symbol=is_per_symbol or name == "low_profit_pairs",
        trade_limit=counts["trade_limit"],
        lookback_period_candles=counts["lookback_period_candles"],
        stop_duration_candles=counts["stop_duration_candles"],
    )


def _iterate_values(name: GuardName, text: str, allowed: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a setting."""
    known = set[str]()
    for part in text.split(","):
        key, equals, value = (one.strip() for one in part.partition("="))
        if not equals or not value:
            raise _make_error(name, "must be NAME=NUMBER joined by commas", text)
        if key not in allowed:
            raise UsageError(
                f"{name} takes {', '.join(allowed)}, found {key!r}{suggest_name(key, allowed)}",
                setting=f"account.{name}",
            )
        if key in known:
            raise _make_error(name, f"must have {key} once", text)
        known.add(key)
        yield key, value


def _parse_count(name: GuardName, key: str, value: str) -> int:
    digits = value.replace("_", "")
    if not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits) <= MAX_BARS:
        raise UsageError(
            f"{key} of {name} must be a whole number from 1 to {MAX_BARS:,}, found {value!r}",
            setting=f"account.{name}",
        )
    return int(digits)


def _parse_number(value: str) -> float | None:
    """Return a number; None where the text is no number, or not finite."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _make_error(name: GuardName, fault: str, text: str) -> UsageError:
    key, _, _, default = _BOUNDS[name]
    example = _COUNT_EXAMPLE if default is not None else f"{_COUNT_EXAMPLE},{key}=0.1"
    return UsageError(
        f"{name} {fault}, such as {example}, found {text!r}", setting=f"account.{name}"
    )
