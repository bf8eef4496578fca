"""The judgement of the best combination: statistics of its returns, and the verdict's rungs.

docs/optimize.md explains the statistics; `statistics/` computes them.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace

from onetape.core.candles import FloatArray
from onetape.engine import AccountConfig, Metrics, SimulationResult, compute_metrics
from onetape.engine.ratios import compute_period_rate, compute_period_returns
from onetape.optimization.details import (
    compute_market_returns,
    make_daily_matrix,
    make_timed_positions,
)
from onetape.optimization.evaluate import SearchContext, compute_parts, simulate_part
from onetape.optimization.ranking import TrialResult
from onetape.optimization.statistics.bootstrap import (
    BootstrapIntervals,
    Interval,
    compute_bootstrap_intervals,
    compute_shuffled_drawdowns,
)
from onetape.optimization.statistics.cscv import Overfitting, compute_overfitting
from onetape.optimization.statistics.random_timing import RandomTiming, compute_random_timing
from onetape.optimization.statistics.sharpe import (
    ReturnMoments,
    compute_deflated_sharpe,
    compute_deflated_threshold,
    compute_minimum_backtest_years,
    compute_minimum_track_record,
    compute_probabilistic_sharpe,
    compute_return_moments,
    compute_smallest_detectable_sharpe,
)
from onetape.optimization.statistics.superior_ability import (
    SuperiorAbility,
    compute_superior_ability,
)
from onetape.optimization.verdict import Rung, Verdict, has_failure
from onetape.strategies import Strategy, get_lookback

#: Minimum numbers of in-sample daily returns and closed trades for a verdict.
MIN_RETURNS: Final = 60
MIN_CLOSED_TRADES: Final = 10
#: Probability that a rung of statistics needs.
CONFIDENCE: Final = 0.95
#: Maximum number of trials that the statistics of many trials compare.
_MAX_COMPARED: Final = 1_000


class SharpeEvidence(Struct, frozen=True):
    """Annual Sharpe ratios of the best combination and of trials without skill."""

    in_sample: float
    """In-sample Sharpe ratio."""
    out_of_sample: float
    """Out-of-sample Sharpe ratio."""
    probabilistic: float
    """Probability that the true ratio out of sample is above 0, for one trial."""
    trials: int
    """Number of trials that deflate the in-sample ratio."""
    threshold: float
    """Ratio that the best of this number of trials without skill reaches on average."""
    deflated: float
    """Probability that the true in-sample Sharpe ratio is above `threshold`."""
    spread_of_trials: float | None
    """Standard deviation of the Sharpe ratios across the trials."""
    spread_without_skill: float
    """Standard error of a Sharpe ratio of 0 (Lo), which the threshold uses."""
    deflated_by_spread: float | None
    """Deflated Sharpe ratio with the spread of the trials in place of the standard error; for
    comparison only, because it misleads."""
    minimum_track_record_days: float | None
    """Days that the in-sample ratio needs to be above 0 at 95 %; None for a ratio below 0."""
    minimum_backtest_years: float
    """Years of data below which the best of that many trials without skill reaches a ratio of 1 on
    average."""
    smallest_detectable: float
    """True ratio that this range and number of trials detect in 4 of 5 cases."""


class Judgement(Struct, frozen=True):
    """Statistics of the best combination, and the verdict."""

    verdict: Verdict
    """Tests that the combination passes or fails, in their order."""
    sharpe: SharpeEvidence
    """Sharpe ratios that the tests of skill compare."""
    overfitting: Overfitting | None
    """Cross-validation of the compared trials; None: too few trials or days."""
    random_timing: RandomTiming | None
    """Comparison with random timing; None if an earlier rung was not passed."""
    superior_ability: SuperiorAbility | None
    """SPA test of the compared trials against buying and holding."""
    intervals: BootstrapIntervals | None
    """Stationary bootstrap of the daily returns out of sample."""
    shuffled_drawdown: Interval | None
    """Maximum drawdown out of sample over shuffled trades."""
    compared: int
    """Number of trials that the statistics of many trials use: the first ones."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**asdict(self), "verdict": self.verdict.as_dict()}


class JudgedRun(Struct, frozen=True):
    """A backtest on which the verdict is given: its metrics, those at doubled costs, the market."""

    metrics: Metrics
    """Metrics of the run."""
    doubled: Metrics
    """Metrics of the run with doubled costs."""
    returns: FloatArray
    """Daily returns of the account, shape (d,)."""
    market: FloatArray
    """Daily returns of the market, shape (d,)."""
    periods: float
    """Number of returns in a year."""

    @property
    def hold_return(self) -> float:
        """Return the total return of holding the market at the exposure of the backtest."""
        return float(np.prod(1.0 + self.metrics.exposure * self.market)) - 1.0


class _Best(Struct, frozen=True):
    """Backtests of the best combination, as the statistics use them."""

    judged: JudgedRun
    """Backtest of the in-sample part, with its metrics at doubled costs."""
    first: SimulationResult
    """Backtest of the in-sample part."""
    second: SimulationResult
    """Backtest of the out-of-sample part."""
    out_of_sample: Metrics
    """Metrics of the out-of-sample part."""
    later: FloatArray
    """Daily returns of the out-of-sample part."""


def judge(
    best: Strategy,
    found: Sequence[TrialResult],
    context: SearchContext,
    trials: int,
    seed: int,
    *,
    is_by_sharpe: bool,
) -> Judgement:
    """Return statistics and verdict of the best combination.

    Args:
        best: Strategy of the best combination.
        found: Results of all combinations, in the order of the trials.
        context: Candles and rules of the evaluations.
        trials: Number of trials on this market.
        seed: Random seed of the resamples.
        is_by_sharpe: Whether the best was chosen by Sharpe ratio; only then is it deflated.

    Raises:
        OnetapeError: the strategy fails on this evaluation.
    """
    run = _run_backtests(best, context)
    details = [one["details"] for one in found if "details" in one][:_MAX_COMPARED]
    judged = run.judged
    ratios = [one["in_sample"]["sharpe"] for one in found]
    rate = compute_period_rate(context.risk_free_rate, judged.periods)
    sharpe = compute_sharpe_evidence(
        compute_return_moments(judged.returns - rate),
        ratios,
        judged.periods,
        trials,
        compute_return_moments(run.later - rate),
    )
    rungs = make_money_rungs(judged, "in-sample")
    timing = None
    if not has_failure(rungs):
        timing = _compute_timing(run, details, context)
    rungs += [make_timing_rung(timing), _make_out_of_sample_rung(run, sharpe)]
    rungs.append(make_deflated_rung(sharpe, "in-sample", "trials", is_by_sharpe=is_by_sharpe))
    matrix = make_daily_matrix(details)
    days = min(len(matrix), len(judged.market))
    return Judgement(
        verdict=Verdict(tuple(rungs)),
        sharpe=sharpe,
        overfitting=compute_overfitting(matrix),
        random_timing=timing,
        superior_ability=compute_superior_ability(
            matrix[:days], judged.market[:days], "buy and hold", seed
        ),
        intervals=compute_bootstrap_intervals(run.later, seed),
        shuffled_drawdown=compute_shuffled_drawdowns(_compute_trade_returns(run.second), seed),
        compared=len(details),
    )


def _run_backtests(best: Strategy, context: SearchContext) -> _Best:
    """Return the backtests of the best combination that the statistics use."""
    lookback = max(get_lookback(best), context.closes_for_size)
    parts = compute_parts(context, lookback)
    first, second = (simulate_part(best, context, part) for part in parts)
    doubled = simulate_part(best, context, parts[0], double_costs(context.rules))
    metrics_contexts = context.metrics_contexts
    returns, periods = compute_period_returns(
        first.start_cash, first.equity, metrics_contexts[0].calendar
    )
    later, _ = compute_period_returns(
        second.start_cash, second.equity, metrics_contexts[1].calendar
    )
    candles = first.candles
    market, _ = compute_period_returns(
        float(candles.open[0]), candles.close, metrics_contexts[0].calendar
    )
    metrics, costly = (
        compute_metrics(first, metrics_contexts[0]),
        compute_metrics(doubled, metrics_contexts[0]),
    )
    judged = JudgedRun(metrics, costly, returns, market, periods)
    return _Best(judged, first, second, compute_metrics(second, metrics_contexts[1]), later)


def double_costs(rules: AccountConfig) -> AccountConfig:
    """Return the rules with doubled fees, slippage, spread and volume impact."""
    maker = rules.maker_fee_rate
    return replace(
        rules,
        fee_rate=min(2.0 * rules.fee_rate, 0.99),
        maker_fee_rate=None if maker is None else min(2.0 * maker, 0.99),
        slippage_bps=min(2.0 * rules.slippage_bps, 4_000.0),
        spread_bps=min(2.0 * rules.spread_bps, 4_000.0),
        volume_impact=min(2.0 * rules.volume_impact, 0.3),
    )


def compute_sharpe_evidence(
    moments: ReturnMoments,
    ratios: Sequence[float | None],
    periods: float,
    trials: int,
    later: ReturnMoments | None = None,
) -> SharpeEvidence:
    """Return the annual Sharpe ratios of the best combination and of trials without skill.

    Args:
        moments: Moments of the judged returns.
        ratios: Annual Sharpe ratio of each trial; None: not defined.
        periods: Returns in a year.
        trials: Number of trials.
        later: Moments of the returns out of sample; None: the judged ones are out of sample.
    """
    trials, later = max(trials, 1), moments if later is None else later
    count, annual = max(moments.count, 2), math.sqrt(periods)
    spread_without_skill = 1.0 / math.sqrt(count)
    known = np.array([one for one in ratios if one is not None], dtype=np.float64)
    spread = float(known.std(ddof=1)) / annual if len(known) > 1 else None
    track = compute_minimum_track_record(moments)
    return SharpeEvidence(
        in_sample=moments.sharpe * annual,
        out_of_sample=later.sharpe * annual,
        probabilistic=compute_probabilistic_sharpe(later),
        trials=trials,
        threshold=compute_deflated_threshold(spread_without_skill**2, trials) * annual,
        deflated=compute_deflated_sharpe(moments, spread_without_skill**2, trials),
        spread_of_trials=None if spread is None else spread * annual,
        spread_without_skill=spread_without_skill * annual,
        deflated_by_spread=None
        if spread is None
        else compute_deflated_sharpe(moments, spread**2, trials),
        minimum_track_record_days=None if math.isinf(track) else track * 365.0 / periods,
        minimum_backtest_years=compute_minimum_backtest_years(trials),
        smallest_detectable=compute_smallest_detectable_sharpe(count, trials) * annual,
    )


def make_money_rungs(judged: JudgedRun, where: str) -> list[Rung]:
    """Return the rungs about data and money.

    Args:
        judged: Input of the verdict.
        where: Part of the range, such as `in-sample`.
    """
    trades, count = judged.metrics.trades, len(judged.returns)
    exposure, hold = judged.metrics.exposure, judged.hold_return
    total, doubled = judged.metrics.total_return, judged.doubled.total_return
    return [
        Rung(
            "enough data",
            count >= MIN_RETURNS and trades >= MIN_CLOSED_TRADES,
            "too little data",
            f"{count:,} returns and {trades:,} trades {where}, "
            f"{MIN_RETURNS} and {MIN_CLOSED_TRADES} needed",
        ),
        Rung("profitable after costs", total > 0, "loses after costs", f"{total:+.1%} {where}"),
        Rung(
            "survives doubled costs",
            doubled > 0,
            "loses after doubled costs",
            f"{doubled:+.1%} {where}",
        ),
        Rung(
            "beats buy and hold at equal exposure",
            total > hold,
            "does not beat buy and hold at equal exposure",
            f"{total:+.1%} against {hold:+.1%} at {exposure:.0%} exposure, {where}",
        ),
    ]


def _compute_timing(
    run: _Best, details: Sequence[dict[str, Any]], context: SearchContext
) -> RandomTiming | None:
    """Compare the best of the trials with the best of them at every shift."""
    candles, rules = run.first.candles, context.rules
    best = (run.first.fill_log.get_entry_bars(), run.first.fill_log.get_exit_bars())
    others = [(one["entries"], one["exits"]) for one in details]
    trials = [best, *(one for one in others if one != best)]
    count = len(candles)
    timed = (make_timed_positions(*one, count, rules) for one in trials)
    return compute_random_timing(compute_market_returns(candles), timed)


def make_timing_rung(timing: RandomTiming | None) -> Rung:
    """Return the rung of random timing; None: the comparison was not computed."""
    failure = "no better than random timing"
    if timing is None:
        return Rung("better than random timing", None, failure, "not computed")
    text = (
        f"p {timing.p_value:.3f}, best of {timing.trials:,} against "
        f"{timing.shifts:,} shifts of all, 0.05 needed"
    )
    return Rung("better than random timing", timing.p_value <= 1.0 - CONFIDENCE, failure, text)


def _make_out_of_sample_rung(run: _Best, sharpe: SharpeEvidence) -> Rung:
    total = run.out_of_sample.total_return
    text = (
        f"{total:+.1%} out of sample, true Sharpe above 0 with probability "
        f"{sharpe.probabilistic:.2f}"
    )
    return Rung("holds out of sample", total > 0, "does not hold out of sample", text)


def make_deflated_rung(
    sharpe: SharpeEvidence, where: str, trials: str, *, is_by_sharpe: bool
) -> Rung:
    """Return the rung of the deflated Sharpe ratio.

    Args:
        sharpe: Sharpe ratios.
        where: Part of the range, such as `in-sample`.
        trials: Noun for the trials, in the plural.
        is_by_sharpe: Whether the choice was by Sharpe ratio; else the rung does not apply.
    """
    name, failure = "not rejected after deflation", "could be the best of many without skill"
    if not is_by_sharpe:
        return Rung(name, None, "not judged by trials", "only where --rank is sharpe")
    text = (
        f"Sharpe {sharpe.in_sample:.2f} {where}, the best of {sharpe.trials:,} {trials} without "
        f"skill {sharpe.threshold:.2f}: deflated {sharpe.deflated:.2f}, {CONFIDENCE} needed"
    )
    return Rung(name, sharpe.deflated >= CONFIDENCE, failure, text)


def _compute_trade_returns(result: SimulationResult) -> FloatArray:
    """Return the return of equity between the exits of closed trades."""
    exits = [bar for bar in result.fill_log.get_exit_bars() if bar < len(result.equity)]
    if not exits:
        return np.empty(0)
    path = np.concatenate(([result.start_cash], result.equity[exits]))
    path = path[: np.argmax(path <= 0) + 1] if (path <= 0).any() else path
    return path[1:] / path[:-1] - 1.0
