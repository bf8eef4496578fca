"""What the campaigns of stream faults print becomes measurements."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
Read = Callable[[Sequence[str]], list[dict[str, Any]]]
FAULTS = (
    "{count} stream faults, seed {seed}: 0 candles missing or wrong; noticed after 1.25 s at most "
    "with stale_after_seconds 1; back {back} s after the fault at most\n"
)


@pytest.fixture
def read_measurements(monkeypatch: pytest.MonkeyPatch) -> Read:
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])
    return run_path(str(BENCHMARKS / "stream_faults.py"))["read_measurements"]


def test_the_campaigns_of_several_logs_are_samples_of_one_measurement(
    read_measurements: Read,
) -> None:
    frames = "100000 fuzzed frames, seed 12: no crash, 2.5 ms at most for one\n"
    texts = [
        "other lines\n" + FAULTS.format(count=334, seed=1, back=3.5),
        FAULTS.format(count=666, seed=2, back=4.5) + frames,
    ]
    wrong, noticed, back, longest = read_measurements(texts)
    assert wrong["name"] == "1,000 mixed stream faults: candles missing or wrong"
    assert (wrong["samples"], wrong["seeds"]) == ([0, 0], [1, 2])
    assert noticed["samples"] == [1.25, 1.25]
    assert back["samples"] == [3.5, 4.5]
    assert longest["samples"] == [0.0025]


def test_a_log_without_a_result_is_refused(read_measurements: Read) -> None:
    with pytest.raises(SystemExit, match="no result of a campaign"):
        read_measurements(["1 passed in 3 s\n"])
