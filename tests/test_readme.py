"""Commands, flags, links, exit codes and tables of README.md and two pages are correct."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs_pages import copy_config
from onetape.core import errors
from onetape.core.setting import collect_settings
from onetape.store.database import open_store

APPS = ("backfiller", "backtester", "trader", "simulator", "demo")
MODULES = {
    "backfiller": "backfiller.main",
    "backtester": "backtester.main",
    "trader": "trader.main",
    "simulator": "onetape.simulator.main",
    "demo": "onetape.simulator.demo",
}


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    """Return the README."""
    return (repository / "README.md").read_text(encoding="utf-8")


def _list_flags(app: str) -> set[str]:
    """Return every flag that an app takes, read from the app itself."""
    from typer.main import get_command

    command = get_command(importlib.import_module(MODULES[app]).app)
    return {"--help", *(flag for option in command.params for flag in option.opts)}


def test_both_set_up_commands_are_within_the_first_twenty_lines(readme: str) -> None:
    head = readme.splitlines()[:20]
    assert "pip install 'uv==0.13.*' && uv run demo" in head
    assert "uv run pytest" in head


@pytest.mark.parametrize("app", APPS)
def test_every_flag_in_the_readme_exists(app: str, readme: str) -> None:
    commands = re.findall(rf"uv run {app}\b([^\n`|]*)", readme)
    assert commands
    used = {
        word
        for command in commands
        for word in shlex.split(command, comments=True)
        if word.startswith("-")
    }
    assert used <= _list_flags(app)


def test_the_exit_codes_are_those_of_the_errors(repository: Path) -> None:
    page = (repository / "docs/operations.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d) \| [^|]+ \|$", page, re.MULTILINE)}
    known = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.OnetapeError)
    }
    assert listed == {0, *known}


def test_every_table_is_named(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs/tables.md").read_text(encoding="utf-8")
    with open_store(tmp_path / "new.db", create=True) as store, store.read() as connection:
        found = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite_%' AND name <> 'store_kind'"
        ).fetchall()
    assert {table for (table,) in found if f"`{table}`" not in page} == set()


@pytest.mark.parametrize("app", APPS[:3])
def test_every_setting_is_in_the_config_file(app: str, repository: Path) -> None:
    text = (repository / f"config/{app}.yaml").read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    module = importlib.import_module(f"{app}.settings")
    model = getattr(module, f"{app.capitalize()}Settings")
    assert set(written) == {key.partition(".")[0] for key in collect_settings(model)}


def test_every_linked_page_and_heading_exists(repository: Path) -> None:
    pages = [repository / "README.md", *repository.glob("docs/*.md")]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    missing = [
        f"{page.name}: {link}"
        for page, text in texts.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", text)
        if not link.startswith("http") and not _is_valid_link(page, link)
    ]
    assert missing == []


def _is_valid_link(page: Path, link: str) -> bool:
    """Return whether a relative link names a file, and a heading of it after `#`."""
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return False
    titles = (
        re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        if heading
        else []
    )
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return not heading or heading in anchors


def test_the_printed_runs_equal_the_output_of_the_commands(
    readme: str, repository: Path, tmp_path: Path
) -> None:
    copy_config(repository, tmp_path)
    blocks = re.findall(r"```text\n\$ (uv run back[^\n]+)\n(.*?)```", readme, re.DOTALL)
    offline = [(command, shown) for command, shown in blocks if "--exchange simulator" in command]
    assert len(offline) == 2
    for command, shown in offline:
        words = shlex.split(command)[2:]
        done = subprocess.run(
            [sys.executable, "-m", f"{words[0]}.main", *words[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        # How long it took differs; everything else is the same on every machine.
        printed = {_remove_seconds(line) for line in done.stdout.splitlines()}
        lines = {_remove_seconds(line) for line in shown.splitlines() if line not in ("", "...")}
        assert lines <= printed


def _remove_seconds(line: str) -> str:
    return re.sub(r", [\d.]+ s$", "", line)
