"""Which other Pythons compute the market: one of each supported minor version."""

from pathlib import Path

import pytest

from other_pythons import find_other_pythons, list_pyenv_versions


def test_one_of_each_supported_version_but_the_own_is_taken():
    found = [((3, 13), "a"), ((3, 9), "b"), ((3, 12), "c"), ((3, 13), "d"), ((3, 11), "e")]
    assert find_other_pythons(found, own=(3, 11)) == {(3, 12): "c", (3, 13): "a"}


def test_pyenv_is_searched_for_released_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("3.12.1", "3.14.0rc1", "3.13.0"):
        (tmp_path / "versions" / name / "bin").mkdir(parents=True)
        (tmp_path / "versions" / name / "bin" / "python3").touch()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert [version for version, _ in list_pyenv_versions()] == [(3, 12), (3, 13)]
