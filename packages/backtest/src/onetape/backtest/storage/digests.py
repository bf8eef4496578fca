"""Digests of all inputs of a run's result, saved with the run.

A rerun compares them to name what has changed: candles, strategy, engine or intrabar candles.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from onetape.backtest.models import Backtest, SymbolRun
from onetape.core.digest import compute_code_digest, compute_data_digest
from onetape.core.errors import UsageError
from onetape.strategies import compute_strategy_digest


def compute_digests(backtest: Backtest) -> dict[str, str]:
    """Return SHA-256 digests, in hex, of the candles, the strategy's code and the engine's code.

    The candles are those of the windows, warm-up included; where there are more symbols or higher
    timeframes, the digest is that of all their digests. The digest includes unexplained gaps, which
    no window crosses, and the exits that intrabar candles decided.
    """
    windows = [
        candles
        for run in backtest.runs
        for candles in (run.window.candles, *run.higher.candles.values())
    ]
    found = [compute_data_digest(candles) for candles in windows]
    segments = [run.segments for run in backtest.runs]
    if any(run.has_gaps for run in backtest.runs):
        found.append(hashlib.sha256(repr(segments).encode()).hexdigest())
    whole = hashlib.sha256("\n".join(found).encode()).hexdigest()
    if backtest.strategy is None:
        raise UsageError("a backtest that was read from a pickle has no code to take a digest of")
    digests = {
        "data": found[0] if len(found) == 1 else whole,
        "strategy": compute_strategy_digest(backtest.strategy),
        "engine": _compute_engine_digest(),
    }
    if backtest.config.timeframe_detail is not None:
        digests["intrabar"] = _compute_intrabar_digest(backtest.runs)
    return digests


def _compute_engine_digest() -> str:
    """Return the SHA-256, in hex, of the source that decides fills, money and metrics."""
    import onetape.engine

    return compute_code_digest(Path(onetape.engine.__path__[0]))


def _compute_intrabar_digest(runs: Sequence[SymbolRun]) -> str:
    """Return the SHA-256, in hex, of the exits that intrabar candles decided in a run."""
    decided = [sorted(run.result.fill_log.intrabar_exits.items()) for run in runs]
    return hashlib.sha256(repr(decided).encode()).hexdigest()
