"""Digests of what the result of a run depends on: candles, strategy, engine, intrabar candles."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from onetape.backtest.models import Backtest, SymbolRun
from onetape.core.digest import compute_code_digest, compute_data_digest
from onetape.core.errors import UsageError
from onetape.strategies import digest


def digests_of(backtest: Backtest) -> dict[str, str]:
    """Return SHA-256 digests, in hex, of the candles, the strategy's code and the engine's code.

    The candles are those of the windows, warm-up included; where there are more symbols or higher
    timeframes it is the digest of all their digests. Unexplained gaps, which no window crosses,
    are part of it. Of intrabar candles, what they decided is part of it.
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
        "strategy": digest(backtest.strategy),
        "engine": _engine_digest(),
    }
    if backtest.config.timeframe_detail is not None:
        digests["intrabar"] = _digest_intrabar(backtest.runs)
    return digests


def _engine_digest() -> str:
    """Return the SHA-256, in hex, of the source that decides fills, money and metrics."""
    import onetape.engine

    return compute_code_digest(Path(onetape.engine.__path__[0]))


def _digest_intrabar(runs: Sequence[SymbolRun]) -> str:
    """Return the SHA-256, in hex, of what the intrabar candles decided in a run."""
    decided = [sorted(run.result.fill_log.intrabar_exits.items()) for run in runs]
    return hashlib.sha256(repr(decided).encode()).hexdigest()
