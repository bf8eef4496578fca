"""Fixtures for all tests, and the guard of the namespace that the packages share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

_STRAY = [
    *REPOSITORY.glob("packages/*/src/onetape/__init__.py"),
    *REPOSITORY.glob("tests/**/__init__.py"),
]
if _STRAY:
    pytest.exit(f"{_STRAY[0]} must not exist: it hides the other members of the namespace", 1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of recorded exchange data; skip where it is absent."""
    folder = os.environ.get("ONETAPE_SHARED")
    if not folder:
        pytest.skip("needs the recorded exchange data; set ONETAPE_SHARED to its folder")
    path = Path(folder)
    if not (path / "data").is_dir():
        pytest.fail(f"ONETAPE_SHARED={folder} has no folder data")
    return path
