"""Reading of saved runs, one folder each in data/runs (save.py writes them).

In a notebook:

    from onetape.backtest.storage.runs import load_run
    load_run("last").trades          # .trades and .equity are pandas DataFrames, .metrics a dict

A folder has `manifest.json` (config, versions, digests of code and data, assumptions, metrics),
`trades.csv`, `equity.npy` and, unless it was switched off, `report.html`. No other file refers to
it: to remove a run, delete its folder.
"""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from onetape.backtest.records import RunSummary, TradeRecord
from onetape.backtest.storage.manifest import Manifest
from onetape.backtest.storage.trade_table import read_trades
from onetape.backtest.trade_frame import make_trade_frame
from onetape.core.errors import DataError, UsageError
from onetape.core.folders import DATA_FOLDER
from onetape.core.message_text import format_os_error, suggest_name

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RUNS_FOLDER: Final = DATA_FOLDER / "runs"
MANIFEST, TRADES, EQUITY, REPORT = "manifest.json", "trades.csv", "equity.npy", "report.html"
#: Version of the layout of a run's folder.
FORMAT: Final = 3
#: Name that stands for the newest run.
LAST: Final = "last"


class _Format(msgspec.Struct):
    """The part of a manifest that every version has."""

    format: int


@dataclass(frozen=True)
class SavedRun:
    """A saved run, read from its folder."""

    folder: Path
    manifest: Manifest = field(repr=False)

    @property
    def id(self) -> str:
        """Return the short id, the last part of the folder's name."""
        return self.folder.name.rpartition("_")[2]

    @property
    def summary(self) -> RunSummary:
        """Return the summary of the run, as `--json` printed it, without the trades."""
        return self.manifest.result

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the metrics by name; docs/metrics.md defines them."""
        return self.manifest.result.metrics.as_dict()

    @cached_property
    def trades(self) -> "pd.DataFrame":
        """Return a row for each trade; times are UTC.

        Raises:
            DataError: the file is not there, or not the whole table.
        """
        return make_trade_frame(self.read_trade_records(), self.summary.symbol)

    @cached_property
    def equity(self) -> "pd.DataFrame":
        """Return equity and buy-and-hold at each close, by the open of their candle, UTC.

        Raises:
            DataError: the file is not there, or not the whole array.
        """
        import pandas as pd

        rows = self.read_equity()
        columns: Any = {name: rows[name] for name in ("equity", "buy_and_hold")}
        times: Any = rows["timestamp"].astype("datetime64[s]")
        return pd.DataFrame(columns, index=pd.DatetimeIndex(times, tz="UTC", name="time"))

    def read_equity(self) -> "NDArray[Any]":
        """Return the columns timestamp (open, epoch seconds), equity and buy_and_hold; shape (m,).

        Raises:
            DataError: the file is not there, or not the whole array.
        """
        import numpy as np

        path = self.folder / EQUITY
        try:
            # `np.load` would accept other kinds of files too.
            with path.open("rb") as file:
                rows: Any = np.lib.format.read_array(file, allow_pickle=False)
            for name in ("equity", "buy_and_hold"):
                _ = rows[name].astype("float64")
            times: Any = rows["timestamp"].astype("datetime64[s]")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _make_damaged_error(path, error) from error
        candles = self.summary.candles
        if times.shape != (candles,):
            text = f"it has {times.size:,} rows, and the manifest counts {candles:,} candles"
            raise _make_damaged_error(path, text)
        return rows

    def read_trade_records(self) -> list[TradeRecord]:
        """Return the trades of the run.

        Raises:
            DataError: the file is not there, or not the whole table.
        """
        path, metrics = self.folder / TRADES, self.summary.metrics
        try:
            return read_trades(path, metrics.trades, open_at_end=metrics.open_at_end)
        except (OSError, ValueError) as error:
            raise _make_damaged_error(path, error) from error


def load_run(name: str | os.PathLike[str] = LAST, root: Path | None = None) -> SavedRun:
    """Return a saved run.

    Args:
        name: `last`, an id or the beginning of one, a folder's name, or the path of a folder.
        root: Folder of the saved runs; None: data/runs.

    Raises:
        UsageError: no run has that name, or several have.
        DataError: the manifest of the run is damaged.
    """
    root = RUNS_FOLDER if root is None else root
    given = Path(name)
    if given.name != os.fspath(name) and given.is_dir():
        if not (given / MANIFEST).exists():
            raise UsageError(f"{given} is not the folder of a run; see: uv run backtester list")
        return _read_saved_run(given)
    folders = list_run_folders(root)
    if name == LAST and folders:
        return _read_saved_run(folders[-1])
    text = given.name
    found = [one for one in folders if one.name == text or _parse_run_id(one) == text] or [
        one for one in folders if one.name.startswith(text) or _parse_run_id(one).startswith(text)
    ]
    if len(found) == 1:
        return _read_saved_run(found[0])
    if found:
        ids = ", ".join(_parse_run_id(one) for one in found[-8:])
        raise UsageError(f"{len(found)} runs are called {text}...; write more of one: {ids}")
    if not folders:
        raise UsageError(f"no run is saved in {root}; run: uv run backtester")
    hint = suggest_name(text, [LAST, *(_parse_run_id(one) for one in folders)])
    raise UsageError(f"no run is called {text!r}{hint}; see: uv run backtester list")


def list_run_folders(root: Path | None = None) -> list[Path]:
    """Return the folders of all finished runs, the newest last.

    Raises:
        DataError: the folder cannot be read.
    """
    root = RUNS_FOLDER if root is None else root
    try:
        found = [path.parent for path in root.glob(f"*/{MANIFEST}")]
        saved = [folder for folder in found if not folder.name.startswith(".")]
        # Names begin with the second; the id at their end begins with the milliseconds.
        return sorted(
            saved, key=lambda folder: (folder.name.partition("_")[0], _parse_run_id(folder))
        )
    except OSError as error:
        raise DataError(
            f"{root} cannot be read: {format_os_error(error)}; fix its permissions"
        ) from error


def read_stored_runs(root: Path | None = None) -> tuple[list[SavedRun], list[str]]:
    """Return the runs, the newest last, and a sentence for each whose manifest is damaged."""
    runs: list[SavedRun] = []
    damaged: list[str] = []
    for folder in list_run_folders(root):
        try:
            runs.append(_read_saved_run(folder))
        except DataError as error:
            damaged.append(str(error))
    return runs, damaged


def _read_saved_run(folder: Path) -> SavedRun:
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Format).format
        if version == FORMAT:
            return SavedRun(folder, msgspec.json.decode(content, type=Manifest))
    except (OSError, ValueError, RecursionError) as error:
        raise _make_damaged_error(path, error) from error
    raise DataError(
        f"{path} is of format {version}, which another version wrote; delete {path.parent} and "
        "run it again"
    )


def _parse_run_id(folder: Path) -> str:
    return folder.name.rpartition("_")[2]


def _make_damaged_error(path: Path, error: Exception | str) -> DataError:
    reason = error
    if isinstance(error, Exception):
        reason = (
            format_os_error(error)
            if isinstance(error, OSError)
            else f"{type(error).__name__}: {error}"
        )
    return DataError(f"{path} cannot be read ({reason}); delete {path.parent} and run it again")
