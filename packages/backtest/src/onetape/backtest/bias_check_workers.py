"""The windows of a check, shared among forked processes."""

from typing import Final

import numpy as np

from onetape.backtest.parallel import shared
from onetape.core.candles import IntArray
from onetape.strategies import SignalArray
from onetape.strategies.check import Progress, windows_evaluated
from onetape.strategies.check_data import CheckData, Maker, Windows

#: Bars that a process is given at a time, each time with a fresh strategy.
BARS_PER_JOB: Final = 2_000


def windows_shared(processes: int) -> "_Shared":
    """Return what evaluates windows as `windows_evaluated` does, in so many processes."""
    return _Shared(processes)


class _Shared:
    """Evaluates windows in several processes where there are enough of them."""

    def __init__(self, processes: int) -> None:
        """Take how many processes there may be."""
        self._processes = processes

    def __call__(
        self, make: Maker, data: CheckData, bars: IntArray, windows: Windows, on_progress: Progress
    ) -> tuple[SignalArray, str]:
        """Return the signals of the windows, and the text of the first failure."""
        parts = [bars[at : at + BARS_PER_JOB] for at in range(0, len(bars), BARS_PER_JOB)]
        if self._processes < 2 or len(parts) < 2:
            return windows_evaluated(make, data, bars, windows, on_progress)

        def work(number: int) -> bytes:
            seen, failure = windows_evaluated(make, data, parts[number], windows, _tell_nobody)
            return seen.tobytes() + failure.encode()

        answers: dict[int, bytes] = {}
        for number, answer in shared(work, range(len(parts)), self._processes):
            # A process that was killed: what it was at is done here.
            answers[number] = work(number) if answer is None else answer
            on_progress(sum(len(parts[done]) for done in answers))
        return _joined([answers[number] for number in range(len(parts))], list(map(len, parts)))


def _joined(answers: list[bytes], counts: list[int]) -> tuple[SignalArray, str]:
    """Return the signals of all parts, and the first failure of the first part that has one.

    Args:
        answers: Of each part, a byte for each signal and then the text of its first failure.
        counts: How many signals each part has.
    """
    signals = [answer[:count] for answer, count in zip(answers, counts, strict=True)]
    failures = (answer[count:] for answer, count in zip(answers, counts, strict=True))
    failure = next((text for text in failures if text), b"")
    return np.frombuffer(b"".join(signals), dtype=np.int8), failure.decode()


def _tell_nobody(done: int) -> None:
    del done
