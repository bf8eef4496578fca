"""Walk-forward: choose on a training part, trade the next part, and stitch the test parts."""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import FloatArray
from onetape.core.errors import OnetapeError
from onetape.core.strategy_levels import LevelColumns
from onetape.engine import (
    AccountConfig,
    Metrics,
    MetricsContext,
    SimulationResult,
    compute_metrics,
    make_metrics_context,
    simulate,
)
from onetape.engine.ratios import compute_period_rate, compute_period_returns, make_calendar
from onetape.optimization.details import compute_market_returns, make_timed_positions
from onetape.optimization.evaluate import Job, SearchContext, compute_part_signals, simulate_part
from onetape.optimization.judge import (
    JudgedRun,
    SharpeEvidence,
    compute_sharpe_evidence,
    double_costs,
    make_deflated_rung,
    make_money_rungs,
    make_timing_rung,
)
from onetape.optimization.ranking import MinTrades, TrialResult, get_metric_value, rank_results
from onetape.optimization.statistics.random_timing import compute_random_timing
from onetape.optimization.statistics.sharpe import compute_return_moments
from onetape.optimization.user_metrics import (
    MetricError,
    UserMetric,
    compute_part_metrics,
    encode_failure,
)
from onetape.optimization.verdict import Verdict, has_failure
from onetape.optimization.windows import WalkForwardWindow, WindowScheme
from onetape.strategies import SELL, SignalArray, Strategy, get_lookback
from onetape.strategies.indicator_cache import IndicatorCache
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import end_limits_at_gaps

_YEAR_SECONDS: Final = 365 * 86_400


class WindowChoice(Struct, frozen=True):
    """Choice of one window and its outcome."""

    train_start: int
    """Start of the training part, epoch seconds."""
    test_start: int
    """Start of the test part and end of the training part, epoch seconds."""
    test_end: int
    """End of the test part, exclusive, epoch seconds."""
    parameters: dict[str, Any] | None
    """Chosen parameters; None: no combination has enough trades, so nothing is traded."""
    in_sample: float | None
    """Ranking metric of the choice in the training part."""
    in_sample_return: float | None
    """Total return of the choice in the training part."""
    out_of_sample_return: float
    """Total return of the test part, from the stitched equity."""
    efficiency: float | None
    """Annual return of the test part over that of the training part; None where the latter is not
    positive."""


class ParameterStability(Struct, frozen=True):
    """Changes of a chosen parameter from window to window."""

    name: str
    """Name of the parameter."""
    values: list[Any]
    """Chosen value of each window; None where nothing was chosen."""
    changes: int
    """Number of windows whose value differs from that of the window before."""


class WalkForward(Struct, frozen=True):
    """Result of a walk-forward."""

    scheme: WindowScheme
    """Lengths of training and test parts."""
    windows: list[WindowChoice]
    """Choice and outcome of each window, oldest first."""
    metrics: Metrics
    """Metrics of the stitched out-of-sample equity, which is one account over all test parts."""
    hold_return: float
    """Return of holding the market at the exposure of the stitched equity."""
    efficiency: float | None
    """Median of the windows' efficiencies; None where no training part was profitable."""
    stability: list[ParameterStability]
    """Changes of each parameter from window to window."""
    sharpe: SharpeEvidence
    """Sharpe ratios that the tests of skill compare."""
    verdict: Verdict
    """Verdict on the stitched equity."""
    result: SimulationResult
    """Backtest of the stitched signals."""


class WindowEvaluator:
    """Evaluates a combination on the training part of each window, in a worker process."""

    def __init__(
        self,
        strategy: type[Strategy],
        context: SearchContext,
        windows: Sequence[WalkForwardWindow],
        user_metrics: Sequence[UserMetric] = (),
    ) -> None:
        """Compute the data that all combinations share.

        Args:
            strategy: Strategy of the combinations.
            context: Candles and rules.
            windows: Windows of the range.
            user_metrics: Metrics of the user, in addition to those of docs/metrics.md.
        """
        self._strategy, self._context, self._windows = strategy, context, windows
        self._user_metrics = user_metrics
        self._columns = IndicatorCache((context.window.candles, *context.higher.values()))
        self._backgrounds: list[MetricsContext] = [
            make_metrics_context(
                context.window.candles[each.train_start : each.test_start],
                context.rules,
                context.risk_free_rate,
            )
            for each in windows
        ]
        _ = context.are_sound

    def __call__(self, job: Job) -> bytes:
        """Return the line of the results, without its end: metrics by window, or the error.

        If a metric of the user gives no number, the line is that of `encode_failure`.
        """
        line: dict[str, Any] = {"parameters": job.parameters}
        try:
            with self._columns.activate():
                strategy = self._strategy(**job.parameters)
                line["windows"] = [
                    compute_part_metrics(
                        simulate_part(
                            strategy,
                            self._context,
                            compute_training_part(self._context, strategy, window),
                        ),
                        background,
                        self._user_metrics,
                        f"training part of window {number}",
                    )
                    for number, (window, background) in enumerate(
                        zip(self._windows, self._backgrounds, strict=True), start=1
                    )
                ]
        except MetricError as error:
            return encode_failure(error)
        except OnetapeError as error:
            line = {"parameters": job.parameters, "error": " ".join(str(error).split())}
        except (Exception, SystemExit) as error:
            text = f"unexpected {type(error).__name__}: {error}"
            line = {"parameters": job.parameters, "error": " ".join(text.split())}
        return msgspec.json.encode(line)


def compute_training_part(
    context: SearchContext, strategy: Strategy, window: WalkForwardWindow
) -> tuple[int, int, int]:
    """Return the indices of a training part: first candle read, first one traded, end."""
    return _compute_part(context, strategy, window.train_start, window.test_start)


def _compute_part(
    context: SearchContext, strategy: Strategy, start: int, end: int
) -> tuple[int, int, int]:
    count = compute_window_size(max(get_lookback(strategy), context.closes_for_size))
    return max(0, start - count), start, end


def walk_forward(
    strategy: type[Strategy],
    found: Sequence[TrialResult],
    context: SearchContext,
    windows: Sequence[WalkForwardWindow],
    scheme: WindowScheme,
    metrics: Sequence[str],
    min_trades: int,
    looks: int,
) -> WalkForward:
    """Choose in each window, trade the test parts on one account, and judge the result.

    Args:
        strategy: Strategy of the combinations.
        found: Results of the combinations that have one.
        context: Candles and rules.
        windows: Windows of the range.
        scheme: Lengths of the windows, and treatment of positions at a boundary.
        metrics: Metrics to rank by.
        min_trades: Closed trades that a combination needs in a training part to be chosen.
        looks: Number of looks at the test parts: choices and schemes whose result was computed,
            this one included.

    Raises:
        OnetapeError: a chosen strategy fails in its test part.
    """
    chosen = [_choose_best(found, number, metrics, min_trades) for number in range(len(windows))]
    stitched = _stitch_signals(strategy, chosen, context, windows, scheme)
    result = _simulate_test_parts(context, windows, stitched, context.rules)
    doubled = _simulate_test_parts(context, windows, stitched, double_costs(context.rules))
    choices = [
        _make_window_choice(context, window, best, metrics[0], result, windows[0].test_start)
        for window, best in zip(windows, chosen, strict=True)
    ]
    judged = _make_judged_run(result, doubled, context.risk_free_rate)
    rate = compute_period_rate(context.risk_free_rate, judged.periods)
    evidence = compute_sharpe_evidence(
        compute_return_moments(judged.returns - rate), [], judged.periods, looks
    )
    rungs = make_money_rungs(judged, "out of sample")
    timing = None
    if not has_failure(rungs):
        positions = make_timed_positions(
            result.fill_log.get_entry_bars(),
            result.fill_log.get_exit_bars(),
            len(result.candles),
            context.rules,
        )
        timing = compute_random_timing(compute_market_returns(result.candles), [positions])
    rungs.append(make_timing_rung(timing))
    rungs.append(make_deflated_rung(evidence, "out of sample", "walk-forwards", is_by_sharpe=True))
    known = [each.efficiency for each in choices if each.efficiency is not None]
    return WalkForward(
        scheme,
        choices,
        judged.metrics,
        judged.hold_return,
        median(known) if known else None,
        _compute_stability(chosen),
        evidence,
        Verdict(tuple(rungs)),
        result,
    )


def _choose_best(
    found: Sequence[TrialResult], number: int, metrics: Sequence[str], min_trades: int
) -> TrialResult | None:
    """Return the best combination of a training part, in the form of an optimization's result."""
    results = [
        {"parameters": one["parameters"], "in_sample": one["windows"][number]} for one in found
    ]
    minimum = MinTrades(in_sample=min_trades)
    order = rank_results(results, metrics, minimum)
    return order[0] if order and minimum.is_ranked(order[0]) else None


def _stitch_signals(
    strategy: type[Strategy],
    chosen: Sequence[TrialResult | None],
    context: SearchContext,
    windows: Sequence[WalkForwardWindow],
    scheme: WindowScheme,
) -> tuple[SignalArray, LevelColumns | None]:
    """Return signals and prices of the test parts, each by its choice; without a choice HOLD."""
    begin = windows[0].test_start
    count = windows[-1].test_end - begin
    signals, expiries = np.zeros(count, dtype=np.int8), np.ones(count, dtype=np.int64)
    levels: LevelColumns | None = None
    for window, best in zip(windows, chosen, strict=True):
        first, end = window.test_start - begin, window.test_end - begin
        if best is not None:
            instance = strategy(**best["parameters"])
            part = _compute_part(context, instance, window.test_start, window.test_end)
            found = compute_part_signals(instance, context, part)[1]
            tested = slice(part[1] - part[0], None)
            signals[first:end] = found.signal[tested]
            expiries[first:end] = found.limit_expiry_candles
            if found.level_columns is not None:
                known = levels or LevelColumns()
                levels = LevelColumns(
                    _put_prices(known.stop, found.stop, tested, first, count),
                    _put_prices(known.target, found.target, tested, first, count),
                    found.stop_mode,
                    found.target_mode,
                    _put_prices(known.limit, found.limit, tested, first, count),
                )
        if scheme.boundary == "close" or best is None:
            # A SELL on the last candle fills at the first open of the next part, with all costs.
            signals[end - 1] = SELL
    if levels is None or levels.limit is None:
        return signals, levels
    return signals, replace(levels, expiry_by_candle=expiries)


def _put_prices(
    column: FloatArray | None, part: FloatArray | None, tested: slice, first: int, count: int
) -> FloatArray | None:
    """Return the prices of all test parts with those of one part.

    Args:
        column: Prices so far; None: none yet.
        part: Prices of one part, warm-up included; None: none.
        tested: Rows of the part without its warm-up.
        first: First candle of the part.
        count: Number of candles of all test parts.
    """
    if part is None:
        return column
    column = np.full(count, np.nan) if column is None else column
    prices = part[tested]
    column[first : first + len(prices)] = prices
    return column


def _simulate_test_parts(
    context: SearchContext,
    windows: Sequence[WalkForwardWindow],
    stitched: tuple[SignalArray, LevelColumns | None],
    rules: AccountConfig,
) -> SimulationResult:
    begin, end = windows[0].test_start, windows[-1].test_end
    before = min(begin, context.closes_for_size)
    signal, levels = stitched
    if levels is not None:
        gaps = context.gaps.select_range(begin - before, end)
        levels = end_limits_at_gaps(_pad_levels(levels, before), gaps)
    return simulate(
        context.window.candles[begin - before : end],
        np.concatenate((np.zeros(before, dtype=np.int8), signal)),
        rules,
        start_index=before,
        intrabar=context.intrabar,
        has_volume=context.has_volume,
        levels=levels,
    )


def _pad_levels(levels: LevelColumns, count: int) -> LevelColumns:
    """Return levels with so many candles without a price in front."""
    nothing, expiries = np.full(count, np.nan), levels.expiry_by_candle
    return replace(
        levels,
        stop=None if levels.stop is None else np.concatenate((nothing, levels.stop)),
        target=None if levels.target is None else np.concatenate((nothing, levels.target)),
        limit=None if levels.limit is None else np.concatenate((nothing, levels.limit)),
        expiry_by_candle=None
        if expiries is None
        else np.concatenate((np.ones(count, dtype=np.int64), expiries)),
    )


def _make_window_choice(
    context: SearchContext,
    window: WalkForwardWindow,
    best: TrialResult | None,
    metric: str,
    result: SimulationResult,
    begin: int,
) -> WindowChoice:
    """Return the choice of a window with the returns of its two parts."""
    times = context.window.candles.timestamp
    equity = np.concatenate(([result.start_cash], result.equity))
    first, last = equity[window.test_start - begin], equity[window.test_end - begin]
    later = float(last / first) - 1.0 if first > 0 else 0.0
    end = context.window.end if window.test_end == len(times) else int(times[window.test_end])
    train_start, test_start = int(times[window.train_start]), int(times[window.test_start])
    earlier = None if best is None else float(best["in_sample"]["total_return"])
    efficiency = None
    if earlier is not None and earlier > 0 and later > -1:
        annual = math.log1p(later) / (end - test_start)
        efficiency = annual / (math.log1p(earlier) / (test_start - train_start))
    return WindowChoice(
        train_start,
        test_start,
        end,
        None if best is None else dict(best["parameters"]),
        None if best is None else get_metric_value(best, "in_sample", metric),
        earlier,
        later,
        efficiency,
    )


def _make_judged_run(
    result: SimulationResult, doubled: SimulationResult, risk_free_rate: float
) -> JudgedRun:
    calendar = make_calendar(result.candles.timestamp)
    returns, periods = compute_period_returns(result.start_cash, result.equity, calendar)
    market, _ = compute_period_returns(
        float(result.candles.open[0]), result.candles.close, calendar
    )
    metrics, costly = (
        compute_metrics(one, risk_free_rate=risk_free_rate) for one in (result, doubled)
    )
    return JudgedRun(metrics, costly, returns, market, periods)


def _compute_stability(chosen: Sequence[TrialResult | None]) -> list[ParameterStability]:
    sets: list[Mapping[str, Any] | None] = [
        None if one is None else one["parameters"] for one in chosen
    ]
    names: list[str] = next(([*one] for one in sets if one is not None), list[str]())
    found: list[ParameterStability] = []
    for name in names:
        values = [None if one is None else one[name] for one in sets]
        changes = sum(before != after for before, after in itertools.pairwise(values))
        found.append(ParameterStability(name, values, changes))
    return found


def compute_daily_equity(result: SimulationResult) -> tuple[list[int], FloatArray, FloatArray]:
    """Return days (epoch seconds), equity, and equity of holding the market at equal exposure.

    Both start at 1; the page draws them.
    """
    calendar = make_calendar(result.candles.timestamp)
    times = [int(time) for time in result.candles.timestamp[calendar.measured]]
    market, _ = compute_period_returns(
        float(result.candles.open[0]), result.candles.close, calendar
    )
    hold = np.cumprod(1.0 + result.exposure * market, dtype=np.float64)
    return times, result.equity[calendar.measured] / result.start_cash, hold
