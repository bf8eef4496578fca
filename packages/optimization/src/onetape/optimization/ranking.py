"""Ranking of combinations by in-sample metrics, and its stability in the out-of-sample part."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.backtest.metric_definitions import LABELS
from onetape.core.candles import FloatArray
from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.engine import Metrics

#: Metrics whose lower values are better; higher values of all others are better.
LOWER_IS_BETTER: Final = frozenset(
    {
        *("volatility", "max_drawdown_seconds", "longest_drawdown_seconds", "fees", "slippage"),
        *("turnover", "refused_orders", "ambiguous_bars", "exposure", "average_bars"),
        "limited_entries",
    }
)
#: Fields of the metrics that cannot rank: equal for every combination, or not a number.
_NO_RANK: Final = frozenset({"start_cash", "market_change", "open_at_end", "buy_and_hold"})

#: One combination that was tried: parameters, and the metrics of both parts.
TrialResult = Mapping[str, Any]


class RankStability(Struct, frozen=True):
    """Stability of the ranking: rank correlation, and the best combination in both parts."""

    rank_correlation: float | None
    """Spearman rank correlation, in-sample to out-of-sample; None: under three combinations."""
    best_in_sample: float | None
    """In-sample metric of the best ranked combination; None: none is ranked."""
    best_out_of_sample: float | None
    """Out-of-sample metric of the best ranked combination."""
    best_out_of_sample_rank: int | None
    """Rank of that combination among the ranked ones in the out-of-sample part, 1 the best."""
    median_out_of_sample: float | None
    """Median of the metric of the ranked combinations in the out-of-sample part."""
    ranked: int = 0
    """Number of combinations with enough in-sample trades to be ranked."""
    compared: int = 0
    """Number of combinations with enough trades in both parts, which the rank correlation uses."""


class MinTrades(Struct, frozen=True):
    """Number of closed trades that a combination needs for its metrics to be meaningful."""

    in_sample: int = 0
    """Closed in-sample trades that a combination needs to be ranked."""
    out_of_sample: int = 0
    """Closed out-of-sample trades that a combination needs to count in the rank correlation."""

    @classmethod
    def from_parts(
        cls, in_sample: int, in_sample_candles: int, out_of_sample_candles: int
    ) -> "MinTrades":
        """Return the minimums of both parts; a shorter out-of-sample part has a lower one."""
        share = min(1.0, out_of_sample_candles / in_sample_candles)
        return cls(in_sample, max(min(in_sample, 1), round(in_sample * share)))

    def is_ranked(self, result: TrialResult) -> bool:
        """Return whether a combination is ranked."""
        return not self.in_sample or result["in_sample"]["trades"] >= self.in_sample

    def is_compared(self, result: TrialResult) -> bool:
        """Return whether a combination counts in the rank correlation."""
        enough = not self.out_of_sample or result["out_of_sample"]["trades"] >= self.out_of_sample
        return enough and self.is_ranked(result)


#: No combination is left out for too few trades.
ANY_TRADES: Final = MinTrades()


def list_rank_metrics() -> tuple[str, ...]:
    """Return the field names of metrics that can rank combinations."""
    return tuple(name for name in Metrics.__struct_fields__ if name not in _NO_RANK)


def parse_metric_name(name: str) -> str:
    """Return the field name of a metric, given by that name or by its label.

    Raises:
        UsageError: no metric has that name.
    """
    known = list_rank_metrics()
    plain = _simplify_metric_name(name)
    plain = {_simplify_metric_name(LABELS[one]): one for one in known}.get(plain, plain)
    if plain not in known:
        raise UsageError(
            f"--rank {name!r} is not a metric{suggest_name(plain, known)} "
            f"(there are: {', '.join(known)})"
        )
    return plain


def _simplify_metric_name(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def rank_results(
    results: Sequence[TrialResult],
    metrics: str | Sequence[str],
    min_trades: MinTrades = ANY_TRADES,
) -> list[TrialResult]:
    """Return the combinations, best first by the in-sample part; those with too few trades last.

    In both groups, combinations without the metric come last, and the order of equal ones does not
    change. For several metrics the Pareto front comes first.
    """
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    keys = [_compute_sort_keys(results, "in_sample", name) for name in names]
    has_too_few = np.array([not min_trades.is_ranked(result) for result in results], dtype=np.bool_)
    is_behind = np.zeros(len(results), dtype=np.bool_)
    if len(names) > 1:
        is_behind = ~is_on_front(np.column_stack(keys), ~has_too_few)
    return [results[index] for index in np.lexsort((keys[0], is_behind, has_too_few))]


def is_on_front(keys: FloatArray, counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask of the Pareto front: rows without another row as low in all, lower in one.

    Args:
        keys: A row per combination and a column per metric; lower is better.
        counts: Rows that take part; rows with an infinite key do not.
    """
    front = np.zeros(len(keys), dtype=np.bool_)
    rest = np.flatnonzero(counts & np.isfinite(keys).all(axis=1))
    # Sorted by the columns, no row is dominated by a later one.
    rest = rest[np.lexsort(keys[rest].T[::-1])]
    while len(rest):
        first = keys[rest[0]]
        front[rest[(keys[rest] == first).all(axis=1)]] = True
        rest = rest[(keys[rest] < first).any(axis=1)]
    return front


def find_pareto_front(
    order: Sequence[TrialResult], metrics: Sequence[str], min_trades: MinTrades = ANY_TRADES
) -> list[int]:
    """Return the indices of the combinations on the in-sample Pareto front of some metrics.

    Args:
        order: Results of the combinations.
        metrics: Metrics of the front, one or more.
        min_trades: Closed trades that a combination on the front needs.
    """
    keys = [_compute_sort_keys(order, "in_sample", name) for name in metrics]
    counts = np.array([min_trades.is_ranked(result) for result in order], dtype=np.bool_)
    return np.flatnonzero(is_on_front(np.column_stack(keys), counts)).tolist()


def compute_rank_stability(
    order: Sequence[TrialResult], metric: str, min_trades: MinTrades = ANY_TRADES
) -> RankStability:
    """Return the stability of the ranking in the out-of-sample part."""
    order = [result for result in order if min_trades.is_ranked(result)]
    inside, outside = (
        _compute_sort_keys(order, part, metric) for part in ("in_sample", "out_of_sample")
    )
    compared = np.array([min_trades.is_compared(result) for result in order], dtype=np.bool_)
    both = np.isfinite(inside) & np.isfinite(outside) & compared
    first = order[0] if order else None
    rank = None
    if first is not None and np.isfinite(outside[0]):
        rank = int((outside < outside[0]).sum()) + 1
    known = outside[np.isfinite(outside)]
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    return RankStability(
        rank_correlation=compute_spearman(inside[both], outside[both]),
        best_in_sample=None if first is None else get_metric_value(first, "in_sample", metric),
        best_out_of_sample=None
        if first is None
        else get_metric_value(first, "out_of_sample", metric),
        best_out_of_sample_rank=rank,
        median_out_of_sample=sign * _compute_median(known) if len(known) else None,
        ranked=len(order),
        compared=int(both.sum()),
    )


def compute_spearman(first: FloatArray, second: FloatArray) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None where it is not defined.

    Source: C. Spearman, The Proof and Measurement of Association between Two Things, 1904: the
    correlation of the ranks.
    """
    if len(first) < 3:
        return None
    ranks = [_compute_mean_ranks(values) for values in (first, second)]
    deviations = [rank - rank.mean() for rank in ranks]
    scale = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum()) / scale if scale > 0 else None


def _compute_median(values: FloatArray) -> float:
    """Return the median, without the imports that NumPy's and Python's functions need."""
    ordered = np.sort(values)
    return float(ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def _compute_mean_ranks(values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _compute_sort_keys(results: Sequence[TrialResult], part: str, metric: str) -> FloatArray:
    """Return a sort key for each combination: lower is better, inf without the metric."""
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    values = (get_metric_value(result, part, metric) for result in results)
    return np.array([np.inf if value is None else sign * value for value in values], np.float64)


def get_metric_value(result: TrialResult, part: str, metric: str) -> float | None:
    """Return a metric of one part of a result; None where it is not defined."""
    value = result[part][metric]
    return None if value is None else float(value)
