"""`ot.compare`: the metrics of several runs side by side, as a DataFrame."""

from typing import TYPE_CHECKING, Any

from onetape.backtest.storage.runs import SavedRun

if TYPE_CHECKING:
    import pandas as pd


def compare(*runs: Any) -> "pd.DataFrame":
    """Return the metrics of runs, one column each.

    Args:
        runs: Results of `backtest`, and saved runs of `load_run`.
    """
    import pandas as pd

    columns: list[Any] = []
    names: list[str] = []
    for number, run in enumerate(runs, 1):
        metrics = run.summary.metrics.as_dict()
        metrics.pop("buy_and_hold")
        columns.append(pd.Series(metrics, dtype=object))
        names.append(run.id if isinstance(run, SavedRun) else f"{number} {run.summary.strategy}")
    return pd.concat(columns, axis=1, keys=names)
