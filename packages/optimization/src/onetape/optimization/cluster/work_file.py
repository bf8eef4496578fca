"""The file with everything that an evaluation needs: candles, rules, strategy, metrics.

It is named by the SHA-256 of its content, travels once to each computer, and is mapped into memory
by its workers: the columns of the candles are not copied. Layout: a mark, the number of parts (8
bytes), their lengths (8 bytes each), then the parts, each from a multiple of 64 bytes on. The first
part is a pickle, the others are its columns.
"""

import hashlib
import mmap
import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from onetape.optimization.evaluate import SearchContext
from onetape.optimization.windows import WalkForwardWindow

_MARK: Final = b"OTWORK1\n"
_LENGTH: Final = struct.Struct("<Q")
#: Columns begin at multiples of so many bytes, the alignment at which NumPy is fastest.
_ALIGNMENT: Final = 64
#: Maximum number of files in the folder of a computer; older files are deleted.
MAX_FILES: Final = 20


class ClusterWork(Struct, frozen=True):
    """Candles, rules, strategy and metrics for evaluations, and the versions of the code."""

    strategy: str
    """Strategy as `--strategy` takes it; each computer has its file."""
    parameters: Mapping[str, Any]
    """Parameters of one combination, with which the strategy's code is compared."""
    context: SearchContext
    windows: tuple[WalkForwardWindow, ...]
    """Windows of a walk-forward; empty: an optimization."""
    metrics: tuple[str, ...]
    """Metrics of the user, as `--rank` takes them: `FILE.py:function`."""
    code: Mapping[str, str]
    """Versions and digests of the driver's code, by the name that errors show."""


def encode_work(work: ClusterWork) -> tuple[str, bytes]:
    """Return the digest and the content of the file."""
    columns: list[pickle.PickleBuffer] = []
    head = pickle.dumps(work, protocol=5, buffer_callback=columns.append)
    parts = [memoryview(head), *(column.raw() for column in columns)]
    content = bytearray(_MARK + _LENGTH.pack(len(parts)))
    for part in parts:
        content += _LENGTH.pack(part.nbytes)
    for part in parts:
        content += bytes(-len(content) % _ALIGNMENT)
        content += part
    return hashlib.sha256(content).hexdigest(), bytes(content)


def get_path(folder: Path, digest: str) -> Path:
    """Return the path of a file."""
    return folder / f"{digest}.work"


def store_content(folder: Path, digest: str, content: bytes) -> None:
    """Write a file, whole or not at all; older ones beyond `MAX_FILES` are deleted.

    Raises:
        ValueError: the content has another digest.
        OSError: the file cannot be written.
    """
    if hashlib.sha256(content).hexdigest() != digest:
        msg = f"the content of {digest} arrived damaged"
        raise ValueError(msg)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = folder / f".{digest}.{os.getpid()}"
    try:
        partial.write_bytes(content)
        partial.replace(get_path(folder, digest))
    finally:
        partial.unlink(missing_ok=True)
    files = sorted(folder.glob("*.work"), key=lambda path: path.stat().st_mtime)
    for old in files[:-MAX_FILES]:
        old.unlink(missing_ok=True)


def load_work(folder: Path, digest: str) -> ClusterWork:
    """Return the content of a file; its columns are pages of the file, and cannot be written.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: the content has another digest.
    """
    with get_path(folder, digest).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapped)
    if hashlib.sha256(view).hexdigest() != digest or bytes(view[: len(_MARK)]) != _MARK:
        msg = f"{digest} is damaged"
        raise ValueError(msg)
    at = len(_MARK)
    (count,) = _LENGTH.unpack_from(view, at)
    lengths = [
        _LENGTH.unpack_from(view, at + _LENGTH.size * number)[0] for number in range(1, count + 1)
    ]
    at += _LENGTH.size * (count + 1)
    parts: list[memoryview] = []
    for length in lengths:
        at += -at % _ALIGNMENT
        parts.append(view[at : at + length])
        at += length
    # The driver, which may run any code here, has written it.
    found: ClusterWork = pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301
    return found
