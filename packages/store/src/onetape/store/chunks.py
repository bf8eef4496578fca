"""Write and read chunk files of the cache: closed candles as columns.

Reading a chunk file takes a hundredth of the time of reading the rows. A file is used only if its
checksum, key and count are as expected, so a file that was cut, overwritten or damaged is ignored.
CRC-32 is enough for that, because it need not resist an attacker; a cryptographic digest takes
three times as long.

Layout: mark (8 bytes), CRC-32 of all bytes after the checksum (4), count (4), key (16), then the
columns one after the other: times as int64, prices and volume as float64. All numbers are in the
machine's byte order; on a machine of the other order the checks fail.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from onetape.core.candles import Candles

#: Length of a chunk's key.
KEY_BYTES: Final = 16
#: First bytes of each chunk file; the digit is the version of the layout.
_MARK: Final = b"onetape1"
_HEADER: Final = struct.Struct("=8sII16s")
#: Offset of the first byte that the checksum covers: the one after the checksum.
_CHECKED_FROM: Final = 12


def write_chunk(path: Path, key: bytes, candles: Candles) -> None:
    """Write a new chunk file, readable by its owner only; a failed attempt leaves no file.

    Raises:
        OSError: the file cannot be written.
    """
    header = _HEADER.pack(_MARK, 0, len(candles), key)
    columns = _view_columns(candles)
    header = _HEADER.pack(_MARK, _compute_checksum(header, columns), len(candles), key)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle, made 0600
            file.write(header)
            for column in columns:
                file.write(column)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def read_chunk(path: Path, key: bytes, into: Candles) -> bool:
    """Read a chunk file into allocated candles; return False if it is missing or damaged.

    Args:
        path: Path of the file.
        key: The key that the file must have.
        into: Candles of the number that the file must have, in contiguous columns; their values are
            undefined after False.
    """
    columns = _view_columns(into)
    try:
        with path.open("rb", buffering=0) as file:
            header = file.read(_HEADER.size)
            complete = all(file.readinto(column) == column.nbytes for column in columns)
            # A file that is longer than expected is not used either.
            complete = complete and len(header) == _HEADER.size and not file.read(1)
    except OSError:
        return False
    return complete and header == _HEADER.pack(
        _MARK, _compute_checksum(header, columns), len(into), key
    )


def _compute_checksum(header: bytes, columns: list[memoryview]) -> int:
    checksum = zlib.crc32(header[_CHECKED_FROM:])
    for column in columns:
        checksum = zlib.crc32(column, checksum)
    return checksum


def _view_columns(candles: Candles) -> list[memoryview]:
    prices = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return [np.ascontiguousarray(column).data.cast("B") for column in (candles.timestamp, *prices)]
