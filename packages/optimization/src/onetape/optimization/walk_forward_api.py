"""`ot.walk_forward`: a walk-forward in Python, with stitched equity, windows and verdict."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from onetape.backtest.arguments import (
    Account,
    Exits,
    StrategyLike,
    get_strategy_class,
    make_account_config,
)
from onetape.backtest.parallel import count_processors
from onetape.engine.account_config import TradingRulesSource
from onetape.optimization.frame_search import (
    FrameOptions,
    evaluate_values,
    load_context,
    plan_values,
)
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.user_metrics import Rank, parse_python_ranks
from onetape.optimization.walk_forward import WalkForward, WindowEvaluator
from onetape.optimization.walk_forward import walk_forward as run
from onetape.optimization.windows import make_windows, parse_scheme

if TYPE_CHECKING:
    import pandas as pd

    from onetape.backtest.inputs import CandlesLike


class WalkForwardResult:
    """Result of a walk-forward over one symbol."""

    def __init__(self, found: WalkForward) -> None:
        """Take the result of a walk-forward."""
        self.found = found

    @property
    def windows(self) -> "pd.DataFrame":
        """One row per window: its parts, the chosen parameters, and their results."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for window in self.found.windows:
            row = {key: value for key, value in asdict(window).items() if key != "parameters"}
            rows.append({**row, **(window.parameters or {})})
        frame = pd.DataFrame(rows)
        for name in ("train_start", "test_start", "test_end"):
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        return frame

    @property
    def equity(self) -> "pd.Series[float]":
        """Stitched out-of-sample equity at each close."""
        import pandas as pd

        times = pd.to_datetime(self.found.result.candles.timestamp, unit="s", utc=True)
        return pd.Series(self.found.result.equity, index=times, name="equity")

    @property
    def metrics(self) -> dict[str, object]:
        """Metrics of the stitched equity, as of a backtest."""
        return self.found.metrics.as_dict()

    @property
    def verdict(self) -> str:
        """Verdict on the stitched equity, in one line."""
        return self.found.verdict.summary

    def __repr__(self) -> str:
        """Return the windows and the verdict."""
        return (
            f"walk-forward {self.found.scheme.text}: {len(self.found.windows):,} windows, return "
            f"{self.found.metrics.total_return:+.1%} out of sample\n{self.windows}\n"
            f"verdict: {self.verdict}"
        )


def walk_forward(
    strategy: StrategyLike,
    candles: "CandlesLike",
    params: Mapping[str, Iterable[Any]],
    windows: str,
    *,
    anchored: bool = False,
    boundary: str = "close",
    rank: Rank | Sequence[Rank] = "sharpe",
    min_trades: int = 20,
    sampler: str = "grid",
    trials: int | None = None,
    seed: int = 1,
    looks: int = 1,
    start: Any = None,
    end: Any = None,
    account: Account | None = None,
    exits: Exits | None = None,
    trading_rules: TradingRulesSource = "exchange",
    risk_free_rate: float = 0.0,
    allow_gaps: bool = False,
    jobs: int | None = None,
) -> WalkForwardResult:
    """Choose parameters on a training part, trade the next part, and repeat to the end.

    Args:
        strategy: See `backtest`.
        candles: See `backtest`; one symbol.
        params: See `optimize`.
        windows: Lengths of training and test parts, such as `365d/90d`; h, d or w.
        anchored: Whether every training part begins with the range.
        boundary: Treatment of an open position between test parts: `close` sells it, `carry`
            holds it.
        rank: See `optimize`.
        min_trades: Closed trades that a combination needs in a training part to be chosen.
        sampler: `grid` or `random`.
        trials: Combinations that `random` draws.
        seed: Random seed.
        looks: Walk-forwards that you made over these test parts, this one included.
        start: See `optimize`.
        end: See `optimize`.
        account: See `backtest`.
        exits: See `backtest`.
        trading_rules: See `backtest`.
        risk_free_rate: See `backtest`.
        allow_gaps: See `backtest`.
        jobs: Processes; None: as many as processors.

    Raises:
        UsageError: an argument is invalid, or a function of `rank` gives no finite number.
        DataError: the range is shorter than one training and one test part.
        ConfigurationError: no combination gives a result.
        OnetapeError: as for a backtest.
    """
    metrics, user_metrics = parse_python_ranks(rank)
    options = SearchOptions(
        metrics=metrics,
        user_metrics=user_metrics,
        processes=jobs or count_processors(),
        sampler=sampler,
        trials=trials,
        seed=seed,
        min_trades=min_trades,
    )
    scheme = parse_scheme(windows, is_anchored=anchored, boundary=boundary)
    cls = get_strategy_class(strategy)
    plan = plan_values(cls, params, options)
    given = FrameOptions(
        start,
        end,
        make_account_config(account, exits, strategy),
        trading_rules,
        allow_gaps,
        risk_free_rate,
    )
    context = load_context(candles, plan, given)
    parts = make_windows(context.window, scheme)
    found = evaluate_values(plan, options, WindowEvaluator(cls, context, parts, user_metrics))
    good = [one for one in found if "error" not in one]
    return WalkForwardResult(
        run(cls, good, context, parts, scheme, options.metrics, min_trades, looks)
    )
