"""The commands of docs/optimize.md run as they are written, and what it states is so."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.optimization import judge
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.statistics import cscv

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    """Return the page."""
    return (repository / "docs/optimize.md").read_text(encoding="utf-8")


def test_its_commands_run_from_a_grid_to_a_walk_forward_verdict(
    page: str, backtester: Run, database: Path
) -> None:
    del database
    found = re.findall(r"^(?:\$ )?uv run backtester (optimize .*)$", page, re.MULTILINE)
    assert len(found) >= 2
    for text in found:
        # The database of the tests has 120 days.
        words = shlex.split(text.replace("365d/90d", "60d/20d"))
        ended = backtester(*words, "--exchange", "simulator")
        assert ended.code == 0, ended.err
        assert "\nverdict: " in ended.out


def test_the_flags_that_it_names_exist(page: str, backtester: Run) -> None:
    known = backtester("optimize", "--help").out + backtester("--help").out
    named = set(re.findall(r"`(--[a-z-]+)", page))
    assert {flag for flag in named if flag not in known} == set()


def test_it_states_the_numbers_of_the_code(page: str) -> None:
    assert f"{judge.LEAST_RETURNS} daily returns and {judge.LEAST_CLOSED_TRADES} closed" in page
    assert f"deflated Sharpe ratio is at least {judge.CONFIDENCE}" in page
    assert f"cut into {cscv.BLOCKS} blocks" in page
    assert f"`--batch {SearchOptions(metrics=('sharpe',), processes=1).batch}`" in page
