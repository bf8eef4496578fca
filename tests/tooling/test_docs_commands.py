"""Every command that README.md and the pages of docs/ show exists, with its flags."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

MODULES = {
    "backfiller": "backfiller.main",
    "backtester": "backtester.main",
    "trader": "trader.main",
    "simulator": "onetape.simulator.main",
    "demo": "onetape.simulator.demo",
}
#: A command of a code block or in backticks, up to a pipe, a redirection or a placeholder.
COMMAND = re.compile(rf"(?:^|[`$ (&])uv run ({'|'.join(MODULES)})\b([^\n`|>&;)\"]*)", re.MULTILINE)
PAGES = sorted([Path("README.md"), *Path("docs").glob("*.md")])


@pytest.fixture(scope="module")
def programs() -> dict[str, Any]:
    """Return the command of each program."""
    return {name: get_command(importlib.import_module(path).app) for name, path in MODULES.items()}


def iterate_commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the program and the words of each command of a page."""
    found: list[tuple[str, list[str]]] = []
    for program, rest in COMMAND.findall(text):
        words = shlex.split(re.sub(r"\s#.*|\.\.\..*|[.,:]$", "", rest).replace("'", ""))
        found.append((program, words))
    return found


def find_unknown_flags(program: Any, words: list[str]) -> list[str]:
    """Return the flags of a command line that its program or its subcommand does not take."""
    command = program
    for word in words:
        below: dict[str, Any] = getattr(command, "commands", {})
        if word not in below:
            break
        command = below[word]
    options = [*command.params]
    if command.context_settings.get("ignore_unknown_options"):
        options += program.params  # such a subcommand passes the flags of a backtest on
    known = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    known |= {"--help", "-h"}
    return [word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in known]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_of_the_page_exists(
    page: Path, repository: Path, programs: dict[str, Any]
) -> None:
    text = (repository / page).read_text(encoding="utf-8")
    wrong = {
        f"{name} {' '.join(words)}": flags
        for name, words in iterate_commands(text)
        if (flags := find_unknown_flags(programs[name], words))
    }
    assert wrong == {}


def test_the_commands_of_the_pages_are_found(repository: Path) -> None:
    found = [
        command
        for page in PAGES
        for command in iterate_commands((repository / page).read_text(encoding="utf-8"))
    ]
    assert len(found) > 100
    assert {program for program, _ in found} == {*MODULES}
