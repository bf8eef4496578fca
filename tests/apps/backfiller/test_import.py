"""`backfiller import`: every kind of file, what is refused, and what is printed."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.core.clock import SystemClock
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.gaps import CONFIRMED, UNKNOWN_IMPORT, read_gaps, set_gap
from onetape.store.reading import read_closed_between

Run = Callable[..., Any]
#: 2024-03-01 00:00 UTC, and 2025-01-01.
MARCH, NEW_YEAR = 1_709_251_200, 1_735_689_600
HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")
DB = "onetape.db"
NAME = "binance_BTC-USDT_1h_x.csv"
ROWS = [
    Candle(MARCH, 100.0, 110.5, 95.25, 105.0, 12.5),
    Candle(MARCH + HOUR, 105.0, 106.0, 0.00000786, 105.5, 0.1 + 0.2),
    Candle(MARCH + 2 * HOUR, 105.5, 120.0, 103.0, 119.75, 0.0),
    Candle(MARCH + 3 * HOUR, 119.75, 119.75, 90.0, 90.0, 7.77),
]


def format_rows(
    rows: list[Candle], *, factor: int = 1, more: str = "", delimiter: str = ","
) -> str:
    return "".join(
        f"{delimiter.join([str(row[0] * factor), *map(repr, row[1:])])}{more}\n" for row in rows
    )


def read_stored_rows(key: SeriesKey = KEY) -> list[Candle]:
    with open_store(Path(DB), create=False) as store:
        c = read_closed_between(store, key, 0, 2**40)
    columns = (c.timestamp, c.open, c.high, c.low, c.close, c.volume)
    return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def test_binances_archive_is_imported_whether_its_times_are_milliseconds_or_microseconds(
    backfiller: Run, folder: Path
) -> None:
    for month, start, factor in (("2024-03", MARCH, 10**3), ("2025-01", NEW_YEAR, 10**6)):
        rows = [row._replace(timestamp=row.timestamp - MARCH + start) for row in ROWS]
        text = "".join(
            format_rows(
                [row], factor=factor, more=f",{(row[0] + HOUR) * factor - 1},1.5,7,0.5,0.7,0"
            )
            for row in rows
        )
        with zipfile.ZipFile(folder / f"BTCUSDT-1h-{month}.zip", "w") as archive:
            archive.writestr(f"BTCUSDT-1h-{month}.csv", text)
    ended = backfiller(
        "import", "BTCUSDT-1h-2024-03.zip", "BTCUSDT-1h-2025-01.zip", "--db", DB, "--json"
    )
    assert ended.code == 0, ended.err
    assert [one["time_unit"] for one in json.loads(ended.out)["files"]] == ["ms", "us"]
    assert read_stored_rows()[:4] == ROWS
    assert read_stored_rows()[4].timestamp == NEW_YEAR
    with open_store(Path(DB), create=False) as store:
        # The year between the two files is in the gaps of neither: it was not fetched.
        assert [gap.state for gap in read_gaps(store, KEY)] == ["not fetched"]


def test_flags_choose_the_tables_of_krakens_archive(backfiller: Run, folder: Path) -> None:
    with zipfile.ZipFile(folder / "Kraken_OHLCVT.zip", "w") as archive:
        for name in ("XBTUSD_60.csv", "XBTUSD_1440.csv", "ETHUSD_60.csv", "WHO_60.csv"):
            archive.writestr(f"master/{name}", format_rows(ROWS, more=",42"))
    ended = backfiller(
        "import", "Kraken_OHLCVT.zip", "--symbol", "BTC/USD", "--timeframe", "1h", "--db", DB
    )
    assert ended.code == 0, ended.err
    assert read_stored_rows(SeriesKey("kraken", "BTC/USD", "1h")) == ROWS
    with open_store(Path(DB), create=False) as store, store.read() as connection:
        series = connection.execute("SELECT DISTINCT symbol, timeframe FROM ohlcv_data").fetchall()
    assert series == [("BTC/USD", "1h")]


@pytest.mark.parametrize("name", ["WHO_60.csv", "other.csv", "XBTUSD_10080.csv"])
def test_a_table_without_a_market_in_its_name_is_left_out_next_to_tables_with_one(
    backfiller: Run, folder: Path, name: str
) -> None:
    with zipfile.ZipFile(folder / "Kraken_OHLCVT.zip", "w") as archive:
        archive.writestr("XBTUSD_60.csv", format_rows(ROWS, more=",42"))
        later = [row._replace(timestamp=row.timestamp + 40 * HOUR) for row in ROWS]
        archive.writestr(name, format_rows(later, more=",42"))
    flags = ("--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1h", "--db", DB)
    ended = backfiller("import", "Kraken_OHLCVT.zip", *flags)
    assert (ended.code, f"{name}: left out, its name has no market" in ended.err) == (
        0,
        True,
    )
    assert read_stored_rows(SeriesKey("kraken", "BTC/USD", "1h")) == ROWS


def test_flags_name_the_market_of_an_archive_whose_names_have_none(
    backfiller: Run, folder: Path
) -> None:
    with zipfile.ZipFile(folder / "mine.zip", "w") as archive:
        archive.writestr("2024-03-01.csv", format_rows(ROWS[:2]))
        archive.writestr("2024-03-02.csv", format_rows(ROWS[2:]))
    flags = ("--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1h", "--db", DB)
    assert backfiller("import", "mine.zip", *flags).code == 0
    assert read_stored_rows(SeriesKey("kraken", "BTC/USD", "1h")) == ROWS


def test_freqtrades_feather_and_json_are_read(backfiller: Run, folder: Path) -> None:
    data = folder / "user_data" / "data" / "binance"
    data.mkdir(parents=True)
    frame = pd.DataFrame(ROWS, columns=["date", "open", "high", "low", "close", "volume"])
    frame["date"] = pd.to_datetime(frame["date"], unit="s", utc=True).dt.as_unit("ms")
    frame.to_feather(data / "BTC_USDT-1h.feather", compression="lz4")
    old = [[row[0] * 1_000, *row[1:]] for row in ROWS]
    (data / "ETH_USDT-1h.json").write_text(json.dumps(old))
    (data / "BNB_USDT-1h.json.gz").write_bytes(gzip.compress(json.dumps(old).encode()))
    files = ["BTC_USDT-1h.feather", "ETH_USDT-1h.json", "BNB_USDT-1h.json.gz"]
    paths = [f"user_data/data/binance/{name}" for name in files]
    ended = backfiller("import", *paths, "--db", DB)
    assert ended.code == 0, ended.err
    for symbol in ("BTC/USDT", "ETH/USDT", "BNB/USDT"):
        assert read_stored_rows(SeriesKey("binance", symbol, "1h")) == ROWS


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,open,high,low,close,volume\n" + format_rows(ROWS),
        "\ufeffTime;Open;High;Low;Close;Volume\n" + format_rows(ROWS, delimiter=";"),
        "open_time,open,high,low,close,volume\n" + format_rows(ROWS[::-1], factor=10**9),
        "unix,date,open,high,low,close,Volume BTC,Volume USDT\n"
        + "".join(f"{r[0]},2024-03-01,{','.join(map(repr, r[1:]))},5\n" for r in ROWS),
        format_rows(ROWS).replace("\n", "\r\n"),
        format_rows([*ROWS, ROWS[1]]).rstrip("\n"),
        "timestamp,open,high,low,close,volume\n" + format_rows(ROWS, more=","),
    ],
    ids=[
        "header",
        "semicolons and BOM",
        "newest first in ns",
        "two times",
        "CRLF",
        "repeated",
        "comma at the end",
    ],
)
def test_tables_of_many_programs_give_the_same_candles(
    backfiller: Run, folder: Path, text: str
) -> None:
    (folder / NAME).write_bytes(text.encode())
    ended = backfiller("import", NAME, "--db", DB)
    assert ended.code == 0, ended.err
    assert read_stored_rows() == ROWS


def test_the_timeframe_is_found_from_the_rows(backfiller: Run, folder: Path) -> None:
    (folder / "mine.csv").write_text(format_rows(ROWS))
    code = backfiller(
        "import", "mine.csv", "--exchange", "binance", "--symbol", "btc-usdt", "--db", DB
    ).code
    assert (code, read_stored_rows()) == (0, ROWS)


def test_bad_rows_are_quarantined_counted_and_reported(backfiller: Run, folder: Path) -> None:
    bad = (
        f"{MARCH + 4 * HOUR},1,2,3,4,5\n"  # the low above the open
        f"{MARCH + 5 * HOUR},one,2,1,1,5\n"
        f"{MARCH + 6 * HOUR},1,2\n"
        f"{MARCH + 7 * HOUR + 1},1,2,1,1,5\n"
        "never,1,2,1,1,5\n"
    )
    rows = [*ROWS, *(ROWS[0]._replace(timestamp=MARCH + at * HOUR) for at in (8, 9))]
    (folder / NAME).write_text(format_rows(rows) + bad)
    ended = backfiller("import", NAME, "--db", DB)
    assert ended.code == 0
    assert "5 refused (see quarantine)" in ended.out
    assert read_stored_rows() == rows
    with open_store(Path(DB), create=False) as store, store.read() as connection:
        faults = connection.execute("SELECT fault FROM quarantine ORDER BY fault").fetchall()
    assert [fault for (fault,) in faults] == [
        "a value is not a finite number", "a value is not a finite number",
        "high or low does not hold open and close", "time is not the open of a 1h candle",
        "time out of range",
    ]  # fmt: skip


def test_two_different_rows_of_one_time_are_refused_and_nothing_is_written(
    backfiller: Run, folder: Path
) -> None:
    (folder / NAME).write_text(format_rows([*ROWS, ROWS[1]._replace(close=105.75)]))
    ended = backfiller("import", NAME, "--db", DB)
    assert ended.code == 4
    assert "two different rows are both of 2024-03-01 01:00 UTC" in ended.err
    assert not (folder / DB).exists()


def test_a_forming_candle_is_left_out(backfiller: Run, folder: Path) -> None:
    now = SystemClock().now_ms() // 1_000 // HOUR * HOUR
    rows = [row._replace(timestamp=now + at * HOUR) for at, row in enumerate(ROWS, -2)]
    (folder / NAME).write_text(format_rows(rows))
    ended = backfiller("import", NAME, "--db", DB)
    assert "2 not over yet" in ended.out
    assert read_stored_rows() == rows[:2]


def test_the_last_candle_is_dropped_by_the_flag(backfiller: Run, folder: Path) -> None:
    (folder / NAME).write_text(format_rows(ROWS))
    assert "1 dropped" in backfiller("import", NAME, "--drop-last", "--db", DB).out
    assert read_stored_rows() == ROWS[:3]


def test_new_gaps_have_the_state_unknown_and_known_gaps_stay(backfiller: Run, folder: Path) -> None:
    rows = [ROWS[0], ROWS[2], ROWS[3]._replace(timestamp=MARCH + 6 * HOUR)]
    (folder / NAME).write_text(format_rows(rows))
    with open_store(Path(DB), create=True) as store:
        set_gap(store, KEY, MARCH + HOUR, MARCH + 2 * HOUR, state=CONFIRMED, requested_ms=7)
    ended = backfiller("import", NAME, "--db", DB)
    assert "2 gaps (4 candles)" in ended.out
    with open_store(Path(DB), create=False) as store:
        gaps = [(gap.start, gap.candles, gap.state) for gap in read_gaps(store, KEY)]
    assert gaps == [(MARCH + HOUR, 1, CONFIRMED), (MARCH + 3 * HOUR, 3, UNKNOWN_IMPORT)]


def test_every_decimal_is_read_as_the_nearest_float(backfiller: Run, folder: Path) -> None:
    random = Random(5)  # noqa: S311 - repeatable, no secret
    texts = [f"{random.uniform(1e-9, 1e6):.{random.randint(8, 17)}f}" for _ in range(5_000)]
    start = MARCH - 10_000 * HOUR
    (folder / NAME).write_text(
        "".join(
            f"{start + at * HOUR},{text},{text},{text},{text},1\n" for at, text in enumerate(texts)
        )
    )
    backfiller("import", NAME, "--db", DB)
    assert [row.open for row in read_stored_rows()] == [float(text) for text in texts]


def test_stored_candles_stay_and_different_values_are_reported(
    backfiller: Run, folder: Path
) -> None:
    with open_store(Path(DB), create=True) as store:
        insert_closed_rows(store, KEY, ROWS[:2], source="rest", seen_ms=0)
    changed = [ROWS[0]._replace(close=100.5), *ROWS[1:]]
    (folder / NAME).write_text(format_rows(changed))
    ended = backfiller("import", NAME, "--db", DB)
    assert "2 new, 2 already there, 1 different from those (see revisions)" in ended.out
    assert read_stored_rows() == ROWS


def test_a_second_import_changes_nothing(backfiller: Run, folder: Path) -> None:
    (folder / NAME).write_text(format_rows(ROWS))
    backfiller("import", NAME, "--db", DB)
    assert "0 new, 4 already there, no gaps" in backfiller("import", NAME, "--db", DB).out


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        (NAME, ["--timezone", "Mars/Base"], "--timezone 'Mars/Base' is not a time zone"),
        (NAME, ["--columns", "timestamp,open"], "--columns must name high once"),
        (NAME, ["--columns", "time,open"], "'time' is not one of timestamp, open, high"),
        ("mine.csv", ["--symbol", "BTC/USDT"], "its name has no exchange; add one such as"),
        ("mine.csv", ["--exchange", "binance"], "its name has no market; add --symbol"),
        ("mine.csv", ["--exchange", "Binance!", "--symbol", "BTC/USDT"], "is not an exchange id"),
        (NAME, ["--time-unit", "h"], "not one of s, ms, us, ns and iso"),
        ("BTC-USDT_1h.xls", [], "is of no kind that can be read"),
        ("nowhere.csv", [], "file not found"),
    ],
)
def test_data_that_contradicts_the_flags_is_refused_in_one_line(
    backfiller: Run, folder: Path, name: str, flags: list[str], words: str
) -> None:
    if name != "nowhere.csv":
        (folder / name).write_text(format_rows(ROWS))
    ended = backfiller("import", name, *flags, "--db", DB)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (folder / DB).exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (NAME, b"", "its first line is empty"),
        (NAME, b"timestamp,open,high,low,close,volume\n", "has no candles"),
        (NAME, b"time,open,high,low,last,volume\n1,2\n", "has no column for close"),
        (NAME, b"time,open,high,low,close,volume,vol\n1,2\n", "2 columns for volume"),
        (NAME, b"1709251200,1,1,1,1,1,1,1\n", "no header and 8 columns"),
        (NAME, b"17,1,1,1,1,1\n", "--time-unit"),
        (
            NAME,
            b"1709251200,1,1,1,1,1\n1,2,3,4,5,6,7,8\n",
            "cannot be read as CSV",
        ),
        (NAME, b"1709251200,1,1,1,1,11709254800,1,1,1,1,1\n", "no header and 11 columns"),
        (
            NAME,
            b"time,open,high,low,close,volume\n1709251200,1,1,1,1,1,7\n",
            "a row has more than the 6 cells",
        ),
        (NAME, b"1709251200,1,1,1,1,1.02,5\n1709254800,1,1,1,1,1.5,5.5\n", "neither Kraken's nor"),
        (NAME, b"1709251200,1,1,1,1,1,1,1,1,1,1,1\n", "neither Kraken's nor Binance's"),
        (NAME, bytes(range(256)) * 9, "is not text"),
        (NAME, "zeit,öffnung\n".encode("utf-16"), "has no row of time, open"),
        (f"{NAME}.gz", gzip.compress(format_rows(ROWS).encode(), mtime=0)[:-9], "cannot be read"),
        ("BTCUSDT-1h-2024-03.zip", b"PK\x03\x04 cut", "cannot be read as ZIP"),
        ("binance_BTC-USDT_1h_.json", b'{"a": 1}', "is not a list of rows"),
        ("binance_BTC-USDT_1h_.json", b"[[1,", "cannot be read as JSON"),
        ("binance_BTC-USDT_1h_.feather", b"no arrow", "cannot be read as feather"),
        ("binance_BTC-USDT_1h_.parquet", b"no parquet", "cannot be read as parquet"),
    ],
)
def test_a_damaged_file_is_named_and_makes_no_database(
    backfiller: Run, folder: Path, name: str, content: bytes, words: str
) -> None:
    (folder / name).write_bytes(content)
    ended = backfiller("import", name, "--db", DB)
    assert ended.code == 4, ended.err
    assert words in ended.err
    assert not (folder / DB).exists()


def test_a_file_without_a_sound_row_ends_with_4(backfiller: Run, folder: Path) -> None:
    (folder / NAME).write_text(f"{MARCH},1,1,2,1,1\n")
    ended = backfiller("import", NAME, "--db", DB)
    assert (ended.code, "none of 1 row is a valid 1h candle" in ended.err) == (4, True)
    assert not (folder / DB).exists()


def test_rows_of_another_timeframe_are_refused(backfiller: Run, folder: Path) -> None:
    rows = [ROWS[0]._replace(timestamp=MARCH + 300 * at) for at in range(20)]
    (folder / NAME).write_text(format_rows(rows))
    ended = backfiller("import", NAME, "--db", DB)
    assert (ended.code, "its rows are 5m apart, so they are not 1h" in ended.err) == (2, True)


def test_months_are_found_from_their_rows(backfiller: Run, folder: Path) -> None:
    opens = np.arange("2023-01", "2024-03", dtype="datetime64[M]").astype("datetime64[s]")
    rows = [ROWS[0]._replace(timestamp=int(opened)) for opened in opens.astype(np.int64)]
    (folder / "mine.csv").write_text(format_rows(rows))
    flags = ("--exchange", "binance", "--symbol", "BTC/USDT")
    assert backfiller("import", "mine.csv", *flags, "--db", DB).code == 0
    assert read_stored_rows(SeriesKey("binance", "BTC/USDT", "1M")) == rows


def test_invented_and_real_candles_are_never_in_one_file(backfiller: Run, folder: Path) -> None:
    (folder / NAME).write_text(format_rows(ROWS))
    (folder / "simulator_BTC-USDT_1h.csv").write_text(format_rows(ROWS))
    assert backfiller("import", NAME, "--db", DB).code == 0
    ended = backfiller("import", "simulator_BTC-USDT_1h.csv", "--db", DB)
    assert (ended.code, "never share a file" in ended.err) == (4, True)
