"""The commands of docs/optimize.md run as written, and its numbers are those of the code."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from docs_pages import copy_config, write_files
from onetape.optimization import judge
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.statistics import cscv

Run = Callable[..., Any]
#: A pattern over several lines, whose `^` is the start of a line.
MANY_LINES: Final = re.MULTILINE | re.DOTALL


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    """Return the page."""
    return (repository / "docs/optimize.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_run_from_the_fetch_to_a_walk_forward_verdict(
    page: str, backtester: Run, repository: Path
) -> None:
    copy_config(repository, Path.cwd())
    assert write_files(repository / "docs/optimize.md", Path.cwd())
    (fetch,) = re.findall(r"^uv run backfiller (.*)$", page, re.MULTILINE)
    subprocess.run([sys.executable, "-m", "backfiller.main", *shlex.split(fetch)], check=True)
    found = re.findall(r"^(\$ )?uv run backtester (optimize .*)$", page, re.MULTILINE)
    assert len(found) >= 2
    for prompt, text in found:
        ended = backtester(*shlex.split(text))
        assert ended.code == 0, ended.err
        assert "\nverdict: " in ended.out
        if prompt:
            (shown,) = re.findall(
                rf"^\$ uv run backtester {re.escape(text)}\n(.*?)```", page, MANY_LINES
            )
            printed = {_remove_seconds(line) for line in ended.out.splitlines()}
            assert {_remove_seconds(line) for line in shown.splitlines()} <= printed


def _remove_seconds(line: str) -> str:
    return re.sub(r", [\d.]+ s$", "", line)


def test_every_flag_on_the_page_exists(page: str, backtester: Run) -> None:
    helped = (("optimize",), ("cluster", "join"), ())
    known = "".join(backtester(*words, "--help").out for words in helped)
    named = set(re.findall(r"`(--[a-z-]+)", page))
    assert {flag for flag in named if flag not in known} == set()


def test_the_numbers_on_the_page_are_those_of_the_code(page: str) -> None:
    assert f"{judge.MIN_RETURNS} daily returns and {judge.MIN_CLOSED_TRADES} closed" in page
    assert f"deflated Sharpe ratio is at least {judge.CONFIDENCE}" in page
    assert f"cut into {cscv.BLOCKS} blocks" in page
    assert f"`--batch {SearchOptions(metrics=('sharpe',), processes=1).batch}`" in page
