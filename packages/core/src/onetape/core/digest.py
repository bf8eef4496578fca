"""Digests of the content of candles and of code: equal content, equal digest, on every machine."""

import hashlib
from pathlib import Path

import numpy as np

from onetape.core.candles import Candles


def compute_data_digest(candles: Candles) -> str:
    """Return the SHA-256 of candles in 64 hexadecimal digits, for the manifest of a run.

    The digest does not depend on the source of the candles: cache and rows give equal digests. A
    million candles take about 30 ms.
    """
    digest = hashlib.sha256(f"candles {len(candles)}\n".encode())
    prices = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    # Little-endian: times as int64, all else as float64.
    digest.update(np.ascontiguousarray(candles.timestamp, dtype="<i8").data)
    for column in prices:
        digest.update(np.ascontiguousarray(column, dtype="<f8").data)
    return digest.hexdigest()


def compute_code_digest(*places: Path) -> str:
    """Return the SHA-256, in hex, of the names and texts of Python files.

    Args:
        places: Files, and folders with all that is in them.
    """
    total = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            total.update(path.relative_to(place.parent).as_posix().encode() + b"\0")
            total.update(path.read_bytes() + b"\0")
    return total.hexdigest()
