"""Hostile or unusual files: the import prints one line, its exit code, and uses little memory."""

import gzip
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from candle_rows import MARCH, read_stored_rows, walk
from onetape.core.candles import SeriesKey

# pyarrow has no types.
pa: Any = import_module("pyarrow")
pq: Any = import_module("pyarrow.parquet")
feather: Any = import_module("pyarrow.feather")

Run = Callable[..., Any]
DB = "onetape.db"
KEY = SeriesKey("binance", "BTC/USDT", "1h")
FLAGS = ("--exchange", "binance", "--symbol", "BTC/USDT", "--db", DB)
ROWS = walk(40)
HEADER = "timestamp,open,high,low,close,volume"
TEXT = f"{HEADER}\n" + "".join(f"{','.join(map(repr, row))}\n" for row in ROWS)
ESCAPES = "\x1b[2J\x9b31m\u202e"
TABLE = {
    name: [row[at] for row in ROWS]
    for at, name in enumerate(("timestamp", "open", "high", "low", "close", "volume"))
}


def check_refused(ended: Any, folder: Path, words: str, code: int = 4) -> None:
    assert (ended.code, ended.out, (folder / DB).exists()) == (code, "", False), ended
    assert words in ended.err
    assert ended.err.startswith("backfiller: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("member", [False, True])
def test_escapes_in_names_of_files_members_and_columns_are_not_printed(
    backfiller: Run, folder: Path, *, member: bool
) -> None:
    name = f"{ESCAPES}\nBTC.csv"
    if member:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            archive.writestr(name, TEXT)
            archive.writestr(f"{ESCAPES}.csv", TEXT.replace("volume", f"{ESCAPES}volume"))
    else:
        (folder / name).write_text(TEXT)
        (folder / f"{ESCAPES}.csv").write_text(TEXT.replace("close", f"{ESCAPES}x"))
    files = ["x.zip"] if member else [name, f"{ESCAPES}.csv", f"{ESCAPES}none.csv"]
    for arguments in ([*files, *FLAGS], files):
        ended = backfiller("import", *arguments)
        assert "u001b" in ended.out + ended.err
        assert all(each.isprintable() or each == "\n" for each in ended.out + ended.err)
        assert not any(line.startswith("BTC") for line in ended.out.splitlines())


DATES = pd.to_datetime(TABLE["timestamp"], unit="s", utc=True)
ODD_COLUMNS: dict[str, Any] = {
    "binary": pa.array([b"\xff\x00"] * 40),
    "nested": pa.array([[1, 2]] * 40),
    "records": pa.array([{"a": 1}] * 40),
    "bool": pa.array([True] * 40),
    "duration": pa.array([1] * 40, pa.duration("s")),
    "time of day": pa.array([1] * 40, pa.time32("s")),
    "null": pa.nulls(40),
}


@pytest.mark.parametrize("suffix", ["feather", "parquet"])
@pytest.mark.parametrize("column", ["timestamp", "close"])
@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_columns_of_unsupported_types_are_refused_in_one_line(
    backfiller: Run, folder: Path, kind: str, column: str, suffix: str
) -> None:
    table = pa.table({**TABLE, column: ODD_COLUMNS[kind]})
    write = feather.write_feather if suffix == "feather" else pq.write_table
    write(table, folder / f"x.{suffix}")
    check_refused(backfiller("import", f"x.{suffix}", *FLAGS), folder, f"x.{suffix}")


@pytest.mark.parametrize("suffix", ["feather", "parquet"])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["timestamp", "open", "high", "low", "close", "close", "volume"], "2 columns for close"),
        (["open", "high", "low", "close", "volume", "x", "y"], "no column for timestamp"),
    ],
)
def test_missing_and_duplicate_columns_are_named(
    backfiller: Run, folder: Path, names: list[str], words: str, suffix: str
) -> None:
    columns = [*TABLE.values(), TABLE["close"]]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], names=names)
    write = feather.write_feather if suffix == "feather" else pq.write_table
    write(table, folder / f"x.{suffix}")
    check_refused(backfiller("import", f"x.{suffix}", *FLAGS), folder, words)


@pytest.mark.parametrize("suffix", ["feather", "parquet"])
@pytest.mark.parametrize("columns", [{}, {name: pa.array([], pa.int64()) for name in TABLE}])
def test_tables_without_columns_or_rows_are_refused(
    backfiller: Run, folder: Path, columns: dict[str, Any], suffix: str
) -> None:
    write = feather.write_feather if suffix == "feather" else pq.write_table
    write(pa.table(columns), folder / f"x.{suffix}")
    check_refused(backfiller("import", f"x.{suffix}", *FLAGS), folder, "has no c")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([Decimal(repr(value)) for value in TABLE["close"]]),
        pa.array([repr(value) for value in TABLE["close"]]).dictionary_encode(),
        pa.array([repr(value) for value in TABLE["close"]], pa.large_string()),
    ],
    ids=["decimal", "dictionary", "large text"],
)
def test_prices_of_exact_or_text_types_are_read(backfiller: Run, folder: Path, column: Any) -> None:
    pq.write_table(pa.table({**TABLE, "close": column}), folder / "x.parquet")
    assert backfiller("import", "x.parquet", *FLAGS).code == 0
    assert read_stored_rows(folder / DB, KEY) == ROWS


def test_dates_without_a_time_are_read(backfiller: Run, folder: Path) -> None:
    rows = walk(40, step=86_400)
    days = pa.array([row.timestamp // 86_400 for row in rows], pa.int32()).cast(pa.date32())
    columns = {name: [row[at] for row in rows] for at, name in enumerate(TABLE)}
    feather.write_feather(pa.table({**columns, "timestamp": days}), folder / "x.feather")
    assert backfiller("import", "x.feather", *FLAGS).code == 0
    assert read_stored_rows(folder / DB, SeriesKey("binance", "BTC/USDT", "1d")) == rows


def write_encrypted(path: Path) -> None:
    """Write a ZIP whose member is marked as encrypted."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", TEXT)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def write_nested(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18))


def cut(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", TEXT)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("x.csv", TEXT)
    content = path.read_bytes()
    path.write_bytes(
        content.replace(repr(ROWS[20].volume).encode(), b"1" * len(repr(ROWS[20].volume)))
    )


def write_other_method(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("x.csv", TEXT)
    content = bytearray(path.read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 9  # Deflate64
    path.write_bytes(content)


def write_zeros(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.csv", "w") as member,
    ):
        for _ in range(200):
            member.write(bytes(2**20))


def write_endless_line(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.csv", "w") as member,
    ):
        member.write(TEXT.encode())
        for _ in range(20):
            member.write(b"1" * 2**20)


def write_huge(path: Path) -> None:
    """Write a ZIP whose list claims 100 GiB."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", TEXT)
        archive.infolist()[0].file_size = 100 * 2**30
        archive.infolist()[0].compress_size = 100


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (write_encrypted, "is encrypted; unpack it with its password"),
        (write_nested, "holds no .csv file, only other archives; unpack it"),
        (cut, "cannot be read as ZIP"),
        (write_damaged, "cannot be read: Bad CRC-32"),
        (write_other_method, "cannot be read: "),
        (write_zeros, "x.zip:x.csv"),
        (write_endless_line, "a line is longer than"),
        (write_huge, "unpacks to more than 8 GiB"),
    ],
)
def test_damaged_archives_and_archive_bombs_are_refused_in_one_line(
    backfiller: Run, folder: Path, make: Callable[[Path], None], words: str
) -> None:
    make(folder / "x.zip")
    began = time.process_time()
    check_refused(backfiller("import", "x.zip", *FLAGS), folder, words)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:-20]),
        ("x.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:200] + b"\0" * 99),
        ("x.json", b"[" * 100_000),
        ("x.json", b'{"a":' * 100_000),
        ("x.json", json.dumps([[True, None, {}, [], "x", 1]] * 9).encode()),
        ("x.json", b"[[1,2,3,4,5,6],[1,2]]"),
        ("x.json", b'[{"open":1},[1]]'),
        ("x.json", b'"text"'),
        ("x.json", b"[[1e999,1,1,1,1,1]]"),
        ("x.csv", b"\xff\xfe" + b"\xd8\x00" * 50),
        ("x.csv", b'"' * 5_000),
        ("x.csv", b'timestamp,open,high,low,close,volume\n"1,2,3,4,5,6\n' * 9),
        ("x.csv", ",".join(["open"] * 20_000).encode()),
        ("x.feather", b"FEA1" + bytes(40)),
        ("x.feather", b"ARROW1\0\0" + bytes(90)),
        ("x.parquet", b"PAR1" + bytes(90) + b"PAR1"),
    ],
)
def test_damaged_and_unsupported_files_are_refused_in_one_line(
    backfiller: Run, folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    check_refused(backfiller("import", name, *FLAGS), folder, name)


def test_tables_that_are_left_out_of_an_archive_take_little_memory(
    backfiller: Run, folder: Path
) -> None:
    rows = "".join(f"{','.join(map(repr, row))},7\n" for row in ROWS)
    with zipfile.ZipFile(folder / "many.zip", "w") as archive:
        for number in range(3_000):
            archive.writestr(f"A{number}USD_60.csv", rows)
        archive.writestr("XBTUSD_60.csv", rows)
    backfiller("import", "many.zip", "--symbol", "NONE/USD", "--db", DB)  # loads what it needs
    began = time.process_time()
    ended = backfiller("import", "many.zip", "--symbol", "BTC/USD", "--db", DB)
    assert (ended.code, "40 new" in ended.out) == (0, True)
    assert time.process_time() - began < 4


#: The peak of this process alone: ru_maxrss begins with that of the process that started it.
MEASURE = """
import sys
from pathlib import Path
from backfiller.main import app
from onetape.cli.program import run_typer_app
code = run_typer_app(app, "backfiller", sys.argv[1:])
status = Path("/proc/self/status").read_text()
print(code, status.partition("VmHWM:")[2].split()[0])
"""


def measure_import_peak(folder: Path, *arguments: str) -> tuple[int, int, str]:
    """Return exit code, peak of memory in MiB and output of an import in a separate process."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux, which reports the peak of a process")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "import", *arguments],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    code, peak = map(int, done.stdout.splitlines()[-1].split())
    return code, peak // 1024, done.stdout + done.stderr


def write_large(path: Path, rows: int) -> None:
    """Write rows that are 65 bytes each, and compress well."""
    block = 50_000
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("binance_BTC-USDT_1s_x.csv", "w", force_zip64=True) as member,
    ):
        for first in range(0, rows, block):
            # Each time comes many times, so that storing takes no time.
            start = MARCH + first // block
            line = f"{start},42000.12345678,42010.12345678,41990.12345678,42005.12345678,12.5\n"
            member.write(line.encode() * block)


def test_rows_of_an_archive_are_read_in_blocks(folder: Path) -> None:
    write_large(folder / "x.zip", 2_000_000)
    code, peak, printed = measure_import_peak(folder, "x.zip", "--db", DB)
    assert (code, "2,000,000 rows" in printed) == (0, True), printed
    assert peak < 250


def test_a_json_file_of_one_list_is_read_in_blocks(folder: Path) -> None:
    row = "[{}, 1.25, 2.5, 1.125, 2.0, 9.0]"
    rows = (row.format(MARCH + at // 20_000) for at in range(400_000))
    (folder / "x.json").write_text(f"[{', '.join(rows)}]")
    code, peak, printed = measure_import_peak(folder, "x.json", *FLAGS, "-t", "1s")
    assert (code, "400,000 rows" in printed) == (0, True), printed
    assert peak < 250
