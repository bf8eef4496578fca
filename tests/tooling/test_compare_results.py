"""Two folders of recorded results are compared value by value."""

import json
from pathlib import Path
from typing import Any

import compare_results


def compare_documents(
    tmp_path: Path, before: Any, after: Any, **renames: dict[str, str]
) -> list[str]:
    for name, document in (("before", before), ("after", after)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(document))
    return list(compare_results.compare(tmp_path / "before", tmp_path / "after", renames))


def test_equal_documents_have_no_difference(tmp_path: Path):
    document = {"metrics": {"total_return": 0.5}, "trades": [{"profit": 1.0}]}
    assert not compare_documents(tmp_path, document, document)


def test_a_value_that_changed_is_named_with_its_place(tmp_path: Path):
    before, after = {"trades": [{"profit": 1.0}]}, {"trades": [{"profit": 1.5}]}
    assert compare_documents(tmp_path, before, after) == ["run.trades[0].profit: 1.0 became 1.5"]


def test_a_key_of_only_one_side_is_a_difference(tmp_path: Path):
    assert compare_documents(tmp_path, {"old": 1}, {"new": 1}) == [
        "run.old: 1 became '(absent)'",
        "run.new: '(absent)' became 1",
    ]


def test_a_renamed_key_and_text_are_equal(tmp_path: Path):
    renames = {"keys": {"left_by": "exit_reason"}, "texts": {"held out": "out-of-sample"}}
    before, after = {"left_by": "held out"}, {"exit_reason": "out-of-sample"}
    assert not compare_documents(tmp_path, before, after, **renames)


def test_fewer_entries_of_a_list_are_a_difference(tmp_path: Path):
    assert compare_documents(tmp_path, {"trades": [1, 2]}, {"trades": [1]}) == [
        "run.trades: 2 entries became 1"
    ]


def test_durations_and_ports_are_not_compared(tmp_path: Path):
    before = {"seconds": 1.0, "stdout": ["at http://127.0.0.1:8790 (0.3 s)"]}
    after = {"seconds": 2.0, "stdout": ["at http://127.0.0.1:8791 (0.4 s)"]}
    assert not compare_documents(tmp_path, before, after)


def test_a_result_missing_on_one_side_is_a_difference(tmp_path: Path):
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    (tmp_path / "before" / "run.json").write_text("{}")
    found = list(compare_results.compare(tmp_path / "before", tmp_path / "after", {}))
    assert found == [f"run.json: not in {tmp_path / 'after'}"]
