"""Make a kept run again, and say what is no longer as it was."""

from typing import Any

from backtester.keep import engine_digest
from backtester.run import Backtest, backtested
from backtester.runs import Run
from backtester.settings import BacktesterSettings
from onetape.cli.settings import load_settings
from onetape.core.clock import utc_text
from onetape.core.digest import data_digest
from onetape.strategies import digest


def rerun(run: Run) -> tuple[Backtest, list[str]]:
    """Return the run made again over its own range, and a sentence for each thing that changed.

    Raises:
        OnetapeError: as for any backtest: candles or the strategy may be gone.
    """
    backtest = backtested(settings_of_run(run))
    now = {
        "data": data_digest(backtest.tape.candles),
        "strategy": digest(backtest.strategy),
        "engine": engine_digest(),
    }
    words = {
        "data": "the candles (warm-up included)",
        "strategy": "the strategy's code",
        "engine": "the engine's code",
    }
    then = run.manifest["digests"]
    changes = [
        f"{words[name]} changed since the run was made"
        for name, value in now.items()
        if then.get(name) != value
    ]
    return backtest, changes


def settings_of_run(run: Run) -> BacktesterSettings:
    """Return the settings of a run, with the ends of the range that it had.

    Raises:
        UsageError: the manifest holds settings that this version does not know.
    """
    settings: dict[str, Any] = dict(run.manifest["settings"])
    for name in ("from", "to"):
        # The newest candle of that day may not be the newest one now.
        settings[name] = utc_text(run.result[name])
    return load_settings(BacktesterSettings, "backtester", None, settings, {})
