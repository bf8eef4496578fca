"""Entry guards that an optimization tries: `--param account.stoploss_guard.trade_limit=2:6:2`.

An optimization varies the numbers of a guard one by one. A combination has all numbers of the
guard, so that its result depends on the combination alone; `join_guard_numbers` makes the text of
the guard's setting from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.engine import AccountConfig
from onetape.engine.entry_guards import (
    GUARD_NAMES,
    GuardName,
    format_guard_setting,
    list_guard_numbers,
)
from onetape.optimization.space import ParameterRange, parse_range
from onetape.strategies import ParameterInfo
from onetape.strategies.parameters import make_setting_key

#: Names of the settings of all guards among the parameters of a combination.
GUARD_SETTINGS: Final = tuple(f"account.{name}" for name in GUARD_NAMES)
#: Value of a guard's setting in a combination without the guard.
NO_GUARD: Final = "none"


def is_guard_number(name: str) -> bool:
    """Return whether a name of a combination is a number of an entry guard."""
    return name.startswith(tuple(f"{setting}." for setting in GUARD_SETTINGS))


def make_guard_ranges(
    given: Mapping[str, str], account: AccountConfig, *, is_random: bool
) -> list[ParameterRange]:
    """Return the ranges of the numbers of entry guards among given parameters.

    A guard of which a number is given has ranges for all its numbers: each number that is not
    given keeps the value that it has in the account.

    Args:
        given: Texts by name, all parameters of the optimization: `2:6:2` by
            `account.stoploss_guard.trade_limit`.
        account: Rules for everything that is not given.
        is_random: Whether a range without a step may take any value between its ends.

    Raises:
        UsageError: there is no such number, a value is invalid, or a number of the guard is
            missing.
    """
    ranges: list[ParameterRange] = []
    for name in GUARD_NAMES:
        prefix = f"account.{name}."
        texts = {
            key.removeprefix(prefix): text for key, text in given.items() if key.startswith(prefix)
        }
        if texts:
            _refuse_second_form(name, given, texts)
            ranges += _make_number_ranges(name, texts, account, is_random=is_random)
    return ranges


def check_no_guard(name: str, values: Sequence[Any], account: AccountConfig) -> None:
    """Refuse to try an account without a guard that the account has.

    No flag takes a guard away, so the command of such a combination could not be written.

    Args:
        name: Setting of the guard, such as `account.stoploss_guard`.
        values: Values to try.
        account: Rules of the account.

    Raises:
        UsageError: one of the values is `none`, and the account has the guard.
    """
    guard = name.removeprefix("account.")
    if NO_GUARD in values and getattr(account, guard) is not None:
        raise UsageError(
            f"{name}: {NO_GUARD} cannot be tried while the settings have {guard} "
            f"{getattr(account, guard)!r}; remove it there, and write it after {NO_GUARD}|",
            setting=make_setting_key(name),
        )


def join_guard_numbers(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a combination whose guards are settings of an account, not numbers one by one.

    Args:
        point: The combination.

    Returns:
        The combination with texts such as `trade_limit=4,...` by `account.stoploss_guard`; None:
        no such guard.
    """
    joined: dict[str, Any] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for name, value in point.items():
        if is_guard_number(name):
            setting, _, number = name.rpartition(".")
            numbers.setdefault(setting, {})[number] = value
        elif name in GUARD_SETTINGS and value == NO_GUARD:
            joined[name] = None
        else:
            joined[name] = value
    return joined | {name: format_guard_setting(values) for name, values in numbers.items()}


def _refuse_second_form(
    name: GuardName, given: Mapping[str, str], numbers: Mapping[str, str]
) -> None:
    setting = f"account.{name}"
    if setting in given:
        raise UsageError(
            f"{setting} and {setting}.{next(iter(numbers))} are both given; give the whole guard, "
            "or its numbers one by one",
            setting=make_setting_key(setting),
        )


def _make_number_ranges(
    name: GuardName, texts: Mapping[str, str], account: AccountConfig, *, is_random: bool
) -> list[ParameterRange]:
    """Return the ranges of all numbers of one guard, in the order of the docs."""
    allowed = list_guard_numbers(name)
    for number in texts:
        if number not in allowed:
            raise UsageError(
                f"account.{name} has no number {number!r}{suggest_name(number, allowed)} (it has: "
                f"{', '.join(allowed)})",
                setting=make_setting_key(f"account.{name}.{number}"),
            )
    guards = {one.name: one.numbers for one in account.entry_guards}
    own = guards.get(name, dict[str, int | float | bool]())
    given = {*texts, *own}
    missing = [key for key, one in allowed.items() if one.is_required and key not in given]
    if missing:
        flag = f"--{name.replace('_', '-')}"
        raise UsageError(
            f"account.{name} needs {', '.join(missing)} too: give the whole guard by {flag}, or "
            f"each number, as --param account.{name}.{missing[0]}=24",
            setting=make_setting_key(f"account.{name}.{next(iter(texts))}"),
        )
    ranges: list[ParameterRange] = []
    for key, one in allowed.items():
        full = f"account.{name}.{key}"
        if key in texts:
            info = ParameterInfo(full, one.kind, one.kind(0), one.minimum, one.maximum, (), "")
            ranges.append(parse_range("", info, texts[key], is_random=is_random))
        elif key in own:
            ranges.append(ParameterRange(full, (own[key],)))
    return ranges
