"""Evaluation of the windows of a bias check in several processes (`check --jobs`)."""

from typing import Final

import numpy as np

from onetape.backtest.parallel import map_unordered
from onetape.core.candles import IntArray
from onetape.strategies import SignalArray
from onetape.strategies.check_data import CheckData, StrategyMaker, WindowSizes
from onetape.strategies.lookahead_check import EvaluateWindows, ReportProgress, evaluate_windows

#: Number of bars in a job; each job has a fresh strategy.
BARS_PER_JOB: Final = 2_000


def evaluate_windows_parallel(processes: int) -> EvaluateWindows:
    """Return a function that evaluates windows as `evaluate_windows` does, in processes."""

    def evaluate(
        make: StrategyMaker,
        data: CheckData,
        bars: IntArray,
        windows: WindowSizes,
        on_progress: ReportProgress,
    ) -> tuple[SignalArray, str]:
        parts = [bars[at : at + BARS_PER_JOB] for at in range(0, len(bars), BARS_PER_JOB)]
        if processes < 2 or len(parts) < 2:
            return evaluate_windows(make, data, bars, windows, on_progress)

        def work(number: int) -> bytes:
            seen, failure = evaluate_windows(make, data, parts[number], windows, lambda _: None)
            return seen.tobytes() + failure.encode()

        results: dict[int, bytes] = {}
        for number, result in map_unordered(work, range(len(parts)), processes):
            # A job that killed its worker process is evaluated in this process.
            results[number] = work(number) if result is None else result
            on_progress(sum(len(parts[done]) for done in results))
        return _join_signals(
            [results[number] for number in range(len(parts))], list(map(len, parts))
        )

    return evaluate


def _join_signals(results: list[bytes], counts: list[int]) -> tuple[SignalArray, str]:
    """Return the signals of all parts, and the first failure of the first part that has one.

    Args:
        results: Result of each part: a byte for each signal, then the text of its first failure.
        counts: Number of signals of each part.
    """
    signals = [result[:count] for result, count in zip(results, counts, strict=True)]
    failures = (result[count:] for result, count in zip(results, counts, strict=True))
    failure = next((text for text in failures if text), b"")
    return np.frombuffer(b"".join(signals), dtype=np.int8), failure.decode()
