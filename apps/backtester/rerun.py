"""Make a kept run again, and say what is no longer as it was."""

from typing import Any

from backtester.keep import digests_of
from backtester.run import Backtest, backtested, symbols_of
from backtester.runs import Run
from backtester.settings import BacktesterSettings
from onetape.cli.settings import load_settings
from onetape.cli.stdout import claim_stdout
from onetape.core.clock import utc_text


def rerun(run: Run) -> tuple[Backtest, list[str]]:
    """Return the run made again over its own range, and a sentence for each thing that changed.

    Raises:
        OnetapeError: as for any backtest: candles or the strategy may be gone.
    """
    backtest = made(settings_of_run(run))
    words = {
        "data": "the candles (warm-up included)",
        "strategy": "the strategy's code",
        "engine": "the engine's code",
        "detail": "what the finer candles say of exits",
    }
    then = run.manifest["digests"]
    changes = [
        f"{words[name]} changed since the run was made"
        for name, value in digests_of(backtest).items()
        if then.get(name) != value
    ]
    return backtest, changes


def made(settings: BacktesterSettings) -> Backtest:
    """Return the run of one symbol or several; `others` has all but the first.

    Raises:
        OnetapeError: as for any backtest.
    """
    if len(symbols_of(settings)) == 1:
        return backtested(settings)
    from backtester.together import backtested_together

    return backtested_together(settings)


def settings_of_run(run: Run) -> BacktesterSettings:
    """Return the settings of a run, with the ends of the range that it had.

    Raises:
        UsageError: the manifest holds settings that this version does not know.
    """
    claim_stdout()
    settings: dict[str, Any] = dict(run.manifest["settings"])
    for name in ("from", "to"):
        # The newest candle of that day may not be the newest one now.
        settings[name] = utc_text(run.result[name])
    return load_settings(BacktesterSettings, "backtester", None, settings, {})
