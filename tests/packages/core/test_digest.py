"""The digest of candles depends on their values and on nothing else."""

import hashlib
import struct

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.digest import compute_data_digest


def make_candles(**changed: list[float]) -> Candles:
    columns = {
        name: np.array(changed.get(name, [3.0, 4.0]))
        for name in ("open", "high", "low", "close", "volume")
    }
    return Candles(np.array(changed.get("timestamp", [0, 60]), dtype=np.int64), **columns)


def test_the_digest_does_not_depend_on_how_the_columns_lie_in_memory() -> None:
    rows = np.zeros(4, dtype=[("timestamp", np.int64), ("price", np.float64)])
    rows["timestamp"], rows["price"] = [0, 9, 60, 9], [3.0, 9.0, 4.0, 9.0]
    strided = Candles(rows["timestamp"][::2], *[rows["price"][::2]] * 5)
    assert compute_data_digest(strided) == compute_data_digest(make_candles())


def test_the_digest_is_the_same_on_every_machine() -> None:
    content = b"candles 2\n" + struct.pack("<2q10d", 0, 60, *[3.0, 4.0] * 5)
    assert compute_data_digest(make_candles()) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["timestamp", "open", "high", "low", "close", "volume"])
def test_one_different_value_gives_another_digest(name: str) -> None:
    assert compute_data_digest(make_candles(**{name: [3.0, 5.0]})) != compute_data_digest(
        make_candles()
    )


def test_swapped_values_give_another_digest() -> None:
    swapped = make_candles(open=[3.0, 4.5], close=[4.0, 4.0])
    assert compute_data_digest(swapped) != compute_data_digest(
        make_candles(open=[4.0, 4.0], close=[3.0, 4.5])
    )
