"""Files whose columns name the market, the timeframe or the exchange of each row."""

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from candle_rows import read_stored_rows, walk
from onetape.core.candles import Candle, SeriesKey

Run = Callable[..., Any]
KEY = SeriesKey("binance", "BTC/USDT", "1h")
DB = "onetape.db"
FLAGS = ("--exchange", "binance", "--symbol", "BTC/USDT", "--db", DB)
ROWS = walk(40)
FIELDS = Candle._fields


def write_table(name: str, labels: Sequence[str | None]) -> list[dict[str, Any]]:
    """Return the rows as records with an additional column that cycles through the labels."""
    return [
        dict(zip(FIELDS, row, strict=True)) | {name: label}
        for row, label in zip(ROWS, labels, strict=True)
    ]


def write(folder: Path, suffix: str, records: list[dict[str, Any]], name: str = "mine") -> str:
    frame = pd.DataFrame(records)
    file = folder / f"{name}.{suffix}"
    if suffix == "csv":
        frame.to_csv(file, index=False)
    elif suffix == "json":
        file.write_text(json.dumps(records))
    else:
        pytest.importorskip("pyarrow")
        data = BytesIO()
        (frame.to_parquet if suffix == "parquet" else frame.to_feather)(data)
        file.write_bytes(data.getvalue())
    return file.name


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "feather"])
@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("symbol", ("BTCUSDT", "ETHUSDT"), "2 markets (BTCUSDT, ETHUSDT)"),
        ("Pair", ("BTC/USDT", "BTC/USDC"), "2 markets (BTC/USDC, BTC/USDT)"),
        ("interval", ("1h", "1d"), "2 timeframes (1d, 1h)"),
        ("exchange", ("binance", "kraken"), "2 exchanges (binance, kraken)"),
    ],
)
def test_rows_of_several_series_are_refused(
    backfiller: Run, folder: Path, suffix: str, column: str, values: tuple[str, str], kind: str
) -> None:
    name = write(folder, suffix, write_table(column, [values[0]] * 20 + [values[1]] * 20))
    ended = backfiller("import", name, *FLAGS)
    assert (ended.code, (folder / DB).exists()) == (4, False)
    assert f"its column '{column}' has rows of {kind}" in ended.err
    assert "write each to a separate file" in ended.err


@pytest.mark.parametrize(
    "label",
    ["BTCUSDT", "BTC-USDT", "btc_usdt", "BINANCE:BTCUSDT", "XBTUSDT", "USDT-BTC", "BTC", ""],
)
@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_rows_that_name_the_market_of_the_file_are_stored_without_a_note(
    backfiller: Run, folder: Path, suffix: str, label: str
) -> None:
    name = write(folder, suffix, write_table("symbol", [label] * 39 + [None]))
    ended = backfiller("import", name, *FLAGS)
    assert (ended.code, ended.err) == (0, "")
    assert read_stored_rows(folder / DB, KEY) == ROWS


@pytest.mark.parametrize("label", ["ETHUSDT", "eth/usdt", "KRW-BTC", "BTC-USD"])
def test_rows_of_another_market_than_the_flag_are_reported(
    backfiller: Run, folder: Path, label: str
) -> None:
    name = write(folder, "csv", write_table("symbol", [label] * 40))
    ended = backfiller("import", name, *FLAGS)
    assert ended.code == 0
    assert f"its field 'symbol' is {label}; --symbol BTC/USDT is used" in ended.err


def test_rows_of_another_market_than_the_name_are_refused(backfiller: Run, folder: Path) -> None:
    name = write(folder, "csv", write_table("symbol", ["ETHUSDT"] * 40), "binance_BTC-USDT_1h")
    ended = backfiller("import", name, "--db", DB)
    assert (ended.code, (folder / DB).exists()) == (4, False)
    assert "its field 'symbol' is ETHUSDT; name the right one with --symbol" in ended.err
    assert backfiller("import", name, "--db", DB, "--symbol", "BTC/USDT").code == 0


@pytest.mark.parametrize("label", ["BTC/USDT:USDT", "BTC-USDT-SWAP", "BTC-PERPETUAL"])
def test_rows_of_a_contract_are_refused(backfiller: Run, folder: Path, label: str) -> None:
    name = write(folder, "csv", write_table("symbol", [label] * 40))
    ended = backfiller("import", name, *FLAGS)
    assert (ended.code, f"contract (symbol {label})" in ended.err) == (4, True)
    assert backfiller("import", name, *FLAGS, "--spot").code == 0


def format_rows_with_dates(form: str) -> str:
    rows = "".join(
        f"{pd.Timestamp(row.timestamp, unit='s').strftime(form)},{','.join(map(repr, row[1:]))}\n"
        for row in ROWS
    )
    return f"date,open,high,low,close,volume\n{rows}"


@pytest.mark.parametrize("form", ["%Y%m%d%H%M", "%Y%m%d%H%M%S"])
def test_dates_of_digits_alone_are_read_with_the_flag_named_in_their_refusal(
    backfiller: Run, folder: Path, form: str
) -> None:
    (folder / "mine.csv").write_text(format_rows_with_dates(form))
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert (ended.code, "or iso for a date" in ended.err) == (4, True)
    assert backfiller("import", "mine.csv", *FLAGS, "--time-unit", "iso").code == 0
    assert read_stored_rows(folder / DB, KEY) == ROWS


@pytest.mark.parametrize("column", ["open_time", "timeOpen"])
def test_the_column_of_open_times_is_used_where_another_has_close_times(
    backfiller: Run, folder: Path, column: str
) -> None:
    rows = "".join(
        f"{row.timestamp + 3_599},{row.timestamp},{','.join(map(repr, row[1:]))}\n" for row in ROWS
    )
    (folder / "mine.csv").write_text(f"timestamp,{column},open,high,low,close,volume\n{rows}")
    assert backfiller("import", "mine.csv", *FLAGS).code == 0
    assert read_stored_rows(folder / DB, KEY) == ROWS


def test_the_market_named_in_a_saved_response_is_compared(backfiller: Run, folder: Path) -> None:
    rows = [[row.timestamp * 1_000, *row[1:]] for row in ROWS]
    response = {"result": {"symbol": "ETHUSDT", "category": "spot", "list": rows}}
    (folder / "mine.json").write_text(json.dumps(response))
    ended = backfiller("import", "mine.json", *FLAGS)
    assert (ended.code, "its field 'symbol' is ETHUSDT" in ended.err) == (0, True)
