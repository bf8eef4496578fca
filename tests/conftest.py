"""Fixtures for all tests, and the guard of the namespace that the packages share."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from browser import Chromium, Page

# A busy machine makes an example slow, not wrong; a failure prints what reproduces it.
settings.register_profile("onetape", deadline=None, print_blob=True)
settings.load_profile("onetape")

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


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Return a running headless Chromium; skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium on the path (Debian: apt-get install chromium)")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium-profile"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(chromium: Chromium) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a file in a tab of the given size, in CSS pixels."""
    pages: list[Page] = []

    def opened(path: Path, width: int = 1280, height: int = 900) -> Page:
        page = Page(chromium, width, height)
        pages.append(page)
        return page.open(path)

    yield opened
    for page in pages:
        page.close()
