"""Files of many programs and layouts give equal candles, or a refusal with a remedy."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from candle_rows import HOUR, MARCH, read_stored_rows, walk
from onetape.core.candles import Candle, SeriesKey

Run = Callable[..., Any]
KEY = SeriesKey("binance", "BTC/USDT", "1h")
DB = "onetape.db"
FLAGS = ("--exchange", "binance", "--symbol", "BTC/USDT", "--db", DB)
ROWS = walk(40)
HEADER = "timestamp,open,high,low,close,volume"


def format_rows(
    rows: Iterable[Candle],
    form: str = "{t},{o},{h},{l},{c},{v}",
    number: Callable[[float], str] = repr,
) -> str:
    """Write rows by a pattern; `{date}`, `{time}`, `{ampm}` and `{ms}` are their time."""
    lines: list[str] = []
    for row in rows:
        at = datetime.fromtimestamp(row.timestamp, UTC)
        o, h, l_, c, v = (number(value) for value in row[1:])
        lines.append(
            form.format(
                t=row.timestamp, ms=row.timestamp * 1_000, o=o, h=h, l=l_, c=c, v=v,
                date=f"{at:%Y-%m-%d}", time=f"{at:%H:%M}", iso=f"{at:%Y-%m-%d %H:%M:%S}",
                ampm=f"{at:%m/%d/%Y %I:%M %p}", hourpm=f"{at:%Y-%m-%d %I-%p}",
                bare=f"{at:%Y%m%d,%H%M%S}", dots=f"{at:%Y.%m.%d}", german=f"{at:%d.%m.%Y %H:%M}",
            )
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def format_german(value: float) -> str:
    return f"{value:,.5f}".replace(",", " ").replace(".", ",").replace(" ", ".")


DATA_DOWNLOAD = (
    "https://www.CryptoDataDownload.com\n"
    "Unix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n"
    + format_rows(ROWS[::-1], "{ms},{iso},BTCUSDT,{o},{h},{l},{c},{v},9999.5,12")
)
LAYOUTS = {
    "newest first, a URL above the header": DATA_DOWNLOAD,
    "old CryptoDataDownload": "https://www.CryptoDataDownload.com\n"
    "Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD\n"
    + format_rows(ROWS, "{hourpm},BTCUSD,{o},{h},{l},{c},{v},77.5"),
    "sep=": f"sep=;\n{HEADER.replace(',', ';')}\n" + format_rows(ROWS, "{t};{o};{h};{l};{c};{v}"),
    "tabs": HEADER.replace(",", "\t") + "\n" + format_rows(ROWS, "{t}\t{o}\t{h}\t{l}\t{c}\t{v}"),
    "pipes": HEADER.replace(",", "|") + "\n" + format_rows(ROWS, "{t}|{o}|{h}|{l}|{c}|{v}"),
    "decimal commas": "Date;Open;High;Low;Close;Volume\n"
    + format_rows(
        ROWS, "{german};{o};{h};{l};{c};{v}", lambda value: repr(value).replace(".", ",")
    ),
    "points between thousands": "Date;Open;High;Low;Close;Volume\n"
    + format_rows(ROWS, "{iso};{o};{h};{l};{c};{v}", format_german),
    "quoted with thousands": "Date,Open,High,Low,Close,Volume\n"
    + format_rows(ROWS, '"{iso}","{o}","{h}","{l}","{c}","{v}"', lambda value: f"{value:,.5f}"),
    "dollars": "Date,Open,High,Low,Close,Volume\n"
    + format_rows(ROWS, '{iso},"${o}","${h}","${l}","${c}",{v}', lambda value: f"{value:,.5f}"),
    "BOM and CRLF": "\ufeff" + f"{HEADER}\n{format_rows(ROWS)}".replace("\n", "\r\n"),
    "UTC suffix": "Date,Open,High,Low,Close,Volume\n"
    + format_rows(ROWS, "{iso} UTC,{o},{h},{l},{c},{v}"),
    "am and pm": "Time,O,H,L,C,Vol\n" + format_rows(ROWS, "{ampm},{o},{h},{l},{c},{v}"),
    "date and time": "Date,Time,Open,High,Low,Close,Volume\n"
    + format_rows(ROWS, "{date},{time},{o},{h},{l},{c},{v}"),
    "date and time without separators": "Date,Time,Open,High,Low,Close,Volume\n"
    + format_rows(ROWS, "{bare},{o},{h},{l},{c},{v}"),
    "MetaTrader": "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>\n"
    + format_rows(ROWS, "{dots}\t{time}:00\t{o}\t{h}\t{l}\t{c}\t{v}"),
    "MetaTrader without a header": format_rows(ROWS, "{dots},{time},{o},{h},{l},{c},{v}"),
    "several header lines": "Price,Open,High,Low,Close,Volume\n"
    "Ticker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDatetime,,,,,\n"
    + format_rows(ROWS, "{iso}+00:00,{o},{h},{l},{c},{v}"),
    "index without a name": ",open,high,low,close,volume\n"
    + format_rows(ROWS, "{iso},{o},{h},{l},{c},{v}"),
    "row numbers before": f",{HEADER}\n" + format_rows(ROWS, "0,{t},{o},{h},{l},{c},{v}"),
    "Yahoo": "Date,Open,High,Low,Close,Adj Close,Volume\n"
    + format_rows(ROWS, "{iso},{o},{h},{l},{c},{c},{v}"),
    "TradingView": "time,open,high,low,close,Volume,MA\n"
    + format_rows(ROWS, "{t},{o},{h},{l},{c},{v},NaN"),
    "Kaggle": "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n"
    + format_rows(ROWS, "{t},{o},{h},{l},{c},{v},8.5,9.5"),
    "OKX": "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm\n"
    + format_rows(ROWS, "{ms},{o},{h},{l},{c},{v},9,9,1"),
    "Bybit": "startTime,openPrice,highPrice,lowPrice,closePrice,volume,turnover\n"
    + format_rows(ROWS, "{ms},{o},{h},{l},{c},{v},99.5"),
    "KuCoin": "time,open,close,high,low,volume,turnover\n"
    + format_rows(ROWS, "{t},{o},{c},{h},{l},{v},99.5"),
    "HTX": "id,open,close,low,high,amount,vol,count\n"
    + format_rows(ROWS, "{t},{o},{c},{l},{h},{v},88.5,3"),
    "CryptoCompare": "time,high,low,open,volumefrom,volumeto,close\n"
    + format_rows(ROWS, "{t},{h},{l},{o},{v},88.5,{c}"),
    "python-binance": "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume\n"
    + format_rows(ROWS, "{ms},{o},{h},{l},{c},{v},1,5.5"),
    "capitals": "OPEN,CLOSE,VOLUME,LOW,HIGH,TIMESTAMP\n"
    + format_rows(ROWS, "{o},{c},{v},{l},{h},{t}"),
    "comments above": "# made by hand\n\n" + HEADER + "\n" + format_rows(ROWS),
    "a title above rows without a header": "BTC/USDT hourly\n" + format_rows(ROWS),
    "rows without prices": f"{HEADER}\n{MARCH - HOUR},,,,,\n"
    + format_rows(ROWS) + f"{MARCH + 40 * HOUR},null,null,null,null,null\n",
}  # fmt: skip


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_csv_of_any_layout_holds_the_same_candles(
    backfiller: Run, folder: Path, text: str
) -> None:
    (folder / "mine.csv").write_bytes(text.encode())
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, KEY) == ROWS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_csv_of_any_encoding_is_read(backfiller: Run, folder: Path, encoding: str) -> None:
    (folder / "mine.csv").write_bytes(f"{HEADER}\n{format_rows(ROWS)}".encode(encoding))
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, KEY) == ROWS


COLUMNS = {
    name: [row[at] for row in ROWS]
    for at, name in enumerate(("timestamp", "open", "high", "low", "close", "volume"))
}
DOCUMENTS: dict[str, Any] = {
    "rows": [list(row) for row in ROWS],
    "newest first in ms": [[row[0] * 1_000, *row[1:]] for row in reversed(ROWS)],
    "texts": [[str(value) for value in row] for row in ROWS],
    "records": [dict(zip(COLUMNS, row, strict=True)) for row in ROWS],
    "columns": {name: {str(at): v for at, v in enumerate(vs)} for name, vs in COLUMNS.items()},
    "lists": COLUMNS,
    "split": {"columns": list(COLUMNS), "index": list(range(40)), "data": [list(r) for r in ROWS]},
    "split with times as index": {
        "columns": list(COLUMNS)[1:],
        "index": [row[0] * 1_000 for row in ROWS],
        "data": [list(row[1:]) for row in ROWS],
    },
    "index": {
        str(row[0] * 1_000): dict(zip(list(COLUMNS)[1:], row[1:], strict=True)) for row in ROWS
    },
    "OKX's response": {"code": "0", "msg": "", "data": [list(row) for row in ROWS]},
    "Bybit's response": {"retCode": 0, "result": {"list": [[*row, 99.5] for row in ROWS]}},
    "Kraken's response": {
        "error": [],
        "result": {"XXBTZUSD": [[*row, 3] for row in ROWS], "last": 1},
    },
}
#: Seven columns are Kraken's, and Bybit's turnover is not a number of trades.
SEVEN = ("--columns", "timestamp,open,high,low,close,volume,-")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_of_any_orientation_holds_the_same_candles(
    backfiller: Run, folder: Path, name: str
) -> None:
    (folder / "mine.json").write_text(json.dumps(DOCUMENTS[name]))
    columns = SEVEN if name.startswith("Bybit") else ()
    ended = backfiller("import", "mine.json", *FLAGS, *columns)
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, KEY) == ROWS


@pytest.mark.parametrize("name", ["rows", "records"])
def test_json_with_a_row_in_each_line_is_read(backfiller: Run, folder: Path, name: str) -> None:
    lines = "".join(f"{json.dumps(row)}\n" for row in DOCUMENTS[name])
    (folder / "mine.json").write_text(lines)
    ended = backfiller("import", "mine.json", *FLAGS)
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, KEY) == ROWS


FRAME = pd.DataFrame(COLUMNS)
DATES = pd.to_datetime(FRAME["timestamp"], unit="s", utc=True)
PRICES = FRAME.drop(columns="timestamp")
FRAMES = {
    "index and column equal": PRICES.assign(date=DATES).set_index("date", drop=False),
    "index without a name": PRICES.set_index(pd.DatetimeIndex(DATES, name=None)),
    "named index": PRICES.set_index(pd.DatetimeIndex(DATES, name="Date")),
    "naive": FRAME.assign(timestamp=DATES.dt.tz_localize(None)),
    "texts": FRAME.astype(str),
    "categories": FRAME.assign(timestamp=FRAME["timestamp"].astype(str).astype("category")),
    "small floats": FRAME.assign(timestamp=FRAME["timestamp"].astype("float64")),
    "more columns": FRAME.assign(symbol="BTC/USDT", nested=pd.Series([[1, 2]] * 40)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (name, suffix)
        for name, frame in FRAMES.items()
        for suffix in ("parquet", "feather")
        if suffix == "parquet" or isinstance(frame.index, pd.RangeIndex)
    ],
)
def test_dataframes_of_any_index_and_type_hold_the_same_candles(
    backfiller: Run, folder: Path, name: str, suffix: str
) -> None:
    getattr(FRAMES[name], f"to_{suffix}")(folder / f"mine.{suffix}")
    ended = backfiller("import", f"mine.{suffix}", *FLAGS)
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, KEY) == ROWS


@pytest.mark.parametrize(
    ("order", "form"),
    [
        ("timestamp,low,high,open,close,volume", "{t},{l},{h},{o},{c},{v}"),
        ("timestamp,open,close,high,low,volume", "{t},{o},{c},{h},{l},{v}"),
        ("timestamp,open,close,low,high,volume", "{t},{o},{c},{l},{h},{v}"),
        ("timestamp,close,high,low,open,volume", "{t},{c},{h},{l},{o},{v}"),
        ("timestamp,volume,close,high,low,open", "{t},{v},{c},{h},{l},{o}"),
    ],
)
def test_columns_in_another_order_are_refused_with_a_proposed_flag_that_then_reads_them(
    backfiller: Run, folder: Path, order: str, form: str
) -> None:
    (folder / "mine.csv").write_text(format_rows(ROWS, form))
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert (ended.code, (folder / DB).exists()) == (4, False)
    if order == "timestamp,close,high,low,open,volume":
        # They are sound candles, but each closes where the one before it opened.
        assert "open and close must be exchanged" in ended.err
    else:
        assert "the first such row: 2024-03-01" in ended.err
        assert "high or low does not hold open and close" in ended.err
    assert f"--columns {order}" in ended.err
    assert backfiller("import", "mine.csv", *FLAGS, "--columns", order).code == 0
    assert read_stored_rows(folder / DB, KEY) == ROWS


def test_more_than_a_few_refused_rows_refuse_the_file(backfiller: Run, folder: Path) -> None:
    rows = [row._replace(low=row.open + 1) if at < 6 else row for at, row in enumerate(ROWS)]
    (folder / "mine.csv").write_text(f"{HEADER}\n{format_rows(rows)}")
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert (ended.code, (folder / DB).exists()) == (4, False)
    assert "6 of 40 rows are not valid 1h candles" in ended.err
    assert "the first such row: 2024-03-01 00:00 UTC open 42000.0" in ended.err


def test_an_unreadable_row_is_shown_unchanged(backfiller: Run, folder: Path) -> None:
    text = format_rows(ROWS, "{t},{o},x\x1b[2J,{l},{c},{v}")
    (folder / "mine.csv").write_text(f"{HEADER}\n{text}")
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert ended.code == 4
    assert f"the first such row: {MARCH}, 42000.0, no number," in ended.err
    assert "\x1b" not in ended.err


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_rows_before_2009_name_the_flag_that_reads_them(
    backfiller: Run, folder: Path, suffix: str
) -> None:
    rows = walk(40, start=1_230_768_000 - 20 * HOUR)
    if suffix == "csv":
        (folder / "old.csv").write_text(f"{HEADER}\n{format_rows(rows)}")
    else:
        (folder / "old.json").write_text(json.dumps(rows))
    ended = backfiller("import", f"old.{suffix}", *FLAGS)
    assert (ended.code, "--time-unit s" in ended.err) == (4, True)
    assert backfiller("import", f"old.{suffix}", *FLAGS, "--time-unit", "s").code == 0
    assert read_stored_rows(folder / DB, KEY) == rows


def test_a_few_rows_before_2009_are_reported_with_the_flag(backfiller: Run, folder: Path) -> None:
    rows = walk(500, start=1_230_768_000 - 3 * HOUR)
    (folder / "old.csv").write_text(f"{HEADER}\n{format_rows(rows)}")
    ended = backfiller("import", "old.csv", *FLAGS)
    assert (ended.code, "3 refused" in ended.out) == (0, True)
    assert "3 times before 2009" in ended.err
    assert "--time-unit s" in ended.err


def test_local_times_are_stored_in_utc(backfiller: Run, folder: Path) -> None:
    utc = pd.date_range("2024-10-26", "2024-10-28", freq="1h", tz="UTC", inclusive="left")
    local = utc.tz_convert("Europe/Berlin").strftime("%Y-%m-%d %H:%M")
    rows = walk(48, start=int(utc[0].timestamp()))
    text = "".join(
        f"{time},{','.join(map(repr, row[1:]))}\n" for time, row in zip(local, rows, strict=True)
    )
    (folder / "mine.csv").write_text(f"date,open,high,low,close,volume\n{text}")
    ended = backfiller("import", "mine.csv", *FLAGS, "--timezone", "Europe/Berlin")
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, KEY) == rows


@pytest.mark.parametrize(
    ("header", "flags"),
    [("time,open,high,low,close\n", ()), ("", ("--columns", "timestamp,open,high,low,close"))],
)
def test_a_table_without_volume_is_reported(
    backfiller: Run, folder: Path, header: str, flags: tuple[str, ...]
) -> None:
    (folder / "mine.csv").write_text(header + format_rows(ROWS, "{t},{o},{h},{l},{c}"))
    ended = backfiller("import", "mine.csv", *FLAGS, *flags)
    assert (ended.code, "its volume is stored as 0" in ended.err) == (0, True)
    assert read_stored_rows(folder / DB, KEY) == [row._replace(volume=0.0) for row in ROWS]


@pytest.mark.parametrize("cell", ["1,234", "42,000"])
def test_an_ambiguous_decimal_comma_is_refused(backfiller: Run, folder: Path, cell: str) -> None:
    (folder / "mine.csv").write_text(
        f"Date;Open;High;Low;Close;Volume\n2024-03-01;{cell};{cell};{cell};{cell};5\n"
    )
    ended = backfiller("import", "mine.csv", *FLAGS, "-t", "1d")
    assert (ended.code, "write numbers with a point and without" in ended.err) == (4, True)


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("timeframe", ["1m", "1h", "1w"])
def test_rows_that_are_never_one_timeframe_apart_are_refused(
    backfiller: Run, folder: Path, count: int, timeframe: str
) -> None:
    rows = walk(count, step=86_400)
    (folder / "few.csv").write_text(f"{HEADER}\n{format_rows(rows)}")
    ended = backfiller("import", "few.csv", *FLAGS, "-t", timeframe)
    assert (ended.code, (folder / DB).exists()) == (2, False)
    assert f"so they are not {timeframe} candles" in ended.err


@pytest.mark.parametrize(("step", "name"), [(2_700, "45m"), (10_800, "3h"), (172_800, "2d")])
def test_rows_of_a_rare_timeframe_are_read_with_the_flag_that_the_refusal_names(
    backfiller: Run, folder: Path, step: int, name: str
) -> None:
    rows = walk(40, start=MARCH // 172_800 * 172_800, step=step)
    (folder / "mine.csv").write_text(f"{HEADER}\n{format_rows(rows)}")
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert ended.code == 2
    assert f"apart most often; name it, such as --timeframe {name}\n" in ended.err
    assert backfiller("import", "mine.csv", *FLAGS, "-t", name).code == 0


def test_rows_of_two_timeframes_are_refused_without_a_guess(backfiller: Run, folder: Path) -> None:
    rows = [*walk(20, step=300), *walk(200, start=MARCH + 20 * 300, step=900)]
    (folder / "mine.csv").write_text(f"{HEADER}\n{format_rows(rows)}")
    ended = backfiller("import", "mine.csv", *FLAGS)
    assert (ended.code, "does not state its timeframe" in ended.err) == (2, True)


def test_rows_in_any_order_are_sorted(backfiller: Run, folder: Path) -> None:
    mixed = sorted(ROWS, key=lambda row: row.timestamp * 7_919 % 1_000_003)
    (folder / "mine.csv").write_text(f"{HEADER}\n{format_rows(mixed)}")
    assert backfiller("import", "mine.csv", *FLAGS).code == 0
    assert read_stored_rows(folder / DB, KEY) == ROWS
