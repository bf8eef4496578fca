"""Keep a run: its folder appears whole, or not at all."""

import contextlib
import csv
import hashlib
import platform
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from backtester.document import Document
from backtester.runs import (
    EQUITY,
    FORMAT,
    MANIFEST,
    REPORT,
    RUNS_FOLDER,
    TIME_COLUMNS,
    TRADES,
)
from backtester.trade_rows import TRADE_COLUMNS
from onetape.core.clock import utc_text
from onetape.core.digest import code_digest, data_digest
from onetape.core.errors import ConfigurationError
from onetape.core.words import error_text
from onetape.engine import shared_holding
from onetape.strategies import digest
from onetape.strategies.segments import WHOLE

if TYPE_CHECKING:
    from backtester.run import Backtest


#: A folder with a dot that is younger may belong to a run that is being kept now.
_RUBBISH_AFTER_SECONDS: Final = 3_600.0


def keep_run(
    backtest: "Backtest", document: Document, *, with_report: bool, root: Path | None = None
) -> Path:
    """Write the folder of a run and name it in the document; return it.

    Args:
        backtest: The run.
        document: Of it; `run` is set, and `report` where one is written here.
        with_report: Whether the folder gets the report too.
        root: Where runs are kept; None: data/runs.

    Raises:
        ConfigurationError: the folder cannot be written; nothing is left behind.
    """
    made = datetime.fromtimestamp(time.time(), tz=UTC)
    folder = (RUNS_FOLDER if root is None else root) / _name(backtest, made)
    # Nobody takes a folder for a run whose name begins with a dot.
    partial = folder.with_name(f".{folder.name}")
    document["run"] = str(folder)
    if with_report:
        document["report"] = str(folder / REPORT)
    try:
        partial.mkdir(parents=True)
        if with_report:
            # The report is on no path that has to be fast.
            from backtester.report_data import write_backtest_report

            write_backtest_report(backtest, partial / REPORT)
        _write_trades(document["trades"], partial / TRADES)
        np.save(partial / EQUITY, _equity(backtest), allow_pickle=False)
        manifest = _manifest(backtest, document, made)
        (partial / MANIFEST).write_bytes(encoded(manifest))
        partial.rename(folder)
    except OSError as error:
        raise ConfigurationError(
            f"the run's folder {folder} cannot be written: {error_text(error)}; mend its rights, "
            "make room, or add --no-keep"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sweep(folder.parent)
    return folder


def _sweep(root: Path) -> None:
    """Delete what runs that were killed have left half written."""
    for path in root.glob(".????????T??????Z_*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _RUBBISH_AFTER_SECONDS:
                shutil.rmtree(path)


def encoded(document: dict[str, Any]) -> bytes:
    """Return a document as indented JSON; paths are text."""
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2)


def _name(backtest: "Backtest", made: datetime) -> str:
    key = backtest.tape.key
    words = (f"{made:%Y%m%dT%H%M%SZ}", backtest.strategy.name, key.symbol, key.timeframe)
    plain = (re.sub(r"[^\w.]|_", "-", word) for word in words)
    # Ids begin with the milliseconds, so that runs of one second keep their order.
    return "_".join([*plain, f"{made.microsecond // 1_000:03x}{secrets.token_hex(2)[1:]}"])


def _manifest(backtest: "Backtest", document: Document, made: datetime) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "versions": _versions(),
        "digests": digests_of(backtest),
        "settings": msgspec.to_builtins(backtest.settings, enc_hook=str),
        "result": {name: value for name, value in document.items() if name != "trades"},
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    import apsw

    return {
        "onetape": version("onetape-backtester"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sqlite": apsw.sqlite_lib_version(),
    }


def digests_of(backtest: "Backtest") -> dict[str, str]:
    """Return what names the candles, the strategy's code and the engine's code of a run.

    The candles are those of the tape, warm-up included; where there are more symbols or larger
    candles it is the digest of all their digests. So it is where there are unexplained holes, which
    windows do not cross: they count too. Of finer candles counts what they said.
    """
    tapes = [
        candles
        for part in (backtest, *backtest.others)
        for candles in (part.tape.candles, *part.higher.candles.values())
    ]
    found = [data_digest(candles) for candles in tapes]
    parts = [part.segments for part in (backtest, *backtest.others)]
    if any(segments != WHOLE for segments in parts):
        found.append(hashlib.sha256(repr(parts).encode()).hexdigest())
    whole = hashlib.sha256("\n".join(found).encode()).hexdigest()
    digests = {
        "data": found[0] if len(found) == 1 else whole,
        "strategy": digest(backtest.strategy),
        "engine": _engine_digest(),
    }
    if backtest.settings.detail_timeframe is not None:
        from backtester.detail import told_digest

        digests["detail"] = told_digest(backtest)
    return digests


def _engine_digest() -> str:
    """Return the SHA-256, in hex, of the source that decides fills, money and metrics."""
    import onetape.engine

    return code_digest(Path(onetape.engine.__path__[0]))


def _write_trades(trades: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*TIME_COLUMNS, *TRADE_COLUMNS])
        for trade in trades:
            times = (trade["entry_timestamp"], trade["exit_timestamp"])
            read = ("" if time is None else utc_text(time) for time in times)
            writer.writerow([*read, *(trade[name] for name in TRADE_COLUMNS)])


def _equity(backtest: "Backtest") -> Any:
    parts = [one.result for one in (backtest, *backtest.others)]
    times, equity = backtest.timestamp, backtest.equity
    held = shared_holding([(one.candles, one.rules) for one in parts], times)
    columns = {
        "timestamp": times,
        "equity": equity,
        "buy_and_hold": np.full(len(equity), backtest.metrics.start_cash) if held is None else held,
    }
    rows = np.empty(len(equity), [(name, column.dtype.str) for name, column in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    return rows
