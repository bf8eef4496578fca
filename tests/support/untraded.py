"""Stretches of candles in which nothing is traded, as a halted market has them."""

import numpy as np
from numpy.typing import NDArray


def make_untraded_mask(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """Return the mask of candles that repeat the close before; half of the walks have none."""
    is_flat = np.zeros(count, dtype=np.bool_)
    if rng.random() < 0.5:
        return is_flat
    share = rng.choice([0.02, 0.2])
    for bar in np.flatnonzero(rng.random(count) < share).tolist():
        is_flat[max(bar, 1) : bar + int(rng.integers(1, 8))] = True
    return is_flat
