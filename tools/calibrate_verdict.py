"""Measurement of how often the verdict of an optimization passes, on markets with a known edge.

    uv run python tools/calibrate_verdict.py [--markets 1000] [--planted 100] [--processes 2]

Each market is a seeded random walk of daily candles with volatility that clusters; a grid of moving
averages is optimized on it as `ot.optimize` does. Markets without an edge show how often the
verdict passes by chance; a planted edge adds a drift with the sign of the last days' return. Prints
the table of docs/optimize.md.
"""

import argparse
import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from onetape.backtest.models import CandleWindow
from onetape.backtest.parallel import count_processors, map_unordered
from onetape.core.candles import Candles, SeriesKey
from onetape.engine import AccountConfig
from onetape.optimization.evaluate import Evaluator, Job, SearchContext
from onetape.optimization.judge import judge
from onetape.optimization.ranking import MinTrades, rank_results
from onetape.strategies import Strategy, load_strategy_class

#: Number of days of a market, and its annual volatility.
_DAYS: Final = 1_500
_VOLATILITY: Final = 0.7
_DAY: Final = 86_400
_START: Final = 1_420_070_400
#: Drifts in the direction of the trend, as fractions of the daily volatility; 0: no edge.
EDGES: Final = (0.0, 0.1, 0.2, 0.3)
_GRID: Final = tuple(
    {"fast": fast, "slow": slow} for fast in (3, 5, 8, 12) for slow in (15, 20, 30, 40, 60)
)
_WARM_UP: Final = 100


def main() -> None:
    """Print the number of markets that reach each rung."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--markets", type=int, default=1_000)
    parser.add_argument("--planted", type=int, default=100)
    parser.add_argument("--processes", type=int, default=count_processors())
    given = parser.parse_args()
    counts = {edge: given.planted if edge else given.markets for edge in EDGES}
    jobs = [(edge, seed) for edge in EDGES for seed in range(counts[edge])]
    found: dict[float, list[dict[str, Any]]] = {edge: [] for edge in EDGES}
    for index, line in map_unordered(run_market, jobs, given.processes):
        if line is None:
            raise SystemExit(f"market {jobs[index]} failed")
        found[jobs[index][0]].append(msgspec.json.decode(line))
    print("\n".join(format_table(found)))


def format_table(found: dict[float, list[dict[str, Any]]]) -> list[str]:
    """Return the lines of the table: by edge, the share of markets that pass up to each rung."""
    names = next(one["names"] for one in found[EDGES[0]] if one["names"])
    lines = [f"| edge | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for edge, markets in found.items():
        shares = [
            sum(one["reached"] > rung for one in markets) / len(markets)
            for rung in range(len(names))
        ]
        label = "none" if not edge else f"{edge:g} of the daily volatility"
        lines.append(f"| {label} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    return lines


def run_market(job: tuple[float, int]) -> bytes:
    """Return the number of rungs that the best of a grid passes on one market."""
    edge, seed = job
    candles = make_market_candles(edge, seed)
    end = int(candles.timestamp[-1]) + _DAY
    window = CandleWindow(
        SeriesKey("dataframe", "ASSET/CASH", "1d"),
        candles,
        _WARM_UP,
        _WARM_UP,
        int(candles.timestamp[_WARM_UP]),
        end,
        0,
        0,
        None,
    )
    inside = round(0.7 * (len(candles) - _WARM_UP))
    context = SearchContext(window, inside, AccountConfig(), {}, has_volume=True)
    cls: type[Strategy] = load_strategy_class("sma_cross", None)
    work = Evaluator(cls, context)
    results = [msgspec.json.decode(work(Job(point, has_details=True))) for point in _GRID]
    order = rank_results(results, "sharpe", MinTrades(10))
    if not MinTrades(10).is_ranked(order[0]):
        return msgspec.json.encode({"reached": 0, "names": []})
    best = cls(**order[0]["parameters"])
    found = judge(best, results, context, len(_GRID), seed, is_by_sharpe=True)
    names = [rung.name for rung in found.verdict.rungs]
    return msgspec.json.encode({"reached": found.verdict.reached, "names": names})


def make_market_candles(edge: float, seed: int) -> Candles:
    """Return daily candles of a seeded market.

    Args:
        edge: Drift in the direction of the last ten days, as a fraction of the daily volatility.
        seed: Random seed of the market.
    """
    generator = np.random.default_rng([seed, round(1_000 * edge)])
    normal = generator.standard_normal(_DAYS).tolist()
    daily = _VOLATILITY / math.sqrt(365)
    returns: list[float] = []
    variance = daily**2
    for number, draw in enumerate(normal):
        trend = sum(returns[max(0, number - 10) : number])
        drift = edge * daily * (1.0 if trend > 0 else -1.0)
        value = drift + math.sqrt(variance) * draw
        returns.append(value)
        variance = 0.05 * daily**2 + 0.1 * value**2 + 0.85 * variance
    return _make_candles(returns, generator)


def _make_candles(returns: Sequence[float], generator: np.random.Generator) -> Candles:
    close = 100.0 * np.exp(np.cumsum(returns))
    opens = np.concatenate(([100.0], close[:-1]))
    reach = 1.0 + 0.01 * generator.random((2, len(close)))
    times = _START + _DAY * np.arange(len(close), dtype=np.int64)
    high = np.maximum(opens, close) * reach[0]
    low = np.minimum(opens, close) / reach[1]
    return Candles(times, opens, high, low, close, np.ones(len(close)))


if __name__ == "__main__":
    main()
