"""Running a saved run again, and the list of what has changed since (`explain --run`)."""

from onetape.backtest.backtest_runner import run_backtest
from onetape.backtest.config import FRAME_EXCHANGE
from onetape.backtest.models import Backtest
from onetape.backtest.storage.digests import compute_digests
from onetape.backtest.storage.manifest import restore_config
from onetape.backtest.storage.runs import SavedRun
from onetape.core.errors import UsageError

#: Input of a run by the name of its digest.
_INPUT_NAMES = {
    "data": "the candles (warm-up included)",
    "strategy": "the strategy's code",
    "engine": "the engine's code",
    "intrabar": "the exits that intrabar candles decide",
}


def rerun(run: SavedRun) -> tuple[Backtest, list[str]]:
    """Return the saved run, run again over its range, and a sentence for each change since.

    Raises:
        UsageError: the candles of the run are a DataFrame.
        OnetapeError: as for any backtest: candles or the strategy may be gone.
    """
    config = restore_config(run.manifest)
    if config.exchange == FRAME_EXCHANGE:
        raise UsageError(
            f"run {run.id} is over a DataFrame, which is not stored; "
            "explain its result in Python: result.explain(time)"
        )
    backtest = run_backtest(config)
    then = run.manifest.digests
    changes = [
        f"{_INPUT_NAMES[name]} changed since the run was made"
        for name, value in compute_digests(backtest).items()
        if then.get(name) != value
    ]
    return backtest, changes
