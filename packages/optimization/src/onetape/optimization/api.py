"""Optimization in Python: a grid of parameters over candles, as a DataFrame of results."""

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from onetape.backtest.arguments import Account, Exits, StrategyLike, account_of, choice_of, class_of
from onetape.backtest.inputs import config_of, read_inputs
from onetape.backtest.parallel import count_processors, shared
from onetape.core.errors import ConfigurationError, DataError, UsageError
from onetape.core.words import counted
from onetape.engine.account_config import MarketKind
from onetape.optimization.evaluate import SearchContext, Work, in_sample_candles
from onetape.optimization.ranking import LeastTrades, checked_metric, ranked
from onetape.strategies import Strategy, lookback_of
from onetape.strategies.parameters import converted_parameters
from onetape.strategies.segments import Holes

if TYPE_CHECKING:
    import pandas as pd

    from onetape.backtest.inputs import CandlesLike

#: More combinations are a mistake.
MOST_COMBINATIONS: Final = 100_000
#: Metrics in the representation, after the one that ranks.
_SHOWN: Final = ("total_return", "max_drawdown", "trades")


class OptimizationResult:
    """Result of an optimization over one symbol."""

    def __init__(self, results: "pd.DataFrame", rank: str, failures: list[str]) -> None:
        """Take the results.

        Args:
            results: One row per combination, best first.
            rank: Metric that ranks.
            failures: Why combinations gave no result, one sentence each.
        """
        self.results = results
        self.rank = rank
        self.failures = failures

    @property
    def best(self) -> dict[str, Any]:
        """Parameters of the best ranked combination.

        Raises:
            DataError: no combination has enough trades to be ranked.
        """
        ranked_rows = self.results[self.results["ranked"]]
        if not len(ranked_rows):
            raise DataError("no combination has enough trades; lower min_trades")
        first: Any = ranked_rows.iloc[:1].to_dict("records")[0]
        return {name: first[name] for name in self.results.attrs["parameters"]}

    def __repr__(self) -> str:
        """Return the first rows, and that the best of many is luck in part."""
        names = self.results.attrs["parameters"]
        columns = [self.rank, *(name for name in _SHOWN if name != self.rank)]
        shown = [*names, *(f"{part}_{one}" for one in columns for part in ("in", "out"))]
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        return (
            f"{counted(len(self.results), 'combination')}{failed}, ranked in-sample by {self.rank} "
            f"(the best of many is luck in part)\n{self.results[shown].head(10)}"
        )


def optimize(
    strategy: StrategyLike,
    candles: "CandlesLike",
    params: Mapping[str, Iterable[Any]],
    *,
    rank: str = "sharpe",
    out_of_sample: float = 0.3,
    min_trades: int = 20,
    start: Any = None,
    end: Any = None,
    account: Account | None = None,
    exits: Exits | None = None,
    market: MarketKind = "exchange",
    allow_gaps: bool = False,
    jobs: int | None = None,
) -> OptimizationResult:
    """Try every combination of parameters, and rank them on the first part of the range.

    Args:
        strategy: As for `backtest`.
        candles: As for `backtest`; one symbol.
        params: Values to try by parameter, such as `{"period": range(10, 60, 5)}`.
        rank: Metric to rank by; docs/metrics.md.
        out_of_sample: Part of the range, its end, that the ranking does not see; 0.05 to 0.9.
        min_trades: Closed trades that a combination needs in-sample to be ranked.
        start: First day or moment, UTC; None: all candles.
        end: End of the range, exclusive, UTC; None: all candles.
        account: As for `backtest`.
        exits: As for `backtest`.
        market: As for `backtest`.
        allow_gaps: As for `backtest`.
        jobs: Processes; None: as many as processors.

    Returns:
        `.results` has one row per combination, best first: the parameters, `ranked`, and each
        metric of the in-sample (`in_sharpe`) and the out-of-sample part (`out_sharpe`).

    Raises:
        UsageError: an argument is invalid.
        ConfigurationError: no combination gives a result.
        OnetapeError: as for a backtest.
    """
    metric = checked_metric(rank)
    if not 0.05 <= out_of_sample <= 0.9:
        raise UsageError(f"out_of_sample must be from 0.05 to 0.9, found {out_of_sample}")
    points = _points(params)
    cls = class_of(strategy)
    strategies, refused = _strategies(cls, points)
    tried = [points[number] for number in strategies]
    made = dict(enumerate(strategies.values()))
    furthest = max(made.values(), key=lookback_of)
    config, frames = config_of(
        candles,
        choice_of(furthest, None),
        start=start,
        end=end,
        account=account_of(account, exits),
        market=market,
        allow_gaps=allow_gaps,
        check=False,
    )
    if len(config.symbols) > 1:
        raise UsageError("optimize takes one symbol")
    source = read_inputs(config, frames, furthest)[0]
    window = source.window
    inside = in_sample_candles(window, out_of_sample)
    context = SearchContext(
        window,
        inside,
        replace(config.account, steps=source.steps),
        source.higher.candles,
        None,
        config.account.closes_before,
        Holes(window.holes, source.higher.holes),
        source.has_volume,
    )
    lines = _evaluate(Work(tried, made, context), len(tried), jobs or count_processors())
    failures = refused + [line["error"] for line in lines if "error" in line]
    good = [line for line in lines if "error" not in line]
    if not good:
        raise ConfigurationError(f"no combination gave a result; first: {failures[0]}")
    outside = len(window.candles) - window.warm_up - inside
    least = LeastTrades.of(min_trades, inside, outside)
    return OptimizationResult(_frame(ranked(good, metric, least), least), metric, failures)


def _points(params: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    values = {
        name: [given] if isinstance(given, str | int | float | bool) else list(given)
        for name, given in params.items()
    }
    empty = next((name for name, given in values.items() if not given), None)
    if empty is not None or not values:
        raise UsageError(f"params needs values to try{f' of {empty}' if empty else ''}")
    points = [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]
    if len(points) > MOST_COMBINATIONS:
        raise UsageError(f"{len(points):,} combinations are more than {MOST_COMBINATIONS:,}")
    return points


def _strategies(
    cls: type[Strategy], points: list[dict[str, Any]]
) -> tuple[dict[int, Strategy], list[str]]:
    """Return the strategy of each point that has one, and why others have none."""
    found: dict[int, Strategy] = {}
    refused: list[str] = []
    for number, point in enumerate(points):
        try:
            found[number] = cls(**converted_parameters(cls, point))
            lookback_of(found[number])
        except UsageError as error:
            found.pop(number, None)
            refused.append(str(error))
    if not found:
        raise UsageError(f"no combination can be tried; last: {refused[-1]}")
    return found, refused


def _evaluate(work: Work, count: int, processes: int) -> list[dict[str, Any]]:
    lines: dict[int, dict[str, Any]] = {}
    with contextlib.closing(shared(work, range(count), processes)) as answers:
        for number, line in answers:
            lines[number] = (
                {"error": "its process was killed; it may need more memory than there is"}
                if line is None
                else msgspec.json.decode(line)
            )
    return [lines[number] for number in range(count)]


def _frame(order: list[Mapping[str, Any]], least: LeastTrades) -> "pd.DataFrame":
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for one in order:
        row: dict[str, Any] = {**one["parameters"], "ranked": least.ranks(one)}
        for short, part in (("in", "in_sample"), ("out", "out_of_sample")):
            row |= {f"{short}_{k}": v for k, v in one[part].items() if k != "buy_and_hold"}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs["parameters"] = [*order[0]["parameters"]]
    return frame
