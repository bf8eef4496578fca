"""Pseudo-random numbers from integer hashes, uniform and normal, bit-exact on every machine.

Only integer hashing and the five operations that IEEE 754 defines to the last bit (+ - * / sqrt)
are used, each as a separate NumPy operation. `np.exp`, `np.log` and the generators of `np.random`
are not: their last bit depends on the processor or the NumPy version, and so would the market.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
HashArray = NDArray[np.uint64]

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_LOW_HALVES: Final = 0x0000FFFF0000FFFF
#: Mean and standard deviation of the sum of four independent integers of 0 to 65535.
_SUM_MEAN: Final = 131_070.0
_SUM_DEVIATION: Final = 37_837.226_816_498_65
# ln 2 in two parts; the first has so few digits that k * _LN2_HIGH is exact for each k that occurs.
_LN2_HIGH: Final = 0.693_147_180_369_123_816_490
_LN2_LOW: Final = 1.908_214_929_270_587_700_02e-10
_LOG2_E: Final = 1.442_695_040_888_963_387_00
#: 13!, 12!, ... 0!: on [-0.35, 0.35] the rest of the series is below half of the last digit.
_FACTORIALS: Final = (
    6227020800.0,
    479001600.0,
    39916800.0,
    3628800.0,
    362880.0,
    40320.0,
    5040.0,
    720.0,
    120.0,
    24.0,
    6.0,
    2.0,
    1.0,
    1.0,
)


@lru_cache(maxsize=4_096)
def make_key(*parts: str | int) -> int:
    """Return a 64-bit key that belongs to these parts alone, the same in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix_bits(value: HashArray) -> HashArray:
    """Return each number with its bits mixed (the finaliser of splitmix64; wraps at 64 bits)."""
    value = value ^ (value >> np.uint64(30))
    # In place from here on: a new array for each step would cost more than the step.
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value


def hash_indices(key: int, index: IntArray) -> HashArray:
    """Return one 64-bit hash for each index: the same key and index give the same hash forever.

    Args:
        key: Key returned by `make_key`.
        index: Indices of the draws, not negative, shape (n,).
    """
    value = index.astype(np.uint64)
    value *= np.uint64(_GOLDEN)
    value += np.uint64(key & _MASK)
    return mix_bits(value)


def hash_indices_for_keys(keys: Sequence[int], index: IntArray) -> HashArray:
    """Return the hashes of each key, as `hash_indices`, shape (k, n).

    Args:
        keys: k keys returned by `make_key`.
        index: Indices of the draws, not negative, shape (n,).
    """
    value = index.astype(np.uint64)
    value *= np.uint64(_GOLDEN)
    return mix_bits(value + np.array([[key & _MASK] for key in keys], dtype=np.uint64))


def rehash(value: HashArray) -> HashArray:
    """Return a second hash from a first one, for a second independent number."""
    return mix_bits(value + np.uint64(_GOLDEN))


def draw_uniform(value: HashArray) -> FloatArray:
    """Return numbers in [0, 1) from hashes; multiples of 2**-53, so exact."""
    number = (value >> np.uint64(11)).astype(np.float64)
    number *= 2.0**-53
    return number


def draw_normal(value: HashArray) -> FloatArray:
    """Return numbers of mean 0 and variance 1 from hashes.

    The sum of four uniform numbers (Irwin-Hall): nearly normal, never beyond 3.47. The fat tails of
    the market come from its changing variance, not from here.
    """
    pairs = value >> np.uint64(16)
    pairs &= np.uint64(_LOW_HALVES)
    pairs += value & np.uint64(_LOW_HALVES)
    total = pairs >> np.uint64(32)
    pairs &= np.uint64(0xFFFFFFFF)
    total += pairs
    number = total.astype(np.float64)
    number -= _SUM_MEAN
    number /= _SUM_DEVIATION
    return number


def extract_16_bits(value: HashArray, part: int) -> IntArray:
    """Return the 16-bit part 0, 1, 2 or 3 of hashes, each 0 to 65535."""
    number = value >> np.uint64(16 * part)
    number &= np.uint64(0xFFFF)
    return number.astype(np.int64)


def compute_exponential(value: FloatArray) -> FloatArray:
    """Return e**value, bit-exact everywhere, within one unit of the last digit.

    Args:
        value: Between -700 and 700, so that the result is a normal number.
    """
    twos = np.floor(value * _LOG2_E + 0.5)
    rest = (value - twos * _LN2_HIGH) - twos * _LN2_LOW
    total = np.full_like(rest, 1.0 / _FACTORIALS[0])
    for factorial in _FACTORIALS[1:]:
        total *= rest
        total += 1.0 / factorial
    # The bits of 2**k: multiplying by it is exact.
    power = ((twos.astype(np.int64) + 1023) << 52).view(np.float64)
    return total * power
