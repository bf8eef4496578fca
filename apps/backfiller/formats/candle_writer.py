"""Writes candles to a CSV, Parquet or Feather file, for `backfiller export`.

Importing the file again gives equal candles. The file appears only when complete, and only its
owner can read it (mode 0600).
"""

import gzip
import os
import tempfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

import numpy as np

from onetape.core.candles import Candles, FloatArray
from onetape.core.errors import ConfigurationError, UsageError

#: Number of rows that become text at a time.
_BLOCK_ROWS: Final = 100_000
_HEADER: Final = "timestamp,open,high,low,close,volume"


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a file that cannot be written, before anything is read for it.

    Raises:
        UsageError: the suffix names no format, or the file exists and may not be replaced.
        ConfigurationError: the format needs pyarrow, which is not installed.
    """
    suffix = get_format_suffix(path)
    if suffix not in _WRITERS:
        raise UsageError(
            f"--out {path}: its suffix names no format; use .csv, .csv.gz, .parquet or .feather"
        )
    if suffix in (".parquet", ".feather") and find_spec("pyarrow") is None:
        raise ConfigurationError(
            f"{suffix} files need pyarrow; install it: uv sync --extra parquet"
        )
    if path.exists() and not (force and path.is_file()):
        hint = "add --force to replace it" if path.is_file() else "name a file"
        raise UsageError(f"--out {path} exists; {hint}, or choose another name")


def get_format_suffix(path: Path) -> str:
    """Return the suffix that decides the format, in small letters: `.csv.gz` or the last one."""
    name = path.name.lower()
    return ".csv.gz" if name.endswith(".csv.gz") else path.suffix.lower()


def write_candles(path: Path, candles: Candles) -> None:
    """Write candles to a temporary file next to `path`, and rename it to `path` when complete.

    Args:
        path: The file; its suffix decides the format (see docs/data.md).
        candles: Candles to write.

    Raises:
        ConfigurationError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp creates the file with mode 0600.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                _WRITERS[get_format_suffix(path)](file, candles)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error


def format_shortest_decimal(value: float) -> str:
    """Return the shortest decimal without an exponent that parses to the same float."""
    text = repr(value)
    if "e" in text:
        return np.format_float_positional(value, trim="-")
    return text.removesuffix(".0")


def _iterate_csv_lines(candles: Candles) -> Iterable[bytes]:
    yield f"{_HEADER}\n".encode()
    for first in range(0, len(candles), _BLOCK_ROWS):
        block = candles[first : first + _BLOCK_ROWS]
        columns = (block.open, block.high, block.low, block.close, block.volume)
        rows = zip(map(str, block.timestamp.tolist()), *map(_format_column, columns), strict=True)
        yield "".join(f"{','.join(row)}\n" for row in rows).encode()


def _format_column(column: FloatArray) -> list[str]:
    return [format_shortest_decimal(value) for value in column.tolist()]


def _write_csv(file: IO[bytes], candles: Candles) -> None:
    file.writelines(_iterate_csv_lines(candles))


def _write_csv_gz(file: IO[bytes], candles: Candles) -> None:
    # The gzip header has neither name nor time, so that equal candles make equal bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as zipped:
        zipped.writelines(_iterate_csv_lines(candles))


def _write_parquet(file: IO[bytes], candles: Candles) -> None:
    """Write the columns of the CSV format: epoch seconds as integers, prices as doubles."""
    import pandas as pd

    columns = {
        "timestamp": candles.timestamp,
        "open": candles.open,
        "high": candles.high,
        "low": candles.low,
        "close": candles.close,
        "volume": candles.volume,
    }
    pd.DataFrame(columns).to_parquet(file, index=False)


def _write_feather(file: IO[bytes], candles: Candles) -> None:
    """Write freqtrade's layout: the open as `date`, UTC, in milliseconds."""
    frame = candles.frame().reset_index()
    frame["date"] = frame["date"].dt.as_unit("ms")
    frame.to_feather(file, compression="lz4", compression_level=9)


_WRITERS: Final[dict[str, Callable[[IO[bytes], Candles], None]]] = {
    ".csv": _write_csv,
    ".csv.gz": _write_csv_gz,
    ".parquet": _write_parquet,
    ".feather": _write_feather,
}
