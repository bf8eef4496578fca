"""`backfiller export`: exported files import unchanged, and none is half written or overwritten."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfiller.formats.candle_writer import format_shortest_decimal, write_candles
from onetape.core.candles import PRICE_LIMIT, Candle, Candles, SeriesKey
from onetape.core.errors import ConfigurationError
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import open_store
from onetape.store.reading import read_closed_between

Run = Callable[..., Any]
#: 2024-03-01 00:00 UTC.
MARCH, HOUR = 1_709_251_200, 3_600
KEY = SeriesKey("binance", "BRD/BTC", "1h")
ROWS = [
    Candle(MARCH, 0.00000786, 0.00000802, 7.8e-06, 0.000008, 0.1 + 0.2),
    Candle(MARCH + 2 * HOUR, 5e-324, 1e-300, 5e-324, 1e-301, 0.0),
    Candle(MARCH + 3 * HOUR, 61_240.01, 123_456_789.125, 3.0, 122.0, 1e17 / 3),
]


@pytest.fixture
def filled(folder: Path) -> Path:
    """Return a database with three candles, a gap, a forming candle, and another series."""
    path = folder / "onetape.db"
    with open_store(path, create=True) as store:
        insert_closed_rows(store, KEY, ROWS, source="rest", seen_ms=0)
        forming = Candle(MARCH + 4 * HOUR, 1.0, 1.0, 1.0, 1.0, 1.0)
        replace_forming(store, KEY, forming, seen_ms=0)
        other = SeriesKey("kraken", "BTC/USD", "1h")
        insert_closed_rows(store, other, ROWS[2:], source="rest", seen_ms=0)
    return path


def read_rows(path: str, key: SeriesKey = KEY) -> list[Candle]:
    with open_store(Path(path), create=False) as store:
        c = read_closed_between(store, key, 0, 2**40)
    columns = (c.timestamp, c.open, c.high, c.low, c.close, c.volume)
    return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".feather"])
def test_every_format_is_imported_again_bit_for_bit(
    backfiller: Run, filled: Path, suffix: str
) -> None:
    out = f"binance_BRD-BTC_1h_all{suffix}"
    ended = backfiller("export", "--db", str(filled), "--symbol", "BRD/BTC", "--out", out)
    assert ended.code == 0, ended.err
    assert "3 candles from 2024-03-01 00:00 to 2024-03-01 03:00 UTC, 1 gap (1 candle)" in ended.out
    assert backfiller("import", out, "--db", "again.db").code == 0
    assert read_rows("again.db") == ROWS


def test_numbers_are_written_as_plain_decimals(backfiller: Run, filled: Path, folder: Path) -> None:
    backfiller("export", "--db", str(filled), "--exchange", "binance", "--out", "out.csv")
    first = (folder / "out.csv").read_text().splitlines()[:2]
    assert first == [
        "timestamp,open,high,low,close,volume",
        "1709251200,0.00000786,0.00000802,0.0000078,0.000008,0.30000000000000004",
    ]


@given(st.floats(0, PRICE_LIMIT))
def test_a_written_decimal_reads_back_as_the_same_float_and_has_no_exponent(value: float) -> None:
    text = format_shortest_decimal(value)
    assert float(text) == value
    assert set(text) <= set("0123456789.")


def test_the_feather_format_is_freqtrades(backfiller: Run, filled: Path) -> None:
    backfiller("export", "--db", str(filled), "-p", "BRD/BTC", "--out", "BRD_BTC-1h.feather")
    frame = pd.read_feather("BRD_BTC-1h.feather")
    assert list(frame.columns) == ["date", "open", "high", "low", "close", "volume"]
    assert str(frame["date"].dtype) == "datetime64[ms, UTC]"
    assert frame["date"].iloc[0] == pd.Timestamp(MARCH, unit="s", tz="UTC")


def test_equal_candles_give_equal_bytes(backfiller: Run, filled: Path, folder: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        backfiller("export", "--db", str(filled), "-p", "BRD/BTC", "--out", name)
    assert (folder / "a.csv.gz").read_bytes() == (folder / "b.csv.gz").read_bytes()


def test_the_end_of_a_range_is_exclusive(backfiller: Run, filled: Path, folder: Path) -> None:
    flags = ("--from", "2024-03-01T02:00", "--to", "2024-03-01T03:00", "-p", "BRD/BTC")
    ended = backfiller("export", "--db", str(filled), *flags, "--out", "x.csv")
    assert "1 candle from 2024-03-01 02:00 to 2024-03-01 02:00 UTC, no gaps" in ended.out


def test_a_file_is_replaced_only_with_force(backfiller: Run, filled: Path, folder: Path) -> None:
    (folder / "x.csv").write_text("mine")
    flags = ("export", "--db", str(filled), "-p", "BRD/BTC", "--out", "x.csv")
    refused = backfiller(*flags)
    assert (refused.code, "add --force to replace it" in refused.err) == (2, True)
    assert (folder / "x.csv").read_text() == "mine"
    assert backfiller(*flags, "--force").code == 0
    assert (folder / "x.csv").read_text() != "mine"


def test_an_exported_file_is_private_to_its_owner(
    backfiller: Run, filled: Path, folder: Path
) -> None:
    backfiller("export", "--db", str(filled), "-p", "BRD/BTC", "--out", "new/x.csv")
    assert stat.S_IMODE((folder / "new" / "x.csv").stat().st_mode) == 0o600


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    one = np.array([1.0])
    candles = Candles(np.array([MARCH]), one, one, one, one, one)
    with pytest.raises(ConfigurationError, match=r"cannot write .*x\.csv"):
        write_candles(tmp_path / "x.csv", candles)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--out", "x.xls"], 2, "its suffix names no format"),
        (["--out", "x.csv"], 2, "a file holds one series, and 2 fit"),
        (["--out", "x.csv", "-p", "ETH/BTC"], 4, "holds no candles of ETH/BTC"),
        (["--out", "x.csv", "-p", "BRD/BTC", "--from", "2025-01-01"], 4, "in that range"),
        (["--out", "x.csv", "--from", "2025-01-02", "--to", "2025-01-01"], 2, "is not after"),
        (["-p", "BRD/BTC"], 2, "--out"),
    ],
)
def test_an_export_that_is_not_possible_is_reported(
    backfiller: Run, filled: Path, folder: Path, flags: list[str], code: int, words: str
) -> None:
    ended = backfiller("export", "--db", str(filled), *flags)
    assert (ended.code, words in ended.err) == (code, True), ended.err
    assert not (folder / "x.csv").exists()
