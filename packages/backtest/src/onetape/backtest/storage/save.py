"""Saving of a backtest as a folder, which is written under a hidden name and renamed at the end."""

import contextlib
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.backtest.models import Backtest
from onetape.backtest.records import RunSummary, TradeRecord
from onetape.backtest.storage.digests import compute_digests
from onetape.backtest.storage.manifest import Manifest, build_config_tree
from onetape.backtest.storage.runs import EQUITY, FORMAT, MANIFEST, REPORT, RUNS_FOLDER, TRADES
from onetape.backtest.storage.trade_table import write_trades
from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error

#: Age after which a hidden folder counts as left over from an unfinished save.
_UNFINISHED_AFTER_SECONDS: Final = 3_600.0


def save_run(
    backtest: Backtest,
    summary: RunSummary,
    trades: Sequence[TradeRecord],
    *,
    write_report: Callable[[Path], None] | None = None,
    root: Path | None = None,
    digests: Mapping[str, str] | None = None,
) -> RunSummary:
    """Write the folder of a run; return the summary with the folder, and the report in it.

    Args:
        backtest: The backtest.
        summary: Summary of the backtest.
        trades: Trades of the backtest.
        write_report: Writes the HTML report to a path in the folder; None: no report.
        root: Folder of all saved runs; None: data/runs.
        digests: Digests of the run; None: computed here.

    Raises:
        ConfigurationError: the folder cannot be written; nothing is left behind.
    """
    saved_at = datetime.fromtimestamp(time.time(), tz=UTC)
    folder = (RUNS_FOLDER if root is None else root) / _make_folder_name(backtest, saved_at)
    # Readers skip a folder whose name begins with a dot.
    unfinished_folder = folder.with_name(f".{folder.name}")
    report = summary.report if write_report is None else str(folder / REPORT)
    summary = replace(summary, run=str(folder), report=report)
    try:
        unfinished_folder.mkdir(parents=True)
        if write_report is not None:
            write_report(unfinished_folder / REPORT)
        write_trades(trades, unfinished_folder / TRADES)
        np.save(unfinished_folder / EQUITY, _make_equity_table(backtest), allow_pickle=False)
        (unfinished_folder / MANIFEST).write_bytes(
            _encode_manifest(
                _make_manifest(backtest, summary, saved_at, digests or compute_digests(backtest))
            )
        )
        unfinished_folder.rename(folder)
    except OSError as error:
        raise ConfigurationError(
            f"the run's folder {folder} cannot be written: {format_os_error(error)}; fix its "
            "permissions, make room, or add --no-save"
        ) from error
    finally:
        shutil.rmtree(unfinished_folder, ignore_errors=True)
    _delete_unfinished_folders(folder.parent)
    return summary


def _delete_unfinished_folders(root: Path) -> None:
    """Delete folders of unfinished saves that are older than an hour."""
    for path in root.glob(".????????T??????Z_*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNFINISHED_AFTER_SECONDS:
                shutil.rmtree(path)


def _encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as indented JSON; values that JSON does not have are text."""
    return msgspec.json.format(msgspec.json.encode(manifest, enc_hook=str), indent=2)


def _make_folder_name(backtest: Backtest, saved_at: datetime) -> str:
    key = backtest.first.window.key
    parts = (f"{saved_at:%Y%m%dT%H%M%SZ}", backtest.strategy_name, key.symbol, key.timeframe)
    plain = (re.sub(r"[^\w.]|_", "-", part) for part in parts)
    # Ids begin with the milliseconds, so that runs of one second sort in their order.
    return "_".join([*plain, f"{saved_at.microsecond // 1_000:03x}{secrets.token_hex(2)[1:]}"])


def _make_manifest(
    backtest: Backtest, summary: RunSummary, saved_at: datetime, digests: Mapping[str, str]
) -> Manifest:
    return Manifest(
        format=FORMAT,
        made=f"{saved_at:%Y-%m-%dT%H:%M:%SZ}",
        versions=_collect_versions(),
        digests=dict(digests),
        settings=build_config_tree(backtest.config),
        result=summary,
    )


def _collect_versions() -> dict[str, str]:
    from importlib.metadata import version

    import apsw

    return {
        "onetape": version("onetape-backtester"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sqlite": apsw.sqlite_lib_version(),
    }


def _make_equity_table(backtest: Backtest) -> NDArray[Any]:
    """Return equity and buy-and-hold by time, as a structured array; shape (m,)."""
    columns: dict[str, NDArray[Any]] = {
        "timestamp": backtest.timestamp,
        "equity": backtest.equity,
        "buy_and_hold": backtest.buy_and_hold(),
    }
    rows = np.empty(
        len(backtest.equity), [(name, column.dtype.str) for name, column in columns.items()]
    )
    for name, column in columns.items():
        rows[name] = column
    return rows
