"""No tracked file names the package index or a folder of the machine."""

import subprocess
from pathlib import Path

import pytest

from check_tracked import find_machine_names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("wheels come from files.invalid", True),
        ("see " + "/home" + "/me/notes", True),
        ("mount it at /app/data", False),
        ("https://example.org" + "/home" + "/page", False),
    ],
    ids=["index host", "home", "container path", "page of a site"],
)
def test_names_of_a_machine_are_found(tmp_path: Path, text: str, found: bool):
    (tmp_path / "uv.lock").write_text('url = "https://files.invalid/a.whl"\n')
    (tmp_path / "notes.txt").write_text(text + "\n")
    for command in (
        ["git", "init", "-q"],
        ["git", "add", "notes.txt"],
        ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "-qm", "t"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)

    assert [line.startswith("notes.txt:1:") for line in find_machine_names(tmp_path)] == [
        True
    ] * found


def test_an_address_that_a_commit_once_held_is_found(tmp_path: Path):
    lock = tmp_path / "uv.lock"
    for text in ('url = "https://files.invalid/a.whl"\n', 'filename = "a.whl"\n'):
        lock.write_text(text)
        for command in (
            ["git", "init", "-q"],
            ["git", "add", "uv.lock"],
            ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "-qm", "t"],
        ):
            subprocess.run(command, cwd=tmp_path, check=True)

    assert len(find_machine_names(tmp_path)) == 2, (
        "the commit that brought it in and the one that removed it"
    )
