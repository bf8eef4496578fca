"""Arguments of the Python functions: strategies, `Account` and `Exits`, and their conversion.

They become a `StrategyChoice` and an `AccountConfig`, the types that the command line makes too.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import msgspec
from msgspec import Struct

from onetape.backtest.config import ClassChoice, StrategyChoice
from onetape.core.errors import UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.message_text import suggest_name
from onetape.core.setting import DeclaredSetting, collect_settings
from onetape.engine import AccountConfig
from onetape.engine.exit_config import ExitConfig
from onetape.strategies import Strategy, collect_parameters, load_strategy_class
from onetape.strategies.parameters import convert_parameters
from onetape.strategies.registry import read_stated_settings, read_stated_settings_of_class

#: Sizings that take a number.
_SIZINGS: Final = (
    *("quote_amount", "base_amount", "equity_share", "risk_per_trade", "volatility_target"),
)

_KIND_TEXTS: Final = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "True or False",
}

#: Types that `backtest` takes as a strategy.
StrategyLike = str | Strategy | type[Strategy] | StrategyChoice | Callable[..., Any]


class Account:
    """Start balance, costs and sizes of orders, under the names of the flags or of the settings.

    `Account(cash=5_000, fee=0.001, slippage=5, quote_amount=500)`; docs/rules.md has all names.
    """

    def __init__(self, **values: Any) -> None:
        """Take the account's settings by name; settings that are left out have their defaults.

        Raises:
            UsageError: there is no such setting, or a value is of another type.
        """
        named = _map_to_fields(values, AccountConfig, "Account")
        sizes = [name for name in _SIZINGS if named.get(name) is not None]
        if len(sizes) == 1 and "sizing" not in named:
            named["sizing"] = sizes[0]
        self.values: Mapping[str, Any] = named


class Exits:
    """Exits in addition to the strategy's SELL, under the names of the flags.

    `Exits(stop_loss=0.05, take_profit=0.1, trailing_stop=0.03, time_stop=24, target={0: 0.02})`.
    """

    def __init__(self, **values: Any) -> None:
        """Set the requested exits.

        Raises:
            UsageError: there is no such exit, or a value is of another type.
        """
        self.values: Mapping[str, Any] = _map_to_fields(values, ExitConfig, "Exits")


def _map_to_fields(values: Mapping[str, Any], model: type[Struct], kind: str) -> dict[str, Any]:
    """Return values by the names of a struct's fields.

    Args:
        values: Values by field, or by the name of the flag of a field.
        model: The struct of settings.
        kind: Name of the class in errors, such as `Account`.
    """
    settings = [each for each in collect_settings(model).values() if len(each.path) == 1]
    fields = {
        field.setting.flag.partition("/")[0].removeprefix("--").replace("-", "_")
        or field.path[0]: field
        for field in settings
    }
    fields |= {field.path[0]: field for field in settings}
    named: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise UsageError(
                f"{kind} has no setting {name!r}{suggest_name(name, fields)} "
                f"(it has: {', '.join(fields)})"
            )
        named[fields[name].path[0]] = _convert_value(kind, name, value, fields[name])
    return named


def _convert_value(kind: str, name: str, value: Any, declared: DeclaredSetting) -> Any:
    """Return a value, converted to the type of its setting.

    Raises:
        UsageError: the value has another type.
    """
    if value is None and declared.is_optional:
        return None
    plain = getattr(value, "item", lambda: value)()  # NumPy's numbers
    try:
        return msgspec.convert(plain, declared.kind)
    except msgspec.ValidationError as error:
        expected = ", ".join(declared.choices) or _KIND_TEXTS.get(
            declared.kind, "a dict of numbers"
        )
        raise UsageError(f"{kind}: {name} must be {expected}, found {value!r}") from error


def make_account_config(
    account: Account | None, exits: Exits | None, strategy: "StrategyLike | None" = None
) -> AccountConfig:
    """Return the configuration of the account.

    Args:
        account: Account settings; None: the defaults.
        exits: Exits; None: none.
        strategy: The strategy; the settings in the file of a freqtrade strategy hold where neither
            `account` nor `exits` gives them.

    Raises:
        UsageError: a value is invalid, or of another type than `Account` and `Exits`.
        ConfigurationError: a value of the strategy's file cannot be used.
    """
    arguments: list[tuple[str, Any, type]] = [
        ("account", account, Account),
        ("exits", exits, Exits),
    ]
    for name, value, kind in arguments:
        if value is not None and not isinstance(value, kind):
            raise UsageError(f"{name} must be {kind.__name__}(...), found {type(value).__name__}")
    stated = collect_stated_values(strategy)
    made = ExitConfig(
        **{**_select_section(stated, "exits"), **({} if exits is None else exits.values)}
    )
    given_values: Mapping[str, Any] = {} if account is None else account.values
    if given_values.get("fee_tier") is not None:
        rates = ("fee_rate", "maker_fee_rate")
        fees = [name for name in rates if given_values.get(name) is not None]
        if fees:
            raise UsageError(
                f"Account: {fees[0]} must be left out with fee_tier, which states both fees"
            )
    return AccountConfig(**{**_select_section(stated, "account"), **given_values}, exits=made)


def collect_stated_values(strategy: "StrategyLike | None") -> Mapping[str, Any]:
    """Return the settings that the file of a freqtrade strategy states, by dotted key.

    Args:
        strategy: A strategy in any of the forms that `backtest` takes; empty for others than
            freqtrade's.

    Raises:
        ConfigurationError: a value of the file cannot be used.
    """
    if isinstance(strategy, str):
        found = read_stated_settings(strategy, USER_FOLDER)
    elif isinstance(strategy, ClassChoice):
        found = read_stated_settings_of_class(strategy.cls)
    elif isinstance(strategy, StrategyChoice):
        found = read_stated_settings(strategy.name, strategy.user_folder)
    else:
        given: Any = strategy if isinstance(strategy, type) else type(strategy)
        found = read_stated_settings_of_class(given)
    return {} if found is None else found.values


def _select_section(values: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Return the values of one section by the last part of their keys."""
    parts = {key: key.partition(".") for key in values}
    return {name: values[key] for key, (first, _, name) in parts.items() if first == section}


def strategy(name: str, **parameters: Any) -> StrategyChoice:
    """Return a strategy by name with its parameters.

    Args:
        name: Built-in name, name of a file in user/strategies, or `path/to/file.py:Class`.
        parameters: Parameters that differ from the strategy's defaults.

    Raises:
        UsageError: there is no such strategy or parameter, or a value is not allowed.
        ConfigurationError: the user's file cannot be executed.
    """
    choice = StrategyChoice(name, _format_parameters(parameters))
    choice.load()
    return choice


def make_strategy_choice(given: StrategyLike, params: Mapping[str, Any] | None) -> StrategyChoice:
    """Return the choice of a strategy in any of the forms that `backtest` takes.

    Raises:
        UsageError: the value is no strategy, or does not accept the parameters.
        ConfigurationError: the strategy cannot be used.
    """
    values = dict(params or {})
    if isinstance(given, str):
        return strategy(given, **values)
    if isinstance(given, StrategyChoice):
        if not values:
            return given
        if isinstance(given, ClassChoice):
            return _make_class_choice(given.cls, {**given.values, **values})
        return strategy(given.name, **{**given.parameters, **values})
    if isinstance(given, Strategy):
        parameters = {info.name: getattr(given, info.name) for info in collect_parameters(given)}
        return _make_class_choice(type(given), {**parameters, **values})
    return _make_class_choice(get_strategy_class(given), values)


def get_strategy_class(given: StrategyLike) -> type[Strategy]:
    """Return the strategy class of a class, a function, a name, an instance or a choice.

    Raises:
        UsageError: the value is no strategy.
        ConfigurationError: the strategy cannot be used.
    """
    if isinstance(given, ClassChoice):
        return given.cls
    if isinstance(given, StrategyChoice):
        return load_strategy_class(given.name, given.user_folder)
    if isinstance(given, str):
        return load_strategy_class(given, USER_FOLDER)
    if isinstance(given, Strategy):
        return type(given)
    kind: Any = given
    if isinstance(kind, type) and issubclass(kind, Strategy):
        return kind
    if isinstance(given, FunctionType):
        from onetape.strategies.functions import make_function_class

        return make_function_class(given)
    if hasattr(given, "populate_indicators"):
        raise UsageError(
            "the settings of a freqtrade class are read from its file; give the file, such as "
            "'Sample.py' or 'Sample.py:Class'"
        )
    raise UsageError(
        f"a strategy is a name, a Strategy or a function of a DataFrame, found "
        f"{type(given).__name__}"
    )


def _make_class_choice(cls: type[Strategy], values: Mapping[str, Any]) -> ClassChoice:
    converted = convert_parameters(cls, values)
    cls(**converted)
    return ClassChoice(
        _make_strategy_name(cls), _format_parameters(converted), cls=cls, values=converted
    )


def _make_strategy_name(cls: type[Strategy]) -> str:
    """Return the name by which the command line finds a class: `path/to/file.py:Class`.

    For a class that is not in a file of the working folder, such as one of a notebook, it is the
    name of the class.
    """
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    is_own = cls.__module__ != "__main__" and not cls.__module__.startswith("onetape.")
    if file is None or not is_own or not hasattr(module, cls.__name__):
        return cls.name
    path, folder = Path(file), Path.cwd()
    return f"{path.relative_to(folder)}:{cls.__name__}" if path.is_relative_to(folder) else cls.name


def _format_parameters(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
