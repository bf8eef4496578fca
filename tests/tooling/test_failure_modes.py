"""docs/failure-modes.md has every row that tests name, and every test that it names exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROW = re.compile(r"^\| (\d+) \|.*\| ([^|]+) \|$", re.MULTILINE)
#: What names rows: `row_20` in a test's name, `("row 20 ...` as an id, "failure modes 21 and 22".
NAMED = re.compile(
    r"_rows?_(\d+(?:_and_\d+)*)|\(\"rows? (\d+)|[Ff]ailure modes? (\d+(?:(?:, | and | to )\d+)*)"
)


@pytest.fixture(scope="module")
def rows(repository: Path) -> dict[int, list[str]]:
    """Return the names of the tests of each row."""
    text = (repository / "docs/failure-modes.md").read_text(encoding="utf-8")
    found = ROW.findall(text)
    numbers = [int(number) for number, _ in found]
    assert numbers == sorted(set(numbers))
    return {int(number): re.findall(r"`(\w+)`", tests) for number, tests in found}


def list_named_rows(text: str) -> Iterator[int]:
    for groups in NAMED.findall(text):
        words = "".join(groups).replace("_", " ")
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        yield from range(numbers[0], numbers[-1] + 1) if " to " in words else numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("def test_rows_5_and_7_no_request()", [5, 7]),
        ("def test_of_a_gap_row_20(", [20]),
        ('("row 8 500", {})', [8]),
        ('"""Failure modes 1 to 3: what."""', [1, 2, 3]),
        ("#: Failure modes 18, 20 and 22", [18, 20, 22]),
        ("a file with row 7 twice, throw_3", []),
    ],
)
def test_row_numbers_are_read_from_test_names_and_comments(text: str, numbers: list[int]):
    assert [*list_named_rows(text)] == numbers


def test_every_row_that_a_test_names_is_in_the_table(repository: Path, rows: dict[int, list[str]]):
    unknown = [
        f"{path.relative_to(repository)}: row {number}"
        for path in sorted((repository / "tests").rglob("*.py"))
        if path.name != Path(__file__).name
        for number in list_named_rows(path.read_text(encoding="utf-8"))
        if number not in rows
    ]
    assert unknown == []


def test_every_row_has_tests_and_all_of_them_exist(repository: Path, rows: dict[int, list[str]]):
    defined = {
        name
        for path in (repository / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert {row: names for row, names in rows.items() if not names or {*names} - defined} == {}
