"""What names the content of candles: equal data, equal digest, on every machine."""

import hashlib

import numpy as np

from onetape.core.candles import Candles


def data_digest(candles: Candles) -> str:
    """Return the SHA-256 of candles in 64 hexadecimal digits, for the manifest of a run.

    It says nothing of the way that the candles took, so those of the cache and those of the rows
    have the same one. A million candles take about 30 ms.
    """
    digest = hashlib.sha256(f"candles {len(candles)}\n".encode())
    prices = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    # Little-endian: times as int64, all else as float64.
    digest.update(np.ascontiguousarray(candles.timestamp, dtype="<i8").data)
    for column in prices:
        digest.update(np.ascontiguousarray(column, dtype="<f8").data)
    return digest.hexdigest()
