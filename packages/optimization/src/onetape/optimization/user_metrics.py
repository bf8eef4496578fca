"""Metrics of the user: a Python file with a function that returns a number for a backtest.

    # user/metrics/steady.py
    def steady(run):
        return float(run.returns.mean() - 2 * run.returns.std()) if len(run.returns) else 0.0

`--rank user/metrics/steady.py` ranks by it, the highest first. The SHA-256 of the file is part of
the optimization's identity, so values of changed code are not mixed. In Python the function itself
is given: `ot.optimize(..., rank=steady)`.
"""

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from numbers import Real
from pathlib import Path
from types import FunctionType, ModuleType, TracebackType
from typing import Any, Final, cast

import msgspec
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import format_error, format_os_error, suggest_name
from onetape.engine import Metrics, MetricsContext, SimulationResult, compute_metrics
from onetape.engine.ratios import compute_period_returns
from onetape.engine.trade_stats import sum_trade_stats
from onetape.optimization.ranking import parse_metric_name
from onetape.strategies.output_capture import stdout_to_stderr
from onetape.strategies.user_modules import UserModuleLoader

#: Key of the identity of an optimization: digest of each metric of the user, by name.
USER_METRICS: Final = "user_metrics"
#: Longest name of a metric, in characters; it is the heading of a column.
_LONGEST_NAME: Final = 60
#: Beginning of the line of a combination for which a metric gave no number.
_FAILURE: Final = b'{"metric_failure":'


class MetricInput(Struct, frozen=True):
    """One backtest as the argument of a user's metric; all arrays are read-only.

    The n candles are those of the part that is evaluated: in-sample, out-of-sample or training.
    """

    metrics: Mapping[str, Any]
    """Built-in metrics by field (docs/metrics.md): ratios are fractions, times are seconds, money
    is quote currency; None where a metric is not defined."""
    start_cash: float
    """Value of the account before the first candle, quote currency."""
    equity: FloatArray
    """Cash and position at each close, quote currency, shape (n,)."""
    candles: Candles
    """Candles of the part: timestamp (open, epoch seconds UTC), open, high, low, close (quote
    currency) and volume (base currency), shape (n,) each."""
    returns: FloatArray
    """Daily returns as fractions, from which built-in ratios are computed, shape (d,); candles
    longer than a day have one return each."""
    periods: float
    """Number of such returns in a year."""
    profits: FloatArray
    """Profit of each closed trade after fees, quote currency, oldest first, shape (t,)."""
    profit_ratios: FloatArray
    """Profit of each closed trade as a fraction of what was paid, shape (t,)."""
    entry_bars: IntArray
    """Index of the candle that filled each entry, shape (t,), or (t + 1,) with a position open at
    the end."""
    exit_bars: IntArray
    """Index of the candle that filled each exit, shape (t,)."""


class UserMetric(Struct, frozen=True):
    """A metric of the user; a higher value is better."""

    name: str
    """Name of the function, and of the metric in tables and --json."""
    file: str
    """Path of the file as `--rank` names it; of a function given in Python, the file that defines
    it."""
    digest: str
    """SHA-256 of the file's text, in hex; of a function given in Python, empty."""
    function: FunctionType
    """Function that takes a `MetricInput` and returns a number."""


#: A metric to rank by, as Python code gives it: its name, or a function of one backtest.
Rank = str | Callable[[MetricInput], float]


class MetricError(Exception):
    """A metric of the user gave no number; the text states where and why."""


def parse_ranks(texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[UserMetric, ...]]:
    """Return the names of the metrics that `--rank` gives, and those of the user among them.

    Raises:
        UsageError: no metric has that name, or a file has no such function.
        ConfigurationError: a file cannot be run.
    """
    return _collect_ranks(load_metric(text) if _is_file(text) else text for text in texts)


def parse_python_ranks(
    rank: Rank | Sequence[Rank],
) -> tuple[tuple[str, ...], tuple[UserMetric, ...]]:
    """Return the metrics that the argument `rank` names, and those that are functions.

    Raises:
        UsageError: no metric has that name, or a function cannot be a metric.
    """
    several = cast("Sequence[Rank]", rank)
    given = several if isinstance(rank, list | tuple) else (cast("Rank", rank),)
    return _collect_ranks(one if isinstance(one, str) else _take_function(one) for one in given)


def load_metric(text: str) -> UserMetric:
    """Return the metric of a file.

    Args:
        text: `FILE.py`, whose function is called like the file or is the only one, or
            `FILE.py:function`.

    Raises:
        UsageError: there is no such file or function, or its name is taken.
        ConfigurationError: the file cannot be run; the text names its line.
    """
    path_text, colon, given = text.rpartition(":")
    path = Path(path_text if colon and path_text.endswith(".py") else text)
    name, loader, module = _run_file(path, text)
    functions = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == name
    }
    chosen = (
        given if colon and path_text.endswith(".py") else _find_default_name(path, functions, text)
    )
    if chosen not in functions:
        known = ", ".join(functions) or "none"
        raise UsageError(
            f"--rank {text}: the file has no function {chosen!r}{suggest_name(chosen, functions)} "
            f"(it has: {known})"
        )
    _check_metric_name(chosen, f"--rank {text}")
    digest = hashlib.sha256(loader.source).hexdigest()
    return UserMetric(chosen, str(path), digest, functions[chosen])


def make_metrics_identity(metrics: Sequence[UserMetric]) -> dict[str, Any]:
    """Return the part of an optimization's identity for metrics of the user; empty: none."""
    return {USER_METRICS: {metric.name: metric.digest for metric in metrics}} if metrics else {}


def compute_part_metrics(
    result: SimulationResult, context: MetricsContext, user_metrics: Sequence[UserMetric], part: str
) -> Metrics | dict[str, Any]:
    """Return the metrics of a part of the range, with those of the user.

    Args:
        result: Backtest of the part.
        context: Metrics context of the part.
        user_metrics: Metrics of the user.
        part: Name of the part, for the text of a failure.

    Raises:
        MetricError: a metric of the user raised an exception or returned no finite number.
    """
    metrics = compute_metrics(result, context)
    if not user_metrics:
        return metrics
    given = _make_metric_input(result, metrics, context)
    return {
        **metrics.as_dict(),
        **{one.name: _compute_value(one, given, part) for one in user_metrics},
    }


def encode_failure(error: MetricError) -> bytes:
    """Return the line that a worker process returns for a combination without a number."""
    return msgspec.json.encode({"metric_failure": str(error)})


def decode_failure(line: bytes | None) -> str | None:
    """Return the text of a failure in the line of a worker process; None: it has a result."""
    if line is None or not line.startswith(_FAILURE):
        return None
    return str(msgspec.json.decode(line)["metric_failure"])


def _collect_ranks(
    ranks: Iterable[str | UserMetric],
) -> tuple[tuple[str, ...], tuple[UserMetric, ...]]:
    """Return the names of metrics in their order, and the metrics of the user among them.

    Raises:
        UsageError: no metric has that name, or two metrics of the user have one name.
    """
    names: list[str] = []
    by_name: dict[str, UserMetric] = {}
    for one in ranks:
        if isinstance(one, str):
            names.append(parse_metric_name(one))
            continue
        if one != by_name.setdefault(one.name, one):
            raise UsageError(
                f"rank: {one.file} and {by_name[one.name].file} both have a metric {one.name}; "
                "rename one of the functions"
            )
        names.append(one.name)
    return tuple(dict.fromkeys(names)), tuple(by_name.values())


def _take_function(function: Callable[[MetricInput], float]) -> UserMetric:
    """Return the metric of a function that Python code gives.

    Raises:
        UsageError: the value is no function, or its name cannot head a column.
    """
    if not isinstance(function, FunctionType):
        raise UsageError(
            "rank must be the name of a metric or a function defined with def, found a value of "
            f"type {type(function).__name__}"
        )
    name = function.__name__
    if not name.isidentifier():
        raise UsageError(f"rank: {name} has no name for its column; define the function with def")
    _check_metric_name(name, "rank")
    return UserMetric(name, function.__code__.co_filename, "", function)


def _check_metric_name(name: str, where: str) -> None:
    """Refuse a function whose name a metric of the user cannot have.

    Raises:
        UsageError: the name is one of Onetape's metrics, or too long.
    """
    if name in Metrics.__struct_fields__ or len(name) > _LONGEST_NAME:
        why = "is too long" if len(name) > _LONGEST_NAME else "is the name of a built-in metric"
        raise UsageError(f"{where}: {name[:_LONGEST_NAME]} {why}; rename the function")


def _is_file(text: str) -> bool:
    return text.endswith(".py") or text.rpartition(":")[0].endswith(".py")


def _find_default_name(path: Path, functions: Mapping[str, FunctionType], text: str) -> str:
    """Return the function called like its file, or the only public one."""
    public = [name for name in functions if not name.startswith("_")]
    if path.stem in functions:
        return path.stem
    if len(public) != 1:
        raise UsageError(
            f"--rank {text}: the file must have one function, or one called {path.stem} (it has: "
            f"{', '.join(public) or 'none'}); name one: {path}:function"
        )
    return public[0]


def _run_file(path: Path, text: str) -> tuple[str, UserModuleLoader, ModuleType]:
    """Run a metric's file; return the name of its module, its loader and the module.

    Raises:
        UsageError: there is no such file.
        ConfigurationError: the file cannot be run.
    """
    try:
        is_file = path.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise UsageError(f"--rank {text}: {format_os_error(error)}; name a .py file") from error
    if not is_file:
        raise UsageError(
            f"--rank {text}: file not found; "
            "give the path of a .py file with a function of one backtest"
        )
    where = str(path.resolve())
    name = f"onetape_metric_{hashlib.sha256(where.encode()).hexdigest()[:12]}"
    loader = UserModuleLoader(name, where)
    spec = ModuleSpec(name, loader, origin=where)
    spec.has_location = True  # which gives it a `__file__`
    module = module_from_spec(spec)
    # dataclasses look up the module of a class by its name.
    sys.modules[name] = module
    try:
        with stdout_to_stderr():
            loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = error.lineno if isinstance(error, SyntaxError) else None
        line = line or _find_line(where, error.__traceback__)
        why = f"{type(error).__name__}: {getattr(error, 'msg', None) or format_error(error)}"
        raise ConfigurationError(f"metric file {path}, line {line}: {why}; fix the file") from error
    return name, loader, module


def _compute_value(metric: UserMetric, given: MetricInput, part: str) -> float:
    """Return the value of a metric.

    Raises:
        MetricError: the function raised an exception or returned no finite number.
    """
    where = f"{metric.name} of {metric.file}, {part}"
    try:
        with stdout_to_stderr():
            value = metric.function(given)
    except (Exception, SystemExit) as error:
        file = metric.function.__code__.co_filename
        line = _find_line(file, error.__traceback__)
        why = f"{type(error).__name__}: {format_error(error)}".removesuffix(": ")
        raise MetricError(f"{where}: line {line}: {why}") from error
    # `numbers.Real` includes NumPy's numbers, but not its arrays and booleans.
    is_number = not isinstance(value, bool) and isinstance(value, Real)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        shown = str(number) if is_number else f"a value of type {type(value).__name__}"
        raise MetricError(f"{where}: it returned {shown}, not a finite number")
    return number


def _make_metric_input(
    result: SimulationResult, metrics: Metrics, context: MetricsContext
) -> MetricInput:
    returns, periods = compute_period_returns(result.start_cash, result.equity, context.calendar)
    stats, log = sum_trade_stats((result,)), result.fill_log
    candles = result.candles
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return MetricInput(
        metrics=metrics.as_dict(),
        start_cash=result.start_cash,
        equity=_make_read_only(result.equity),
        candles=Candles(
            _make_read_only(candles.timestamp), *(_make_read_only(column) for column in columns)
        ),
        returns=_make_read_only(returns),
        periods=periods,
        profits=_make_read_only(stats.profits),
        profit_ratios=_make_read_only(stats.ratios),
        entry_bars=_make_read_only(log.get_entry_column()),
        exit_bars=_make_read_only(log.get_exit_column()),
    )


def _make_read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view of an array."""
    view = values.view()
    view.flags.writeable = False
    return view


def _find_line(file: str, step: TracebackType | None) -> int:
    """Return the line of a file that an error passed through last; 1 where it did not."""
    line = 1
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    return line
