"""Tables of a setting written as one text: times since an entry and fractions, `0=2%,24h=0.5%`.

In braces, as in a settings file, the keys are numbers of candles: `{0: 0.02, 24: 0.005}`.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from onetape.core.errors import UsageError
from onetape.core.timeframes import Timeframe

_ENTRY: Final = r"""\s*(["']?)([\w.-]+)\1\s*[=:]\s*(["']?)([^\s"'{}=:]+)\3\s*"""


#: Time since an entry (`24h`), or a number of candles.
Age = str | int


def parse_age_table(text: str) -> dict[Age, float]:
    """Return the fractions of a table by time since the entry, such as `24h`, or by candles.

    Raises:
        ValueError: the text is no such table; the error states the expected form.
    """
    inside = text.strip()
    has_candles = inside.startswith("{") and inside.endswith("}")
    if has_candles:
        inside = inside[1:-1].strip()
        if not inside:
            return {}
    table: dict[Age, float] = {}
    for part in inside.split(","):
        entry = re.fullmatch(_ENTRY, part)
        age = None if entry is None else _parse_age(entry[2], has_candles=has_candles)
        if entry is None or age is None or age in table:
            msg = "expected KEY=VALUE,KEY=VALUE, each key once"
            raise ValueError(msg)
        table[age] = _parse_fraction(entry[4])
    return table


def count_candles_of_ages(table: Mapping[Age, float], timeframe: Timeframe) -> dict[int, float]:
    """Return a table whose times are converted to numbers of candles.

    Args:
        table: Fractions by time since the entry, such as `24h`, or by number of candles.
        timeframe: Timeframe of the candles.

    Raises:
        UsageError: a time is no whole number of candles.
    """
    return {_count_candles(age, timeframe): fraction for age, fraction in table.items()}


def _parse_age(text: str, *, has_candles: bool) -> Age:
    """Return 0, a time with its unit, or a number of candles.

    Raises:
        ValueError: a time has no unit, or a number is none.
    """
    if has_candles or text == "0":
        if re.fullmatch(r"[+-]?\d+", text) is None:
            msg = "expected int"
            raise ValueError(msg)
        return int(text)
    try:
        return Timeframe.parse(text).name
    except UsageError as error:
        msg = "expected keys such as 0 or 24h, a time with its unit"
        raise ValueError(msg) from error


def _parse_fraction(text: str) -> float:
    """Return the number of `0.02` or of `2%`.

    Raises:
        ValueError: the text is no number.
    """
    try:
        number = Decimal(text.removesuffix("%"))
        return float(number / 100 if text.endswith("%") else number)
    except (ArithmeticError, ValueError) as error:
        msg = "expected a number"
        raise ValueError(msg) from error


def _count_candles(age: Age, timeframe: Timeframe) -> int:
    if isinstance(age, int):
        return age
    time = Timeframe.parse(age)
    count, rest = divmod(time.seconds, timeframe.seconds)
    if rest or time.is_month != timeframe.is_month:
        raise UsageError(
            f"target_table must have times of whole {timeframe.name} candles, found {age}",
            setting="exits.target_table",
        )
    return count
