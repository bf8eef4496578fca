"""The tables of benchmarks/README.md are those of the committed results."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARKS / "tables.py"))


def test_the_page_has_the_tables_of_the_results(program: dict[str, Any]) -> None:
    text = (BENCHMARKS / "README.md").read_text()
    written = program["replace_tables"](text, program["make_tables"](BENCHMARKS / "results"))
    assert written == text, "run: uv run python benchmarks/tables.py"


def test_every_result_states_how_it_was_made() -> None:
    for path in (BENCHMARKS / "results").glob("*.json"):
        document = json.loads(path.read_text())
        assert document["benchmark"] == path.stem
        assert document["command"].startswith("uv run python benchmarks/")
        assert len(document["commit"]) == 40
        assert isinstance(document["seed"], int)
        assert all(measured["samples"] for measured in document.get("measurements", []))
        parts = ("measurements", "outcomes", "combinations")
        assert any(document.get(part) for part in parts)


def test_every_combination_that_was_traded_equals_the_backtest() -> None:
    document = json.loads((BENCHMARKS / "results" / "parity.json").read_text())
    assert all(one["equal"] and one["fills"] for one in document["combinations"])


RATE = {"name": "n", "unit": "1/s", "goal": 5, "wanted": "above", "samples": [3, 900, 200]}
RATIO = {
    "name": "n", "unit": "ratio", "goal": 0.06, "wanted": "below", "of": "x", "samples": [0.03, 0.1]
}  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "row"),
    [
        (RATE, "| n | 1/s | 200 | 3 | 3 | above 5 |"),
        (RATIO, "| n | ratio | 0.065 | 0.1 | 2 | below 0.06 of x |"),
    ],
)
def test_a_row_shows_median_worst_and_goal(
    program: dict[str, Any], tmp_path: Path, measured: dict[str, Any], row: str
) -> None:
    document = {
        "benchmark": "b", "command": "c", "commit": "0" * 40, "changed": False, "seed": 1,
        "measured": "2026-01-01T00:00:00", "measurements": [measured],
        "machine": {"cpus": 2, "python": "3.11", "system": "Linux", "load_before": 0.5},
    }  # fmt: skip
    (tmp_path / "b.json").write_text(json.dumps(document))
    assert row in program["make_tables"](tmp_path)
