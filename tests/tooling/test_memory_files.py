"""Temporary files in memory and compiled packages are used only where they are possible."""

import os
from pathlib import Path

import pytest

import memory_files
from bytecode import LARGEST, compile_installed
from memory_files import VARIABLE, keep_files_in_memory


@pytest.fixture(autouse=True)
def _without_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)


def test_files_are_in_memory_if_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_files, "LEAST_BYTES", 1)
    keep_files_in_memory(tmp_path)
    assert os.environ[VARIABLE] == str(tmp_path)


def test_files_stay_on_the_disk_where_there_is_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_files, "LEAST_BYTES", 2**80)
    keep_files_in_memory(tmp_path)
    keep_files_in_memory(tmp_path / "missing")
    assert VARIABLE not in os.environ


def test_a_chosen_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_files, "LEAST_BYTES", 1)
    monkeypatch.setenv(VARIABLE, "/chosen")
    keep_files_in_memory(tmp_path)
    assert os.environ[VARIABLE] == "/chosen"


def test_only_a_new_environment_is_compiled(tmp_path: Path) -> None:
    package = tmp_path / LARGEST
    package.mkdir()
    (package / "__init__.py").write_text("A = 1\n")
    (package / "template.py").write_text("{{ no Python }\n")
    assert compile_installed(tmp_path)
    assert list((package / "__pycache__").glob("__init__.*.pyc"))
    assert not compile_installed(tmp_path)
