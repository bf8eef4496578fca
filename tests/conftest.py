"""Fixtures for all tests, and the guard of the namespace that the packages share."""

import os
import shutil
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main

from browser import BrowserTab, Chromium
from bytecode import compile_installed
from inherited_signals import give_children_default_signals
from memory_files import keep_files_in_memory
from onetape.exchange.lazy_ccxt import install
from repeatable import (
    get_seed,
    make_repeat_lines,
    seed_shared_generators,
    set_up_hypothesis,
    use_given_seed,
)
from run_distribution import count_processes, put_longest_first

give_children_default_signals()
# As in the programs, `import ccxt` in a test loads the exchanges that the test uses.
install()
# Reading all certificates of the system takes 30 ms for each client of an exchange, of thousands.
ssl.create_default_context = cache(ssl.create_default_context)
# Building the commands of an app takes 10 ms for each of thousands of runs inside the tests.
typer.main.get_command = cache(typer.main.get_command)
# Without bytecode each process of the tests, and each program that they start, compiles everything.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
set_up_hypothesis()
keep_files_in_memory()

REPOSITORY = Path(__file__).resolve().parent.parent

_STRAY = [
    *REPOSITORY.glob("packages/*/src/onetape/__init__.py"),
    *REPOSITORY.glob("tests/**/__init__.py"),
]
if _STRAY:
    pytest.exit(f"{_STRAY[0]} must not exist: it hides the other members of the namespace", 1)


def pytest_configure(config: pytest.Config) -> None:
    """Take the seed of the command line, if one is given; compile before processes share tests."""
    use_given_seed(config)
    if config.getoption("numprocesses", 0):
        compile_installed()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes share the tests, where `-n` names no number."""
    return count_processes(config.args)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and mark the tests that use `random_seed`."""
    put_longest_first(items, REPOSITORY / "tests")
    for item in items:
        if "random_seed" in getattr(item, "fixturenames", ()):
            item.add_marker("seeded")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the command that repeats each failure of a run with a given seed."""
    reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    for line in make_repeat_lines(config, dict.fromkeys(report.nodeid for report in reports)):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def random_seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of random tests: the default, or the one given on the command line."""
    return get_seed(pytestconfig)


@pytest.fixture(autouse=True)
def _seed_generators(pytestconfig: pytest.Config) -> None:
    """Reset the shared random generators before each test."""
    seed_shared_generators(get_seed(pytestconfig))


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


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """Return a port of 127.0.0.1 that refuses connections, and that no other process can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Return a running headless Chromium; skip if none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium on the path (Debian: apt-get install chromium)")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium-profile"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(chromium: Chromium) -> Iterator[Callable[..., BrowserTab]]:
    """Return a function that opens a file in a tab of the given size, in CSS pixels."""
    pages: list[BrowserTab] = []

    def opened(path: Path, width: int = 1280, height: int = 900) -> BrowserTab:
        page = BrowserTab(chromium, width, height)
        pages.append(page)
        return page.open(path)

    yield opened
    for page in pages:
        page.close()
