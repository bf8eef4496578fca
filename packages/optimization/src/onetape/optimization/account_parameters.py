"""Settings of account and exits that an optimization tries: `--param exits.stop_loss=0.02,0.05`.

A combination names them by their dotted keys, after the parameters of the strategy. Start balance,
fees and slippage cannot be tried: the lowest fee would always win.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.core.setting import DeclaredSetting, check_setting_value, collect_settings
from onetape.core.table_text import count_candles_of_ages, parse_age_table
from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig
from onetape.optimization.guard_parameters import (
    GUARD_SETTINGS,
    check_no_guard,
    is_guard_number,
    join_guard_numbers,
    make_guard_ranges,
)
from onetape.optimization.space import ParameterRange, ParameterSet, parse_range
from onetape.strategies import ParameterInfo
from onetape.strategies.parameters import make_setting_key

#: Beginnings of the names of settings among the parameters of a combination.
_SECTIONS: Final = ("exits.", "account.")
#: Settings of the account that may be tried, in addition to all settings of the exits.
_ACCOUNT_SETTINGS: Final = (
    "account.sizing",
    "account.cooldown_bars",
    "account.reentry",
    "account.trading_hours",
    "account.trading_days",
    *GUARD_SETTINGS,
)
#: Settings whose values hold commas: `|` separates two of them.
_WITH_COMMAS: Final = (
    "exits.target_table",
    "account.trading_hours",
    "account.trading_days",
    *GUARD_SETTINGS,
)


def is_account_parameter(name: str) -> bool:
    """Return whether a name of a combination is a setting, not a parameter of the strategy."""
    return name.startswith(_SECTIONS)


def select_strategy_parameters(point: Mapping[str, Any]) -> ParameterSet:
    """Return the values of a combination that the strategy takes."""
    return {name: value for name, value in point.items() if not is_account_parameter(name)}


def make_account_ranges(
    given: Mapping[str, str], account: AccountConfig, timeframe: str, *, is_random: bool
) -> list[ParameterRange]:
    """Return the ranges of the settings among given parameters.

    They are in the order written; numbers of entry guards come last.

    Args:
        given: Texts by name, those of the strategy included: `0.02,0.05`, `0.02:0.1:0.02`,
            `all_in,equity_share=0.5`; of a value with commas `0=2%,24h=0.5%|0=3%`.
        account: Rules for everything that is not given.
        timeframe: Timeframe of the traded candles.
        is_random: Whether a range without a step may take any value between its ends.

    Raises:
        UsageError: a setting cannot be tried, or a value is invalid.
    """
    ranges = [
        _make_range(name, text, timeframe, is_random=is_random)
        for name, text in given.items()
        if is_account_parameter(name) and not is_guard_number(name)
    ]
    for one in ranges:
        if one.name in GUARD_SETTINGS:
            check_no_guard(one.name, one.values, account)
    return ranges + make_guard_ranges(given, account, is_random=is_random)


def apply_account_parameters(
    rules: AccountConfig, point: Mapping[str, Any], timeframe: str
) -> AccountConfig:
    """Return the rules of an account with the settings of a combination.

    Args:
        rules: Rules for everything that the combination does not name.
        point: The combination; parameters of the strategy are left out.
        timeframe: Timeframe of the traded candles.

    Raises:
        UsageError: settings that do not fit together.
    """
    exits: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    for name, value in join_guard_numbers(point).items():
        section, _, setting = name.partition(".")
        if name == "account.sizing":
            changed.update(_parse_sizing(str(value)))
        elif name == "exits.target_table":
            exits[setting] = _parse_target_table(str(value), timeframe)
        elif section == "exits" and setting:
            exits[setting] = value
        elif section == "account" and setting:
            changed[setting] = value
    if exits:
        changed["exits"] = replace(rules.exits, **exits)
    return replace(rules, **changed) if changed else rules


def collect_setting_texts(point: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a combination by the keys of a settings file: `account.sizing`."""
    texts: dict[str, str] = {}
    for name, value in join_guard_numbers(point).items():
        if name == "account.sizing":
            kind, equals, number = str(value).partition("=")
            texts["account.sizing"] = kind
            if equals:
                texts[f"account.{kind}"] = number
        elif is_account_parameter(name) and value is not None:
            texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts


def format_account_flags(point: Mapping[str, Any]) -> list[str]:
    """Return the flags of a backtest that give the settings of a combination."""
    flags: list[str] = []
    for name, value in join_guard_numbers(point).items():
        if not is_account_parameter(name) or value is None:
            continue
        yes, _, no = _find_setting(name).setting.flag.partition("/")
        flags += [yes if value else no] if isinstance(value, bool) else [yes, str(value)]
    return flags


def _find_setting(name: str) -> DeclaredSetting:
    """Return the declaration of a setting that may be tried.

    Raises:
        UsageError: there is no such setting, or it may not be tried.
    """
    declared = collect_settings(AccountConfig)
    known = [*_ACCOUNT_SETTINGS, *(key for key in declared if key.startswith("exits."))]
    if name not in known:
        raise UsageError(
            f"{name} cannot be tried{suggest_name(name, known)} (these can: {', '.join(known)})",
            setting=make_setting_key(name),
        )
    return declared[name.removeprefix("account.")]


def _make_range(name: str, text: str, timeframe: str, *, is_random: bool) -> ParameterRange:
    declared = _find_setting(name)
    if name in _WITH_COMMAS:
        values = tuple(dict.fromkeys(part.strip() for part in text.split("|")))
        found = ParameterRange(name, values)
    else:
        kind = declared.kind if declared.kind in (int, float, bool) else str
        info = ParameterInfo(name, kind, "", None, None, (), "")
        found = parse_range("", info, text, is_random=is_random)
    for value in found.values or (found.lowest, found.highest):
        try:
            _check_value(name, declared, value, timeframe)
        except UsageError as error:
            # Most texts begin with the name of the setting without its section.
            section, _, setting = name.partition(".")
            prefix = f"{section}." if str(error).startswith(setting) else f"{name}: "
            raise UsageError(f"{prefix}{error}", setting=make_setting_key(name)) from error
    return found


def _check_value(name: str, declared: DeclaredSetting, value: Any, timeframe: str) -> None:
    """Refuse a value that no account takes; combinations of values are checked later.

    Raises:
        UsageError: the value is invalid.
    """
    if name == "account.sizing":
        for key, number in _parse_sizing(value).items():
            if key != "sizing" and number is not None:
                check_setting_value(collect_settings(AccountConfig)[key], number, key)
    elif name in _WITH_COMMAS:
        apply_account_parameters(AccountConfig(), {name: value}, timeframe)
    else:
        check_setting_value(declared, value, name)


def _parse_sizing(text: str) -> dict[str, Any]:
    """Return the settings of `all_in` or `equity_share=0.5`; numbers of other sizings are None.

    Raises:
        UsageError: there is no such sizing, or its number is missing or too much.
    """
    declared = collect_settings(AccountConfig)
    numbers = {key: one for key, one in declared.items() if one.setting.number_of == "sizing"}
    kind, equals, number = (part.strip() for part in text.partition("="))
    if kind not in declared["sizing"].choices or (kind in numbers) != bool(equals):
        plain = [one for one in declared["sizing"].choices if one not in numbers]
        forms = ", ".join(f"{one.name}={one.setting.example}" for one in numbers.values())
        raise UsageError(f"sizing must be {' or '.join(plain)}, or one of {forms}, found {text!r}")
    found: dict[str, Any] = {**dict.fromkeys(numbers), "sizing": kind}
    if equals:
        try:
            found[kind] = float(number)
        except ValueError as error:
            raise UsageError(f"sizing {kind} needs a number, found {number!r}") from error
    return found


def _parse_target_table(text: str, timeframe: str) -> dict[int, float]:
    """Return the table of `0=2%,24h=0.5%`, in candles since the entry and fractions.

    Raises:
        UsageError: the text is no such table, or a time is no whole number of candles.
    """
    try:
        table = parse_age_table(text)
    except ValueError as error:
        example = collect_settings(AccountConfig)["exits.target_table"].setting.example
        raise UsageError(
            f"target_table must be written like {example}, several joined by '|', found {text!r}"
        ) from error
    return count_candles_of_ages(table, Timeframe.parse(timeframe))
