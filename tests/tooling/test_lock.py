"""The committed lock names no address, and its completed form is verified against it."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from clean_lock import clean
from verify_lock import find_lock_faults

COMPLETED = """version = 1
requires-python = ">=3.11"

[[package]]
name = "alpha"
version = "1.2"
source = { registry = "https://index.invalid/simple" }
dependencies = [
    { name = "beta", version = "2.0", source = { registry = "https://index.invalid/simple" } },
]
sdist = { url = "https://files.invalid/a1/alpha-1.2.tar.gz", hash = "sha256:aa", size = 1 }
wheels = [
    { url = "https://files.invalid/b2/alpha-1.2-py3-none-any.whl", hash = "sha256:bb", size = 2 },
]

[[package]]
name = "beta"
version = "2.0"
source = { registry = "https://index.invalid/simple" }
sdist = { url = "https://files.invalid/c3/beta-2.0.tar.gz", hash = "sha256:cc", size = 3 }
"""
COMMITTED = clean(COMPLETED)


def test_cleaning_leaves_names_and_hashes_and_no_address():
    assert '{ filename = "alpha-1.2.tar.gz", hash = "sha256:aa", size = 1 }' in COMMITTED
    assert "://" not in COMMITTED


def test_cleaning_the_projects_lock_twice_changes_nothing(repository: Path):
    once = clean((repository / "uv.lock").read_text(encoding="utf-8"))
    assert "://" not in once
    assert clean(once) == once


def test_a_completed_lock_passes_against_its_clean_form():
    assert find_lock_faults(COMMITTED, COMPLETED) == []


def test_files_that_the_index_gained_pass():
    wheel = '{ url = "https://files.invalid/d4/alpha-1.2-cp313.whl", hash = "sha256:dd", size = 4 }'
    more = COMPLETED.replace("wheels = [\n", f"wheels = [\n    {wheel},\n")
    assert find_lock_faults(COMMITTED, more) == []


@pytest.mark.parametrize(
    ("committed", "completed", "finding"),
    [
        (COMPLETED, COMPLETED, "names an address"),
        (COMMITTED, COMMITTED, "not completed yet"),
        (COMMITTED, COMPLETED.replace("sha256:bb", "sha256:ee"), "has hash sha256:ee"),
        (COMMITTED, COMPLETED.replace('"2.0"', '"2.1"'), "beta 2.0 is in one lock only"),
        (COMMITTED, COMPLETED.replace('{ name = "beta"', '{ name = "gamma"'), "dependencies"),
        (COMMITTED, COMPLETED.replace("beta-2.0.tar", "beta-2.0.post1.tar"), "none of the files"),
        (COMMITTED.replace(">=3", ">=3.11", 1), COMPLETED, "not in its clean form"),
    ],
    ids=["address", "not completed", "hash", "version", "dependency", "files", "not clean"],
)
def test_a_lock_that_differs_or_cannot_be_verified_is_found(
    committed: str, completed: str, finding: str
):
    assert any(finding in line for line in find_lock_faults(committed, completed))


def run_git(folder: Path, *arguments: str) -> str:
    """Run git with no settings but the repository's own; return its output, or fail with it."""
    done = subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@example.invalid", *arguments],
        cwd=folder,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize("setup", ["Makefile", "CONTRIBUTING.md", ".ci/run"])
def test_the_lock_can_be_checked_out_after_each_setup(repository: Path, tmp_path: Path, setup: str):
    clone = tmp_path / "clone"
    (clone / "tools").mkdir(parents=True)
    shutil.copy(repository / ".gitattributes", clone)
    shutil.copy(repository / "tools/clean_lock.py", clone / "tools")
    run_git(clone, "init", "-q")
    text = (repository / setup).read_text(encoding="utf-8")
    lines = re.findall(r"git (config filter\.\S+ (?:'[^']*'|\S+))", text)
    assert lines
    for line in lines:
        run_git(clone, *shlex.split(line))
    (clone / "uv.lock").write_text(COMPLETED)
    run_git(clone, "add", "-A")
    run_git(clone, "commit", "-qm", "Begin")
    (clone / "uv.lock").unlink()
    run_git(clone, "checkout", "uv.lock")
    run_git(clone, "worktree", "add", "-q", "../other")
    assert (clone / "uv.lock").read_text() == COMMITTED
    assert (tmp_path / "other/uv.lock").read_text() == COMMITTED
