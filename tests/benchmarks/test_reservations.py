"""The measurements of processes that share the money of an account."""

import sys
from pathlib import Path
from runpy import run_path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_each_seed_is_a_sample_and_money_is_spent_twice_only_without_reservations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])
    program = run_path(str(BENCHMARKS / "reservations.py"))
    found = program["measure_reservations"](tmp_path, 4, 200, [7])
    assert [one["seeds"] for one in found] == [[7]] * len(found)
    assert all(one["name"].startswith("4 processes, 200 random orders on one") for one in found)
    overspent, without_money, too_many, without_place, unguarded = (one["samples"] for one in found)
    assert (overspent, too_many) == ([0], [0])
    assert min(*without_money, *without_place, *unguarded) > 0
