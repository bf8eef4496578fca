"""A fresh database, and a foreign SQLite client in a separate process.

A process that has a database open through our driver must not open it through another library:
closing the other handle would drop the locks of the first.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import SeriesKey
from onetape.store.database import Store, open_store

#: Runs SQL as any program with the standard library's sqlite3 would.
FOREIGN = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
results = []
for statement, values in json.load(sys.stdin):
    try:
        results.append([list(row) for row in connection.execute(statement, values)])
    except sqlite3.Error as error:
        results.append(f"{type(error).__name__}: {error}")
connection.close()
print(json.dumps(results))
"""

Statement = str | tuple[str, Sequence[Any]]
#: Runs statements and returns for each its rows, or the text of its error.
Foreign = Callable[..., list[Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "onetape.db"


@pytest.fixture
def store(path: Path) -> Generator[Store]:
    with open_store(path, create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Generator[Store]:
    """Return one database for all examples of a property; each example takes its own series."""
    with open_store(tmp_path_factory.mktemp("properties") / "onetape.db", create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def fresh_keys() -> Iterator[SeriesKey]:
    """Return series that no test has used."""
    return (SeriesKey("binance", f"COIN{number}/USDT", "1h") for number in count())


@pytest.fixture(scope="session")
def foreign() -> Foreign:
    def run(path: Path, *statements: Statement) -> list[Any]:
        batch: list[tuple[str, Sequence[Any]]] = [
            (each, []) if isinstance(each, str) else each for each in statements
        ]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", FOREIGN, str(path)],
            input=json.dumps(batch),
            capture_output=True,
            text=True,
            check=True,
            timeout=180,
        )
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """Return the environment of a child process, with compiled bytecode kept."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
