"""The recorded candle files, for tests that run once for each of them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

#: Whether tests take every file, and all of it: `make replay`.
WHOLE = bool(os.environ.get("ONETAPE_FULL_REPLAY"))
#: Candles above which only the smallest file of each timeframe and number of gaps is used.
LARGE = 40_000


def read_inventory() -> list[dict[str, Any]]:
    """Return the inventory entry of each file; empty where the data is absent."""
    folder = os.environ.get("ONETAPE_SHARED")
    path = Path(folder or "") / "data" / "candles" / "inventory.json"
    files: list[dict[str, Any]] = []
    if folder and path.is_file():
        files += json.loads(path.read_text())["files"]
    # Some names have a remark behind them, such as `BTC/USD (XBTUSD)`.
    for one in files:
        one |= {"exchange": one["exchange"].split()[0], "symbol": one["symbol"].split()[0]}
    return files


def select_tested_files(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the files that tests take: the large ones that are like another are left out."""
    if WHOLE:
        return files
    first: dict[tuple[str, int], str] = {}
    for one in sorted(files, key=lambda file: file["rows"]):
        if one["rows"] > LARGE:
            first.setdefault((one["timeframe"], one["gap_count"]), one["file"])
    return [one for one in files if one["rows"] <= LARGE or one["file"] in first.values()]


_FILES = select_tested_files(read_inventory())
#: Runs a test with each file's entry of the inventory as `known`; its fixture `shared` skips it
#: where the data is absent.
each_file = pytest.mark.parametrize(
    "known", _FILES or [{}], ids=[Path(one["file"]).name for one in _FILES] or ["absent"]
)
