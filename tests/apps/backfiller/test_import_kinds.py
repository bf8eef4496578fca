"""Files whose names or contents mislead: other markets, other codes, several tables at once."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candle_rows import HOUR, MARCH, read_stored_rows, walk
from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import read_series_summaries
from onetape.store.database import open_store
from onetape.store.gaps import NO_TRADES, UNKNOWN_IMPORT, read_gaps, set_gap

Run = Callable[..., Any]
DB = "onetape.db"
KEY = SeriesKey("binance", "BTC/USDT", "1h")
ARCHIVE = "BTCUSDT-1h-2024-03"
ROWS = walk(40)
FUTURES_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore\n"
)


def format_archive_rows(rows: list[Candle], *, volume: bool = True) -> str:
    """Write rows as Binance's archives have them."""
    lines: list[str] = []
    for row in rows:
        traded = row.volume if volume else 0.0
        prices = ",".join(f"{value:.8f}" for value in row[1:5])
        lines.append(
            f"{row.timestamp * 1_000},{prices},{traded:.8f},{(row.timestamp + HOUR) * 1_000 - 1},"
            f"{traded * row.close:.8f},60,0,0,0\n"
        )
    return "".join(lines)


def format_kraken_rows(rows: list[Candle]) -> str:
    return "".join(f"{','.join(map(repr, row))},7\n" for row in rows)


def write_zip(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def list_stored_series(folder: Path) -> list[str]:
    with open_store(folder / DB, create=False) as store:
        return [str(one.key) for one in read_series_summaries(store)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            f"{ARCHIVE}.csv",
            FUTURES_HEADER + format_archive_rows(ROWS),
            "header of Binance's archives of",
        ),
        ("mine.csv", FUTURES_HEADER + format_archive_rows(ROWS), "header of Binance's archives of"),
        (
            f"{ARCHIVE}.csv",
            format_archive_rows(ROWS, volume=False),
            "mark, index and premium prices",
        ),
    ],
)
def test_futures_and_mark_prices_are_recognised_by_their_content(
    backfiller: Run, folder: Path, name: str, text: str, words: str
) -> None:
    (folder / name).write_text(text)
    flags = ("--exchange", "binance", "--symbol", "BTC/USDT", "--db", DB)
    ended = backfiller("import", name, *flags)
    assert (ended.code, words in ended.err, (folder / DB).exists()) == (4, True, False)
    assert ended.err.count("\n") == 1
    assert backfiller("import", name, *flags, "--spot").code == 0


@pytest.mark.parametrize(
    "fields",
    [
        {
            "result": {
                "category": "linear",
                "symbol": "BTCUSDT",
                "list": [list(row) for row in ROWS],
            }
        },
        {"result": {"category": "inverse", "list": [list(row) for row in ROWS]}},
        {"arg": 1, "instId": "BTC-USDT-SWAP", "data": [list(row) for row in ROWS]},
    ],
    ids=["linear", "inverse", "swap"],
)
def test_a_saved_response_about_a_contract_is_refused(
    backfiller: Run, folder: Path, fields: dict[str, object]
) -> None:
    (folder / "response.json").write_text(json.dumps({"retCode": 0, **fields}))
    flags = ("--exchange", "bybit", "--symbol", "BTC/USDT", "--timeframe", "1h", "--db", DB)
    ended = backfiller("import", "response.json", *flags)
    assert (ended.code, "about a contract" in ended.err) == (4, True)
    assert not (folder / DB).exists()
    assert backfiller("import", "response.json", *flags, "--spot").code == 0


@pytest.mark.parametrize(
    "path",
    [
        f"data/futures/um/monthly/klines/BTCUSDT/1h/{ARCHIVE}.csv",
        f"monthly/markPriceKlines/BTCUSDT/1h/{ARCHIVE}.csv",
        "BTCUSD_PERP-1h-2024-03.csv",
    ],
)
def test_futures_are_recognised_by_their_folder_or_name(
    backfiller: Run, folder: Path, path: str
) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(format_archive_rows(ROWS))
    write_zip(
        folder / "all.zip",
        {path: format_archive_rows(ROWS), "other.csv": format_archive_rows(ROWS)},
    )
    for file in (path, "all.zip"):
        ended = backfiller("import", file, "--exchange", "binance", "--db", DB)
        assert (ended.code, "Onetape trades spot only" in ended.err) == (2, True)
        assert not (folder / DB).exists()


def test_a_quote_volume_of_another_market_is_reported(backfiller: Run, folder: Path) -> None:
    text = format_archive_rows([row._replace(volume=row.volume) for row in ROWS]).replace(
        "60,0,0", "60,0,0"
    )
    lines = [line.split(",") for line in text.splitlines()]
    (folder / f"{ARCHIVE}.csv").write_text(
        "".join(",".join([*cells[:7], "5.0", *cells[8:]]) + "\n" for cells in lines)
    )
    ended = backfiller("import", f"{ARCHIVE}.csv", "--db", DB)
    assert (ended.code, "its quote volume is not its volume times its price" in ended.err) == (
        0,
        True,
    )


def test_an_archive_in_another_form_than_spot_archives_is_reported(
    backfiller: Run, folder: Path
) -> None:
    (folder / f"{ARCHIVE}.csv").write_text(format_archive_rows(ROWS))
    assert "8 decimals" not in backfiller("import", f"{ARCHIVE}.csv", "--db", DB).err
    text = re.sub(r"(\.\d\d)0{6},", r"\1,", format_archive_rows(ROWS))
    (folder / f"{ARCHIVE}.csv").write_text(text)
    assert "write 8 decimals" in backfiller("import", f"{ARCHIVE}.csv", "--db", "x.db").err


def test_correct_candles_that_differ_from_stored_ones_are_reported(
    backfiller: Run, folder: Path
) -> None:
    other = [row._replace(high=row.high + 15, volume=row.volume * 3) for row in ROWS]
    (folder / "binance_BTC-USDT_1h_futures.csv").write_text(format_kraken_rows(other))
    (folder / f"{ARCHIVE}.csv").write_text(format_archive_rows(ROWS))
    assert backfiller("import", "binance_BTC-USDT_1h_futures.csv", "--db", DB).code == 0
    for _ in range(2):
        ended = backfiller("import", f"{ARCHIVE}.csv", "--db", DB)
        assert ended.code == 4
        assert "40 of 40 candles that were stored already have other values" in ended.err
    assert read_stored_rows(folder / DB, KEY) == other


def test_a_guessed_exchange_is_reported_and_an_exchange_given_by_flag_is_not(
    backfiller: Run, folder: Path
) -> None:
    (folder / f"{ARCHIVE}.csv").write_text(format_archive_rows(ROWS))
    ended = backfiller("import", f"{ARCHIVE}.csv", "--db", DB, "--json")
    assert "exchange binance is a guess from the style of the name" in ended.err
    assert json.loads(ended.out)["files"][0]["is_exchange_guessed"] is True
    ended = backfiller("import", f"{ARCHIVE}.csv", "--exchange", "mexc", "--db", DB, "--json")
    assert "guess" not in ended.err
    assert json.loads(ended.out)["files"][0]["is_exchange_guessed"] is False


@pytest.mark.parametrize(
    ("name", "exchange", "symbol"),
    [
        ("LUNAUSD_60.csv", None, "kraken LUNC/USD"),
        ("LUNA2USD_60.csv", None, "kraken LUNA/USD"),
        ("USTUSD_60.csv", None, "kraken USTC/USD"),
        ("XXDGZUSD_60.csv", None, "kraken DOGE/USD"),
        ("REPV2XBT_60.csv", None, "kraken REP/BTC"),
        ("BCCUSDT-1h-2018-03.csv", None, "binance BCC/USDT"),
        ("XBTUSDT-1h-2024-03.csv", "bitmex", "bitmex BTC/USDT"),
        ("kraken_LUNC-USD_1h.csv", None, "kraken LUNC/USD"),
    ],
)
def test_codes_of_an_exchange_become_those_of_ccxt(
    backfiller: Run, folder: Path, name: str, exchange: str | None, symbol: str
) -> None:
    text = format_archive_rows(ROWS) if "-1h-" in name else format_kraken_rows(ROWS)
    (folder / name).write_text(text)
    flags = () if exchange is None else ("--exchange", exchange)
    ended = backfiller("import", name, *flags, "--db", DB)
    assert ended.code == 0, ended.err
    assert list_stored_series(folder) == [f"{symbol} 1h"]


def test_a_file_name_with_two_possible_markets_needs_a_flag(backfiller: Run, folder: Path) -> None:
    tables = {"Coinbase_BATUSD_1h.csv": format_kraken_rows(ROWS), "Coinbase_DOTUSD_1h.csv": ""}
    write_zip(folder / "two.zip", tables)
    ended = backfiller("import", "two.zip", "--db", DB)
    assert ended.code == 2
    assert "may mean BAT/USD or BA/TUSD; add --symbol BAT/USD" in ended.err
    assert backfiller("import", "two.zip", "--symbol", "BAT/USD", "--db", DB).code == 0
    assert list_stored_series(folder) == ["coinbase BAT/USD 1h"]


def test_a_column_of_volume_may_name_the_coin_by_its_code_at_the_exchange(
    backfiller: Run, folder: Path
) -> None:
    header = "unix,date,symbol,open,high,low,close,Volume USD,Volume DSH\n"
    lines = [
        f"{row.timestamp},,DSH/USD,{','.join(map(repr, row[1:5]))},7,{row.volume!r}\n"
        for row in ROWS
    ]
    (folder / "Bitfinex_DSHUSD_1h.csv").write_text(header + "".join(lines))
    ended = backfiller("import", "Bitfinex_DSHUSD_1h.csv", "--db", DB)
    assert ended.code == 0, ended.err
    assert read_stored_rows(folder / DB, SeriesKey("bitfinex", "DASH/USD", "1h")) == ROWS


def test_flags_choose_a_table_of_an_archive_by_the_code_of_ccxt(
    backfiller: Run, folder: Path
) -> None:
    luna = [row._replace(volume=1.0) for row in ROWS]
    write_zip(
        folder / "Kraken_OHLCVT.zip",
        {"LUNAUSD_60.csv": format_kraken_rows(ROWS), "LUNA2USD_60.csv": format_kraken_rows(luna)},
    )
    ended = backfiller("import", "Kraken_OHLCVT.zip", "--symbol", "LUNA/USD", "--db", DB)
    assert ended.code == 0, ended.err
    assert list_stored_series(folder) == ["kraken LUNA/USD 1h"]
    assert read_stored_rows(folder / DB, SeriesKey("kraken", "LUNA/USD", "1h")) == luna


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (("--symbol", "LUNC/USD"), "binance LUNC/USD 1h"),
        (("--exchange", "kraken"), "kraken BTC/USDT 1h"),
    ],
)
def test_a_flag_that_contradicts_the_file_name_is_used_with_a_note(
    backfiller: Run, folder: Path, flags: tuple[str, str], found: str
) -> None:
    (folder / "binance_BTC-USDT_1h.csv").write_text(format_kraken_rows(ROWS))
    ended = backfiller("import", "binance_BTC-USDT_1h.csv", *flags, "--db", DB)
    assert ended.code == 0, ended.err
    assert f"by its name; {flags[0]} {flags[1]} is used" in ended.err
    assert list_stored_series(folder) == [found]


def test_gaps_of_krakens_own_archive_are_candles_without_trades(
    backfiller: Run, folder: Path
) -> None:
    rows = [row for at, row in enumerate(ROWS) if at not in (3, 4, 20)]
    (folder / "XBTUSD_60.csv").write_text(format_kraken_rows(rows))
    (folder / "kraken_ETH-USD_1h.csv").write_text(format_kraken_rows(rows))
    with open_store(folder / DB, create=True) as store:
        gap = (MARCH + 3 * HOUR, MARCH + 5 * HOUR)
        key = SeriesKey("kraken", "BTC/USD", "1h")
        set_gap(store, key, *gap, state=UNKNOWN_IMPORT, requested_ms=1)
    ended = backfiller("import", "XBTUSD_60.csv", "kraken_ETH-USD_1h.csv", "--db", DB)
    assert "2 gaps (3 candles) without trades" in ended.out
    with open_store(folder / DB, create=False) as store:
        states = [{gap.state for gap in read_gaps(store, SeriesKey("kraken", s, "1h"))}
                  for s in ("BTC/USD", "ETH/USD")]  # fmt: skip
    assert states == [{NO_TRADES}, {UNKNOWN_IMPORT}]


def test_a_refused_row_of_krakens_archive_is_not_read_as_a_candle_without_trades(
    backfiller: Run, folder: Path
) -> None:
    rows = [row._replace(low=row.high + 1) if at == 7 else row for at, row in enumerate(ROWS)]
    (folder / "XBTUSD_60.csv").write_text(format_kraken_rows([*rows[:3], *rows[4:]]))
    assert backfiller("import", "XBTUSD_60.csv", "--db", DB).code == 0
    with open_store(folder / DB, create=False) as store:
        states = [gap.state for gap in read_gaps(store, SeriesKey("kraken", "BTC/USD", "1h"))]
    assert states == [NO_TRADES, UNKNOWN_IMPORT]


def test_a_table_that_fails_stops_no_other_table_and_the_worst_exit_code_is_returned(
    backfiller: Run, folder: Path
) -> None:
    write_zip(
        folder / "Kraken.zip",
        {
            "AAVEUSD_60.csv": format_kraken_rows(ROWS),
            "BATUSD_60.csv": "",
            "COMPUSD_60.csv": format_kraken_rows(ROWS),
            "DASHUSD_60.csv": format_kraken_rows(ROWS[:1]),
        },
    )
    ended = backfiller("import", "no.csv", "Kraken.zip", "--db", DB, "--json")
    document = json.loads(ended.out)
    assert ended.code == 4
    assert [one["symbol"] for one in document["files"]] == ["AAVE/USD", "COMP/USD", "DASH/USD"]
    assert [one["exit_code"] for one in document["failed"]] == [2, 4]
    assert "2 of 5 tables could not be imported" in ended.err.splitlines()[-1]
    assert "Kraken.zip:BATUSD_60.csv" in ended.err.splitlines()[-1]


def test_tables_that_all_fail_make_no_database(backfiller: Run, folder: Path) -> None:
    ended = backfiller("import", "no.csv", "none.csv", "--db", DB)
    assert (ended.code, (folder / DB).exists()) == (2, False)


def test_recorded_files_of_other_programs_are_imported_as_expected(
    backfiller: Run, shared: Path, folder: Path
) -> None:
    cases = shared / "data" / "cases"
    named = ("--exchange", "binance", "--symbol", "BTC/USDT")
    runs = [
        (0, "60 new", "formats/set_index_keep.parquet", *named),
        (0, "240 new", "formats/Binance_BTCUSDT_1h.csv", *named),
        (0, "240 rows", "formats/sepline.csv", *named),
        (4, "--columns timestamp,low,high,open,close,volume", "formats/coinbase_thin.json",
         "--exchange", "coinbase", "--symbol", "THIN/USD"),
        (0, "300 new", "formats/coinbase_thin.json", "--exchange", "coinbase", "--symbol",
         "THIN/USD", "--columns", "timestamp,low,high,open,close,volume"),
        (2, "no two rows are 1m apart", "formats/few_daily.csv", "-t", "1m", *named),
        (4, "trades spot only", "binance_futures/BTCUSDT-1h-2024-03.zip"),
        (0, "LUNC/USD", "kraken/LUNAUSD_60.csv"),
        (0, "(144 candles) without trades", "kraken/MINAEUR_60.csv"),
        (4, "COMP/USD", "kraken/Kraken_OHLCVT_Q1_2024.zip"),
    ]  # fmt: skip
    for at, (code, words, file, *flags) in enumerate(runs):
        ended = backfiller("import", str(cases / file), *flags, "--db", f"{at}.db")
        assert (ended.code, words in ended.out + ended.err) == (code, True), (file, ended)
