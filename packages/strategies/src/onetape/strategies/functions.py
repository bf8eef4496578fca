"""A function of a DataFrame as a strategy: parameters, signals, measured lookback, digest.

    def dip(df, period: int = 20, width: float = 2.0):
        bands = indicators.bollinger(df.close, period, width)
        return Entries(entry=df.close < bands.lower, exit=df.close > bands.middle)

The function gets one DataFrame of candles (open, high, low, close, volume; indexed by their open,
UTC) and returns for each candle whether to enter and whether to exit. Its parameters with defaults
are the strategy's parameters. A parameter called `higher` gets the candles of higher timeframes and
of other markets.
"""

import contextlib
import dataclasses
import dis
import hashlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, cast

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray
from onetape.core.errors import ConfigurationError
from onetape.core.strategy_levels import LevelMode
from onetape.strategies.higher_timeframes import HigherCandles, Market
from onetape.strategies.indicator_cache import as_array
from onetape.strategies.interface import SignalArray, Signals, Strategy
from onetape.strategies.measured_lookback import measure_lookback

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: Attribute of a function that holds its `FunctionOptions`.
_OPTIONS: Final = "__onetape_options__"


class Entries(Struct, frozen=True):
    """Result of a strategy function; all columns have one value per candle."""

    entry: Any
    """Whether to buy; boolean Series or array, shape (n,)."""
    exit: Any
    """Whether to sell; boolean Series or array, shape (n,). Where both are true: no order."""
    plot: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Columns in the unit of the price, drawn over the candles, by name."""
    panes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Columns in other units, drawn in panes below the candles, by name."""
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Named conditions, whether each is met per candle, such as {"rsi low": rsi < 30}."""
    stop: Any = None
    """Price at which a position is sold at the market, NaN for no price, shape (n,)."""
    target: Any = None
    """Price of a limit order that sells a position, NaN for no price, shape (n,)."""
    stop_mode: LevelMode = "at_entry"
    """`at_entry`: the stop of the candle with the entry stays; `each_candle`: the stop moves, up
    only."""
    target_mode: LevelMode = "at_entry"
    """`at_entry`: the target of the candle with the entry stays; `each_candle`: the target
    moves."""
    limit: Any = None
    """Price of the limit order that an entry leads to, NaN for a market order, shape (n,); the
    function declares `limit_expiry_candles`."""


class FunctionOptions(Struct, frozen=True):
    """Declarations of a strategy function."""

    lookback: int | None = None
    """Number of candles that give the last signal exactly as all candles would; None: measured."""
    higher: tuple[str, ...] = ()
    """CCXT timeframes whose candles the parameter `higher` gets."""
    informative: tuple[Market, ...] = ()
    """Other markets whose candles the parameter `higher` gets."""
    limit_expiry_candles: int | None = None
    """Number of candles for which a limit order to buy stays open; None: no limit orders."""

    @property
    def has_inputs(self) -> bool:
        """Return whether the function reads more than the traded candles."""
        return bool(self.higher or self.informative)


def strategy_function(
    *,
    lookback: int | None = None,
    higher: Sequence[str] = (),
    informative: Sequence[Market] = (),
    limit_expiry_candles: int | None = None,
) -> Callable[[_Function], _Function]:
    """Declare properties of a strategy function that cannot be measured.

    Args:
        lookback: Number of candles that give the last signal exactly as all candles would; None:
            it is measured.
        higher: CCXT timeframes whose candles the function's parameter `higher` gets.
        informative: Other markets whose candles `higher` gets, such as Market("BTC/USDT", "1h").
        limit_expiry_candles: Number of candles for which a limit order to buy stays open; None: the
            function returns no limit prices.
    """

    def declare(function: _Function) -> _Function:
        options = FunctionOptions(lookback, tuple(higher), tuple(informative), limit_expiry_candles)
        setattr(function, _OPTIONS, options)
        return function

    return declare


@dataclass(frozen=True)
class FunctionStrategy(Strategy):
    """A strategy that calls a function; `make_function_class` makes a subclass of each one."""

    function: ClassVar[types.FunctionType]
    """The user's function."""
    options: ClassVar[FunctionOptions]
    """Declarations of the function."""
    measured: ClassVar[dict[tuple[Any, ...], int]]
    """Measured lookbacks by the values of the parameters."""

    @property
    def lookback(self) -> int:
        """Return the declared lookback, or the measured one.

        Raises:
            ConfigurationError: the lookback cannot be measured.
        """
        declared = type(self).options.lookback
        return get_measured_lookback(self) if declared is None else declared

    @property
    def limit_expiry_candles(self) -> int | None:
        """Return the declared number of candles for which a limit order to buy stays open."""
        return type(self).options.limit_expiry_candles

    def evaluate(self, candles: Candles, higher: Mapping[str, HigherCandles]) -> Signals:
        """Return the signals of these candles; arguments as of `Strategy.evaluate`."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        if "higher" in inspect.signature(type(self).function).parameters:
            values["higher"] = higher
        found: Any = type(self).function(candles.frame(), **values)
        if not isinstance(found, Entries):
            msg = f"it must return Entries(entry=..., exit=...), found {type(found).__name__}"
            raise TypeError(msg)
        columns = {
            name: _convert_column(column) for name, column in {**found.plot, **found.panes}.items()
        }
        met = {name: _convert_condition(column) for name, column in found.conditions.items()}
        return Signals(
            _make_signal(found),
            columns,
            overlays=frozenset(found.plot),
            conditions=met,
            stop=None if found.stop is None else _convert_column(found.stop),
            target=None if found.target is None else _convert_column(found.target),
            stop_mode=found.stop_mode,
            target_mode=found.target_mode,
            limit=None if found.limit is None else _convert_column(found.limit),
        )


def make_function_class(function: Callable[..., Any]) -> type[FunctionStrategy]:
    """Return the strategy class of a function.

    Raises:
        ConfigurationError: the function has a parameter without a default, or of another type than
            int, float, str and bool, or needs `higher` without declaring its entries.
    """
    plain = cast("types.FunctionType", function)
    name = getattr(plain, "__name__", "strategy")
    options: FunctionOptions = getattr(plain, _OPTIONS, FunctionOptions())
    fields = [_make_field(name, one) for one in _collect_parameters(plain, name, options)]
    namespace = {"name": name, "function": staticmethod(plain), "options": options}
    namespace |= {"higher_timeframes": options.higher, "informative": options.informative}
    namespace |= {"measured": {}}
    made = dataclasses.make_dataclass(
        name, fields, bases=(FunctionStrategy,), frozen=True, namespace=namespace
    )
    made.__module__ = plain.__module__
    return made


def _collect_parameters(
    function: types.FunctionType, name: str, options: FunctionOptions
) -> list[inspect.Parameter]:
    """Return the parameters of a strategy function, without candles and `higher`."""
    try:
        given = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{function!r} is not a function of a DataFrame") from error
    parameters = [one for one in given[1:] if one.name != "higher"]
    if not given:
        raise ConfigurationError(f"strategy function {name} must take a DataFrame of candles first")
    if len(parameters) < len(given) - 1 and not options.has_inputs:
        raise ConfigurationError(
            f"strategy function {name} takes `higher`; declare its timeframes: "
            '@strategy_function(higher=("1d",))'
        )
    return parameters


def _make_field(name: str, parameter: inspect.Parameter) -> tuple[str, type, Any]:
    default: Any = parameter.default
    if default is inspect.Parameter.empty or type(default) not in (int, float, str, bool):
        raise ConfigurationError(
            f"strategy function {name}: parameter {parameter.name} needs a default that is a "
            f"number, a text or yes/no, such as {parameter.name}: int = 20"
        )
    # `width: float = 2` is a float; every other parameter has the type of its default.
    is_float = parameter.annotation in (float, "float") and type(default) is int
    value: Any = float(default) if is_float else default
    return parameter.name, cast("type", value.__class__), dataclasses.field(default=value)


def _make_signal(found: Entries) -> SignalArray:
    entry, exit_ = (_convert_condition(column) for column in (found.entry, found.exit))
    return entry.astype(np.int8) - exit_.astype(np.int8)


def _convert_condition(column: object) -> NDArray[np.bool_]:
    """Return a condition as booleans; a missing value is false."""
    fill = getattr(column, "fillna", None)
    values = np.asarray(column if fill is None else fill(False))
    if values.dtype != np.bool_:
        msg = f"entry and exit must be true or false for each candle, found {values.dtype}"
        raise TypeError(msg)
    return values


def _convert_column(column: object) -> FloatArray:
    return np.asarray(as_array(column), dtype=np.float64)


#: Measured lookbacks by the digest of the function and its parameters: measuring takes a second.
_MEASURED: Final = dict[tuple[Any, ...], int]()


def get_measured_lookback(strategy: FunctionStrategy) -> int:
    """Return the smallest number of candles that give the same signals as all candles, measured.

    The lookback is measured on the same invented candles everywhere, so that backtest, check and
    trader use one lookback (measured_lookback.py). The bias check of a run shows where it is too
    short for real candles.

    Raises:
        ConfigurationError: not even 2,000 candles are enough, the function fails, or its lookback
            must be declared because it uses higher timeframes or other markets.
    """
    values = tuple(getattr(strategy, one.name) for one in dataclasses.fields(strategy))
    measured = type(strategy).measured
    if values not in measured:
        key = (digest_function(type(strategy).function), *values)
        if key not in _MEASURED:
            options = type(strategy).options
            if options.has_inputs:
                used, name = ("higher timeframes", "higher")
                if not options.higher:
                    used, name = ("other markets", "informative")
                raise ConfigurationError(
                    f"strategy function {strategy.name} uses {used}; declare its "
                    f"lookback: @strategy_function(lookback=200, {name}=...)"
                )
            _MEASURED[key] = measure_lookback(strategy)
        measured[values] = _MEASURED[key]
    return measured[values]


def collect_captured_values(function: Callable[..., Any]) -> dict[str, str]:
    """Return the outside values that a function reads, as text by name.

    Outside values are those of the function's module and of enclosing functions that are no module,
    function or class.
    """
    found = _collect_outside_values(function)
    hidden = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
    return {
        name: repr(value)[:200]
        for name, value in sorted(found.items())
        if not isinstance(value, hidden) and typing.get_origin(value) is None
    }


def _collect_outside_values(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the objects that a function reads from its module and enclosing functions, by name.

    Python's `inspect.getclosurevars` is not used, because it takes the attribute in `df.close` for
    a global `close`.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    known: Mapping[str, Any] = function.__globals__
    found = {name: known[name] for name in _collect_global_names(code) if name in known}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        # A cell is empty until the enclosing function gives the name a value.
        with contextlib.suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _collect_global_names(code: types.CodeType) -> set[str]:
    """Return the names that code, or a function inside it, loads as globals."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname == "LOAD_GLOBAL"
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return names.union(*map(_collect_global_names, inner))


def format_capture_warning(strategy: Strategy) -> str:
    """Return the warning about values outside a strategy function that it reads; empty: none."""
    function = getattr(type(strategy), "function", None)
    captured = {} if function is None else collect_captured_values(function)
    if not captured:
        return ""
    values = ", ".join(f"{name} = {text}" for name, text in captured.items())
    return (
        f"strategy function {strategy.name} reads values from outside: {values}; they are part of "
        "the digest, and no parameters"
    )


def get_source(function: Callable[..., Any]) -> str:
    """Return the source of a function, or its compiled code where the source is not known."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return "" if code is None else f"{code.co_code.hex()} {code.co_consts!r} {code.co_names!r}"


def digest_function(function: Callable[..., Any]) -> str:
    """Return the SHA-256, in hex, of a function's source, captured values and helper functions."""
    total = hashlib.sha256()
    seen: set[int] = set()

    def add(one: Callable[..., Any]) -> None:
        if id(one) in seen:
            return
        seen.add(id(one))
        total.update(get_source(one).encode())
        total.update(repr(collect_captured_values(one)).encode())
        for value in _collect_outside_values(one).values():
            if isinstance(value, types.FunctionType) and value.__module__ == one.__module__:
                add(value)

    add(function)
    return total.hexdigest()
