"""CI counts its tests, and refuses skips if the recorded data is available."""

import sys
from pathlib import Path

import pytest

from count_tests import main

JUNIT = '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="{}" /></testsuites>'


@pytest.mark.parametrize("shared", ["somewhere", ""], ids=["with data", "without data"])
def test_a_skip_fails_only_if_the_recorded_data_is_available(
    shared: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    file = tmp_path / "junit.xml"
    file.write_text(JUNIT.format(1))
    monkeypatch.setattr(sys, "argv", ["count_tests.py", str(file)])
    monkeypatch.setenv("ONETAPE_SHARED", shared)

    if shared:
        with pytest.raises(SystemExit, match="1 tests skipped"):
            main()
    else:
        main()
    assert capsys.readouterr().out == "2 passed, 2 failed, 1 skipped\n"


def test_a_run_without_tests_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["count_tests.py", str(tmp_path / "missing.xml")])
    with pytest.raises(SystemExit, match="no test ran"):
        main()
