"""Chunk files: a copy of closed candles as columns, which reads in a hundredth of the time of rows.

A file is believed only if its checksum, its key and its count are those that are expected: one that
was cut, overwritten or damaged is as good as none. CRC-32 is enough for that, because the key is
random and nobody is being defended against; it costs a third of what a cryptographic digest does.

Layout: mark (8 bytes), CRC-32 of all that follows the checksum (4), count (4), key (16), then the
columns one after the other: times as int64, prices and volume as float64, little-endian.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from onetape.core.candles import Candles
from onetape.core.digest import column_bytes

KEY_BYTES: Final = 16
_MARK: Final = b"onetape1"
_HEADER: Final = struct.Struct("<8sII16s")
#: The checksum covers everything behind itself.
_CHECKED_FROM: Final = 12
_ROW_BYTES: Final = 6 * 8


def write_chunk(path: Path, key: bytes, candles: Candles) -> None:
    """Write a new chunk file, readable by its owner alone; a failed attempt leaves none.

    Raises:
        OSError: it cannot be written.
    """
    body = b"".join(column_bytes(candles))
    header = _HEADER.pack(_MARK, 0, len(candles), key)
    checksum = zlib.crc32(body, zlib.crc32(header[_CHECKED_FROM:]))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle, made 0600
            file.write(_HEADER.pack(_MARK, checksum, len(candles), key))
            file.write(body)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def read_chunk(path: Path, key: bytes, count: int) -> Candles | None:
    """Return the candles of a chunk file, or None where it is missing or not what was written."""
    wanted = _HEADER.size + count * _ROW_BYTES
    buffer = bytearray(wanted)
    try:
        with path.open("rb", buffering=0) as file:
            # A longer file is another file too.
            complete = file.readinto(buffer) == wanted and not file.read(1)
    except OSError:
        return None
    if not complete:
        return None
    mark, checksum, found, own_key = _HEADER.unpack_from(buffer)
    if (mark, found, own_key) != (_MARK, count, key):
        return None
    if zlib.crc32(memoryview(buffer)[_CHECKED_FROM:]) != checksum:
        return None
    columns = np.frombuffer(buffer, dtype="<f8", offset=_HEADER.size).reshape(6, count)
    return Candles(columns[0].view("<i8"), *columns[1:])
