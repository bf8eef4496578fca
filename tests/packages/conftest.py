"""Fixtures for tests of several packages."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onetape.core.candles import Candles


@pytest.fixture(scope="session")
def recorded(shared: Path) -> Callable[[str], Candles]:
    """Return a reader of the recorded candle files."""

    def read(name: str) -> Candles:
        with gzip.open(shared / "data" / "candles" / f"{name}.csv.gz", "rt") as file:
            table = np.loadtxt(file, delimiter=",", skiprows=1)
        columns = [np.ascontiguousarray(table[:, column]) for column in range(1, 6)]
        return Candles.from_columns(table[:, 0].astype(np.int64), *columns)

    return read
