"""The packages and files that ARCHITECTURE.md and CONTRIBUTING.md name exist."""

import re
import subprocess
from pathlib import Path

import pytest

#: A path in backticks: a Python file, or a folder with its slash.
_PATH = re.compile(r"`((?:[\w*.-]+/)*[\w*.-]+\.py|(?:[\w.-]+/)+)`")


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[str]:
    """Return every file of the repository, each after a slash."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    return [f"/{name}" for name in done.stdout.splitlines() if (repository / name).exists()]


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_in_the_page_exists(page: str, repository: Path, tracked: list[str]):
    paths = _PATH.findall((repository / page).read_text(encoding="utf-8"))
    assert len(paths) > 5
    missing = [
        path
        for path in paths
        if "NAME" not in path
        and path not in ("onetape/__init__.py", "user/")
        and not any(name.endswith(f"/{path}") or f"/{path}" in name for name in tracked)
    ]
    assert missing == []


def test_the_tree_has_every_app_and_package(repository: Path):
    page = (repository / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = re.findall(r"^  (\w+)/ ", page, re.MULTILINE)
    folders = [
        path.name
        for group in ("apps", "packages")
        for path in (repository / group).iterdir()
        if (path / "pyproject.toml").exists()
    ]
    assert sorted(tree) == sorted(folders)


def test_every_package_is_described_by_its_own_files(repository: Path):
    paths = _PATH.findall((repository / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    named = {path.partition("/")[0] for path in paths}
    packages = [path.name for path in (repository / "packages").iterdir() if path.is_dir()]
    assert {name for name in packages if name not in named} == set()
