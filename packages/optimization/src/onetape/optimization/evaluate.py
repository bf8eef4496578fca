"""Evaluation of one combination: a backtest of the in-sample part and one of the other part.

Each backtest reads only the candles of its part, so no out-of-sample data reaches the choice.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from onetape.backtest.models import CandleWindow
from onetape.core.candles import Candles, are_sound
from onetape.core.errors import DataError, OnetapeError
from onetape.core.timeframes import Timeframe
from onetape.engine import (
    AccountConfig,
    IntrabarSource,
    MetricsContext,
    SimulationResult,
    make_metrics_context,
    simulate,
)
from onetape.optimization.account_parameters import (
    apply_account_parameters,
    select_strategy_parameters,
)
from onetape.optimization.details import make_trial_details
from onetape.optimization.space import ParameterSet
from onetape.optimization.user_metrics import (
    MetricError,
    UserMetric,
    compute_part_metrics,
    encode_failure,
)
from onetape.strategies import Higher, Signals, Strategy, get_higher_lookback, get_lookback
from onetape.strategies.indicator_cache import IndicatorCache
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import (
    UnexplainedGaps,
    drop_entries_before_gaps,
    end_limits_at_gaps,
    evaluate_by_segment,
    split_into_segments,
)


class SearchContext(Struct, frozen=True, dict=True):
    """Candles and rules that every combination is evaluated with."""

    window: CandleWindow
    """The whole range, with enough warm-up for every combination."""
    in_sample: int
    """Number of in-sample candles at the start of the range; the others are out-of-sample."""
    rules: AccountConfig
    """Account settings with the market's trading rules."""
    higher: Higher
    """Higher-timeframe candles of the window, enough for every combination."""
    intrabar: IntrabarSource | None = None
    """Intrabar candles of the range, in memory: a database connection does not survive a fork.
    None: none are used."""
    closes_for_size: int = 0
    """Number of closes before an entry from which its size is computed."""
    gaps: UnexplainedGaps = UnexplainedGaps()
    """The unexplained gaps of the window and of the higher timeframes."""
    has_volume: bool | None = None
    """Whether any stored candle of the series has volume; None: only the window is known."""
    risk_free_rate: float = 0.0
    """Risk-free rate per year in the Sharpe and Sortino ratios, as a ratio."""

    @cached_property
    def metrics_contexts(self) -> tuple[MetricsContext, MetricsContext]:
        """Return the metrics context of each part: values that depend on the candles alone."""
        candles = self.window.candles
        middle = self.window.warm_up + self.in_sample
        parts = (candles[self.window.warm_up : middle], candles[middle:])
        first, second = (
            make_metrics_context(part, self.rules, self.risk_free_rate) for part in parts
        )
        return first, second

    @cached_property
    def are_sound(self) -> bool:
        """Return whether all candles are sound, so that no combination need check them."""
        return are_sound(self.window.candles)

    @property
    def split(self) -> int:
        """Return the open of the first candle that is out-of-sample, epoch seconds."""
        return int(self.window.candles.timestamp[self.window.warm_up + self.in_sample])


def count_in_sample_candles(window: CandleWindow, out_of_sample: float) -> int:
    """Return the number of in-sample candles of the range.

    Args:
        window: Candles of the range.
        out_of_sample: Fraction of the range, at its end, that is out-of-sample.

    Raises:
        DataError: the range is too short for two parts.
    """
    candles = len(window.candles) - window.warm_up
    inside = round(candles * (1.0 - out_of_sample))
    if inside < 2 or candles - inside < 2:
        raise DataError(
            f"{window.key} has {candles:,} closed candles in the range, too few for an in-sample "
            "and an out-of-sample part; choose a longer one"
        )
    return inside


def compute_parts(
    context: SearchContext, lookback: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the in-sample and the out-of-sample part as a backtest would read them.

    Each is the index of the first candle with its warm-up, of the first traded candle, and the end
    (exclusive).
    """
    window = context.window
    split = window.warm_up + context.in_sample
    window_size = compute_window_size(lookback)
    return (
        (max(0, window.warm_up - window_size), window.warm_up, split),
        (max(0, split - window_size), split, len(window.candles)),
    )


def evaluate_parts(
    strategy: Strategy, context: SearchContext, rules: AccountConfig | None = None
) -> tuple[SimulationResult, SimulationResult]:
    """Return the backtests of the in-sample and of the out-of-sample part.

    Each part is evaluated on its own candles, so that not even a strategy with look-ahead uses the
    out-of-sample part.

    Args:
        strategy: The strategy.
        context: Candles and rules.
        rules: Rules of the account; None: the rules of the context.

    Raises:
        OnetapeError: the strategy failed; the text names the place.
    """
    lookback = max(get_lookback(strategy), context.closes_for_size)
    first, second = compute_parts(context, lookback)
    inside = simulate_part(strategy, context, first, rules)
    return inside, simulate_part(strategy, context, second, rules)


def simulate_part(
    strategy: Strategy,
    context: SearchContext,
    part: tuple[int, int, int],
    rules: AccountConfig | None = None,
) -> SimulationResult:
    """Return the backtest of a part of the range, evaluated on its own candles.

    Args:
        strategy: The strategy.
        context: Candles and rules.
        part: First candle read, first candle traded, and the end, as `compute_parts` returns them.
        rules: Rules of the account; None: the rules of the context.

    Raises:
        OnetapeError: the strategy failed; the text names the place.
    """
    first, traded, end = part
    candles, signals = compute_part_signals(strategy, context, part)
    gaps = context.gaps.select_range(first, end)
    return simulate(
        candles,
        signals.signal,
        context.rules if rules is None else rules,
        start_index=traded - first,
        intrabar=context.intrabar,
        has_volume=context.has_volume,
        levels=end_limits_at_gaps(signals.level_columns, gaps),
    )


def compute_part_signals(
    strategy: Strategy, context: SearchContext, part: tuple[int, int, int]
) -> tuple[Candles, Signals]:
    """Return the candles of a part, warm-up included, and the signals on them.

    Raises:
        OnetapeError: the strategy failed; the text names the place.
    """
    first, _, end = part
    whole = context.window.candles
    candles = whole[first:end]
    higher: Higher = {}
    count = compute_window_size(get_higher_lookback(strategy) if context.higher else 0)
    if context.higher:
        higher = {
            name: higher_candles.select_known(whole, first, end, count)
            for name, higher_candles in context.higher.items()
        }
    gaps = context.gaps.select_range(first, end)
    timeframe = Timeframe.parse(context.window.key.timeframe)
    lookback = max(get_lookback(strategy), context.closes_for_size)
    segments = split_into_segments(candles, timeframe, gaps, compute_window_size(lookback), count)
    signals = evaluate_by_segment(strategy, candles, higher, segments, are_sound=context.are_sound)
    return candles, replace(signals, signal=drop_entries_before_gaps(signals.signal, gaps))


class Job(Struct, frozen=True):
    """One combination to evaluate."""

    parameters: ParameterSet
    """Parameters of the combination by name."""
    has_details: bool = False
    """Whether the result has daily returns and positions of the in-sample part."""


class Evaluator:
    """Evaluates combinations in a worker process; an instance is called with each `Job`."""

    def __init__(
        self,
        strategy: type[Strategy],
        context: SearchContext,
        user_metrics: Sequence[UserMetric] = (),
    ) -> None:
        """Compute the data that all combinations share, once for all processes.

        Args:
            strategy: Strategy of the combinations.
            context: Candles and rules.
            user_metrics: Metrics of the user, in addition to those of docs/metrics.md.
        """
        self._strategy = strategy
        self._context = context
        self._user_metrics = user_metrics
        self._columns = IndicatorCache((context.window.candles, *context.higher.values()))
        _ = context.metrics_contexts, context.are_sound

    def __call__(self, job: Job) -> bytes:
        """Return the line of the results, without its end: metrics of both parts, or the error.

        If a metric of the user gives no number, the line is that of `encode_failure`.
        """
        line: dict[str, Any] = {"parameters": job.parameters}
        try:
            with self._columns.activate():
                strategy = self._strategy(**select_strategy_parameters(job.parameters))
                timeframe = self._context.window.key.timeframe
                rules = apply_account_parameters(self._context.rules, job.parameters, timeframe)
                first, second = evaluate_parts(strategy, self._context, rules)
            metrics_contexts = self._context.metrics_contexts
            mine = self._user_metrics
            line["in_sample"] = compute_part_metrics(first, metrics_contexts[0], mine, "in-sample")
            line["out_of_sample"] = compute_part_metrics(
                second, metrics_contexts[1], mine, "out-of-sample"
            )
            details = (
                make_trial_details(first, metrics_contexts[0].calendar) if job.has_details else None
            )
            if details is not None:
                line["details"] = details
        except MetricError as error:
            return encode_failure(error)
        except OnetapeError as error:
            line = {"parameters": job.parameters, "error": " ".join(str(error).split())}
        except (Exception, SystemExit) as error:
            text = f"unexpected {type(error).__name__}: {error}"
            line = {"parameters": job.parameters, "error": " ".join(text.split())}
        return msgspec.json.encode(line)
