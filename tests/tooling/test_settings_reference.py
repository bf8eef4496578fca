"""Generated settings files and tables equal the declared settings."""

import shutil
from pathlib import Path

import pytest

import settings_reference
from settings_reference import generate_files, main


def test_yaml_files_and_tables_equal_the_declared_settings(
    repository: Path,
) -> None:
    for path, text in generate_files(repository).items():
        assert (repository / path).read_text(encoding="utf-8") == text


def test_a_file_changed_by_hand_is_reported_and_written_again(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("config", "docs"):
        shutil.copytree(repository / name, tmp_path / name)
    monkeypatch.setattr(settings_reference, "ROOT", tmp_path)
    file = tmp_path / "config" / "trader.yaml"
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace("ticker_days: 7", "ticker_days: 8"), encoding="utf-8")
    assert main(["--check"]) == 6
    assert "config/trader.yaml differs" in capsys.readouterr().out
    assert main([]) == 0
    assert file.read_text(encoding="utf-8") == whole
    assert main(["--check"]) == 0
