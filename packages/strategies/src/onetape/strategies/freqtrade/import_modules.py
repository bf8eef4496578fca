"""Modules that replace `freqtrade` while a strategy file is loaded.

A strategy's `import freqtrade...` gets the small implementation of this folder; freqtrade itself is
neither needed nor used.
"""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final

from onetape.core.timeframes import Timeframe


def timeframe_to_minutes(timeframe: str) -> int:
    """Return the length of a timeframe in minutes."""
    return Timeframe.parse(timeframe).seconds // 60


def timeframe_to_seconds(timeframe: str) -> int:
    """Return the length of a timeframe in seconds."""
    return Timeframe.parse(timeframe).seconds


def timeframe_to_msecs(timeframe: str) -> int:
    """Return the length of a timeframe in milliseconds."""
    return Timeframe.parse(timeframe).seconds * 1_000


def timeframe_to_prev_date(timeframe: str, date: datetime | None = None) -> datetime:
    """Return the open of the candle that holds a moment; by default that of now."""
    moment = datetime.now(UTC) if date is None else date
    return datetime.fromtimestamp(Timeframe.parse(timeframe).floor(int(moment.timestamp())), UTC)


def timeframe_to_next_date(timeframe: str, date: datetime | None = None) -> datetime:
    """Return the open of the candle after the one that holds a moment; by default that of now."""
    moment = datetime.now(UTC) if date is None else date
    return datetime.fromtimestamp(Timeframe.parse(timeframe).next(int(moment.timestamp())), UTC)


class _Placeholder:
    """Stands for names that files import but cannot use: their use is refused before the run."""


_TIMES: Final[Mapping[str, Any]] = {
    "timeframe_to_minutes": timeframe_to_minutes,
    "timeframe_to_seconds": timeframe_to_seconds,
    "timeframe_to_msecs": timeframe_to_msecs,
    "timeframe_to_prev_date": timeframe_to_prev_date,
    "timeframe_to_next_date": timeframe_to_next_date,
}
_DATABASE_NAMES: Final = ("Trade", "Order", "PairLocks")
_CALLBACK_NAMES: Final = ("stoploss_from_open", "stoploss_from_absolute", "AnnotationType")


def _collect_names_by_module() -> dict[str, Mapping[str, Any]]:
    """Return the names that each module offers."""
    from onetape.strategies.freqtrade import informative, parameters, qtpylib
    from onetape.strategies.freqtrade.interface import IStrategy

    family = {
        name: getattr(parameters, name)
        for name in (
            "IntParameter",
            "DecimalParameter",
            "RealParameter",
            "CategoricalParameter",
            "BooleanParameter",
        )
    }
    merging = {"merge_informative_pair": informative.merge_informative_pair}
    database: dict[str, Any] = dict.fromkeys(_DATABASE_NAMES, _Placeholder)
    helpers = {
        name: value
        for name, value in vars(qtpylib).items()
        if callable(value) and not name.startswith("_") and value.__module__ == qtpylib.__name__
    }
    every = {
        "IStrategy": IStrategy,
        "informative": informative.informative,
        **family,
        **merging,
        **database,
        **_TIMES,
        **dict.fromkeys(_CALLBACK_NAMES, _Placeholder),
    }
    return {
        "freqtrade": {},
        "freqtrade.strategy": every,
        "freqtrade.strategy.interface": {"IStrategy": IStrategy},
        "freqtrade.strategy.hyper": family,
        "freqtrade.strategy.parameters": family,
        "freqtrade.strategy.strategy_helper": merging,
        "freqtrade.strategy.informative_decorator": {"informative": informative.informative},
        "freqtrade.persistence": database,
        "freqtrade.exchange": _TIMES,
        "freqtrade.vendor": {},
        "freqtrade.vendor.qtpylib": {},
        "freqtrade.vendor.qtpylib.indicators": helpers,
        **({"technical": {}, "technical.qtpylib": helpers} if is_replaced("technical") else {}),
    }


def is_replaced(module: str) -> bool:
    """Return whether a module is replaced: any of freqtrade; of technical if not installed."""
    top = module.partition(".")[0]
    if top == "technical":
        return top not in sys.modules and PathFinder.find_spec(top) is None
    return top == "freqtrade"


def find_offered_names(module: str) -> frozenset[str] | None:
    """Return the importable names of a module of freqtrade; None: the module is not offered."""
    found = _collect_names_by_module()
    if module not in found:
        return None
    below = {name.rpartition(".")[2] for name in found if name.rpartition(".")[0] == module}
    return frozenset(found[module]) | below


@contextmanager
def replace_freqtrade_modules() -> Generator[None]:
    """Make imports of `freqtrade` inside the block find the replacing modules."""
    names = _collect_names_by_module()
    tops = {name.partition(".")[0] for name in names}
    before = {name: one for name, one in sys.modules.items() if name.partition(".")[0] in tops}
    for name in before:
        del sys.modules[name]
    sys.modules.update(_make_modules(names))
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
            del sys.modules[name]
        sys.modules.update(before)


def _make_modules(names: Mapping[str, Mapping[str, Any]]) -> dict[str, ModuleType]:
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        vars(module).update(names[name])
        # A package, so that `import freqtrade.strategy` finds a module below it.
        module.__path__ = []
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
    return modules
