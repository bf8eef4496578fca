"""What docs/fault-injection.md states: its flags, its timeline, every kind and its variants."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from onetape.simulator.faults.kinds import KINDS
from onetape.simulator.faults.timeline import read_timeline
from onetape.simulator.main import app


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    """Return the page."""
    return (repository / "docs/fault-injection.md").read_text(encoding="utf-8")


def test_the_timeline_of_the_page_can_be_read(page: str, tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "outage.yaml").write_text(text, encoding="utf-8")
    assert len(read_timeline(tmp_path / "outage.yaml").faults) == 4


def test_the_programs_of_the_page_are_valid_python(page: str) -> None:
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        ast.parse(program)


def test_the_order_without_a_response_of_the_page_is_found(page: str) -> None:
    program, shown = re.findall(
        r"```python\n(import asyncio.*?)```\n\n```text\n(.*?)```", page, re.DOTALL
    )[0]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert _remove_market_time(done.stdout) == _remove_market_time(shown)


def _remove_market_time(text: str) -> str:
    return re.sub(r"market time [^,]+", "market time", text)


def test_every_flag_of_the_simulator_exists(page: str) -> None:
    command = get_command(app)
    known = {flag for option in command.params for flag in option.opts}
    for name in ("ledger", "play"):
        known |= {flag for option in command.commands[name].params for flag in option.opts}  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType,reportUnknownVariableType] - a group
    lines = re.findall(r"uv run simulator\b([^\n`|>]*)", page)
    used = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    assert {"--faults", "--speed", "--json"} <= used <= known


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_with_its_variants(kind: str, page: str) -> None:
    (row,) = re.findall(rf"^\| `{kind}` \|(.*)\|$", page, re.MULTILINE)
    if kind not in ("events", "fills"):  # which name them in words
        for shape in KINDS[kind].shapes:
            assert re.search(rf"\b{shape}\b", row), shape
    for setting in KINDS[kind].needs - {"symbol"}:
        assert f"`{setting}`" in row
