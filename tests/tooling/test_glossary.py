"""docs/glossary.md defines each term once, and the places that it names exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path("docs", "glossary.md")


def _iterate_rows(repository: Path) -> Iterator[tuple[str, str]]:
    """Yield each term with the place that it names."""
    text = (repository / PAGE).read_text(encoding="utf-8")
    for term, place in re.findall(r"^\| ([^|]+) \| [^|]+ \| `([^`]+)` \|$", text, re.MULTILINE):
        if term != "term":
            yield term, place


@pytest.fixture(scope="module")
def rows(repository: Path) -> list[tuple[str, str]]:
    return list(_iterate_rows(repository))


def test_every_row_of_the_glossary_names_a_place(
    rows: list[tuple[str, str]], repository: Path
) -> None:
    lines = (repository / PAGE).read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if line.startswith("| ") and not line.startswith("| term ")]
    assert len(rows) == len(named)


def test_no_term_is_defined_twice(rows: list[tuple[str, str]]) -> None:
    terms = [term for row, _ in rows for term in row.split(", ")]
    assert sorted(terms) == sorted(set(terms))


def test_each_place_in_the_glossary_exists(rows: list[tuple[str, str]], repository: Path) -> None:
    for term, place in rows:
        if place.startswith("docs/"):
            assert (repository / place).is_file(), term
            continue
        words = place if place.startswith("--") else place.split()[-1]
        found = subprocess.run(
            ["git", "grep", "-q", "-F", "-e", words, "--", "packages", "apps"],
            cwd=repository,
            check=False,
        )
        assert found.returncode == 0, f"{term}: {place} is nowhere in packages/ or apps/"
