"""docs/cli.md is the help text of every program and command."""

import subprocess
import sys
from pathlib import Path

import pytest

import cli_reference
from cli_reference import main, make_page


def test_the_page_equals_the_help_of_every_command(repository: Path) -> None:
    # In a separate process: other tests have used the commands, which keep their help option.
    check = [sys.executable, str(repository / "tools" / "cli_reference.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_each_help_text_has_a_heading() -> None:
    text = make_page()
    headings = sum(text.count(f"\n{'#' * depth} ") for depth in (2, 3, 4))
    assert text.count("\n```text\nUsage: ") == headings


def test_a_page_that_differs_is_reported_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(cli_reference, "ROOT", tmp_path)
    assert main(["--check"]) == 6
    assert "docs/cli.md differs" in capsys.readouterr().out
    assert main([]) == 0
    assert main(["--check"]) == 0
