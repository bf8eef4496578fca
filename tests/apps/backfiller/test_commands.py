"""Commands that inspect and repair the candle store, and those that list what exchanges have."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onetape.cli.tables import Column, fit_table
from onetape.core.candles import SeriesKey
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import read_series_summaries
from onetape.store.database import open_store
from onetape.store.reading import read_closed_between

Run = Callable[..., Any]
DATABASE = Path("data/simulator.db")
DB = ("--db", str(DATABASE))
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
HOUR, DAY = 3_600, 86_400
#: 2024-03-01 00:00 UTC: the running hour of the simulator opened here.
FORMING = 1_709_251_200
START = FORMING - 10 * DAY


def spoil(statement: str, *values: object) -> None:
    """Change stored rows with plain SQL, as another program may."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"{statement} AND timeframe = '1h'", values)
        connection.commit()


def is_whole() -> bool:
    with open_store(DATABASE, create=False) as store:
        stored = read_closed_between(store, KEY, 0, 2**40)
    own = SimulatedMarket(DEFAULT_SEED).get_candles(KEY.symbol, "1h", START, FORMING)
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return all(getattr(stored, name).tolist() == getattr(own, name).tolist() for name in names)


@pytest.fixture
def filled(backfill_simulator: Run) -> None:
    assert backfill_simulator("--days", "10").code == 0


def parse_document(ended: Any) -> dict[str, Any]:
    return json.loads(ended.out)


def test_verify_exits_with_0_for_a_sound_database(backfiller: Run, filled: None) -> None:
    ended = backfiller("verify", *DB)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "data/simulator.db: 0 unexplained findings\n"


FAULTS = [
    ("gap", "DELETE FROM ohlcv_data WHERE timestamp BETWEEN ? AND ? + 7200", 2),
    ("forming row left behind", "UPDATE ohlcv_data SET closed = 0 WHERE timestamp = ?", 1),
    ("high/low", "UPDATE ohlcv_data SET high = low / 2 WHERE timestamp = ?", 1),
    ("bad price", "UPDATE ohlcv_data SET open = 0, low = 0 WHERE timestamp = ?", 1),
    ("bad volume", "UPDATE ohlcv_data SET volume = -1 WHERE timestamp = ?", 1),
    ("off-grid time", "UPDATE ohlcv_data SET timestamp = timestamp + 7 WHERE timestamp = ?", 1),
]


@pytest.mark.parametrize(("kind", "statement", "values"), FAULTS, ids=[one[0] for one in FAULTS])
def test_repair_fixes_what_verify_finds(
    backfiller: Run, simulator_url: str, filled: None, kind: str, statement: str, values: int
) -> None:
    spoil(statement, *[START + 30 * HOUR] * values)
    found = backfiller("verify", *DB)
    assert found.code == 4
    assert found.out.startswith("simulator BTC/USDT 1h 2024-02-")
    assert "uv run backfiller repair --db data/simulator.db" in found.err
    assert kind in {
        one["kind"] for one in parse_document(backfiller("verify", "--json", *DB))["findings"]
    }

    repaired = backfiller("repair", "--simulator-url", simulator_url, *DB)
    assert (repaired.code, repaired.err) == (0, "")
    assert repaired.out.splitlines()[0].endswith(", all fixed")
    assert backfiller("verify", *DB).code == 0
    assert is_whole()


def test_a_row_that_repair_removes_is_in_the_quarantine(
    backfiller: Run, simulator_url: str, filled: None
) -> None:
    spoil("UPDATE ohlcv_data SET volume = -1 WHERE timestamp = ?", START)
    backfiller("repair", "--simulator-url", simulator_url, *DB)
    with closing(sqlite3.connect(DATABASE)) as connection:
        (row,) = connection.execute("SELECT fault, payload FROM quarantine").fetchall()
    assert row[0] == "volume is out of range"
    assert str(START) in row[1]


def test_repair_without_the_exchange_prints_one_line_and_deletes_nothing(
    backfiller: Run, filled: None
) -> None:
    spoil("UPDATE ohlcv_data SET volume = -1 WHERE timestamp = ?", START)
    before = DATABASE.read_bytes()
    ended = backfiller("repair", "--simulator-url", "http://127.0.0.1:9", *DB)
    assert (ended.code, ended.out, ended.err.count("\n")) == (5, "", 1)
    assert DATABASE.read_bytes() == before


def test_repair_with_accept_stores_the_later_values(
    backfiller: Run, backfill_simulator: Run, simulator_url: str, filled: None
) -> None:
    spoil("UPDATE ohlcv_data SET close = (high + low) / 2 WHERE timestamp = ?", FORMING - HOUR)
    assert [one["revised"] for one in backfill_simulator("--days", "10").series] == [1]
    assert not is_whole()
    ended = backfiller("repair", "--accept", "--simulator-url", simulator_url, *DB)
    assert ended.out == ("data/simulator.db: 0 of 1 series had findings, 1 revision accepted\n")
    assert is_whole()


def test_an_unknown_revision_is_refused(backfiller: Run, filled: None) -> None:
    assert backfiller("revisions", "--accept", "77", *DB).code == 2
    ended = backfiller("revisions", "--accept", "seven", *DB)
    assert (ended.code, ended.err) == (
        2,
        "backfiller: --accept 'seven' is not the number of a revision, and not `all`\n",
    )


def test_gaps_lists_a_gap_that_was_never_requested_as_not_fetched(
    backfiller: Run, filled: None
) -> None:
    spoil("DELETE FROM ohlcv_data WHERE timestamp BETWEEN ? AND ? + 7200", *[START + DAY] * 2)
    (gap,) = parse_document(backfiller("gaps", "--json", *DB))["gaps"]
    assert (gap["start"], gap["candles"], gap["state"]) == (START + DAY, 3, "not fetched")
    assert gap["last_requested_ms"] is None
    assert gap["responses"] == 0
    table = backfiller("gaps", *DB).out.splitlines()
    assert table[2].split()[5:] == ["not", "fetched", "unknown", "never"]
    (one,) = parse_document(backfiller("list", "--json", *DB))["series"]
    assert (one["gaps"], one["missing"], one["unproven"], one["sources"]) == (1, 3, 1, ["rest"])


def test_restore_puts_a_backup_back_and_saves_the_replaced_file(
    backfiller: Run, filled: None
) -> None:
    made = parse_document(backfiller("backup", "--json", *DB))
    spoil("DELETE FROM ohlcv_data WHERE timestamp > ?", START)
    put = parse_document(backfiller("restore", made["backup"], "--json", *DB))
    assert is_whole()
    with open_store(Path(put["replaced_file"]), create=False) as store:
        assert [one.rows for one in read_series_summaries(store)] == [1]
    taken = backfiller("backup", made["backup"], *DB)
    assert (taken.code, taken.err.count("\n")) == (4, 1)


def test_markets_are_sorted_by_volume_and_filtered_by_quote(
    backfiller: Run, simulator_url: str
) -> None:
    address = ("--exchange", "simulator", "--simulator-url", simulator_url)
    markets = parse_document(backfiller("markets", *address, "--quote", "usdt", "--json"))[
        "markets"
    ]
    volumes = [one["quote_volume"] for one in markets]
    assert volumes == sorted(volumes, reverse=True)
    assert {one["quote"] for one in markets} == {"USDT"}
    assert {one["symbol"]: one["listed"] for one in markets}["BTC/USDT"] == 1_502_928_000
    table = backfiller("markets", *address, "--sort", "symbol", "--limit", "2").out.splitlines()
    assert table[0].split("  ")[0] == "symbol"
    assert len(table) == 3
    every = parse_document(backfiller("markets", *address, "--sort", "listed", "--json"))["markets"]
    listed = [one["listed"] for one in every]
    assert listed == sorted(listed)
    oldest = backfiller("markets", *address, "--sort", "listed", "--limit", "1", "--json")
    assert parse_document(oldest)["markets"] == every[:1]
    wrong = backfiller("markets", *address, "--sort", "size")
    assert (wrong.code, wrong.err) == (
        2,
        "backfiller: --sort 'size' is not one of volume, spread, symbol, listed\n",
    )
    assert backfiller("markets", *address, "--quote", "XYZ").code == 4


def test_exchanges_are_listed_without_a_request(backfiller: Run) -> None:
    found = {
        one["exchange"]: one
        for one in parse_document(backfiller("exchanges", "--json"))["exchanges"]
    }
    assert found["binance"]["page_limit"] == 1_000
    assert found["kraken"]["newest_only"] is True
    assert "1h" in found["okx"]["timeframes"]
    assert all(one["serves_candles"] for one in found.values())
    lines = backfiller("exchanges").out.splitlines()
    assert next(line for line in lines if line.startswith("kraken ")).split()[1] == "720*"


COMMANDS = ["list", "gaps", "verify", "repair", "revisions", "backup"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_a_database_prints_one_line(
    backfiller: Run, folder: Path, command: str
) -> None:
    ended = backfiller(command)
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "data/onetape.db does not exist" in ended.err
    assert list(folder.iterdir()) == []


def test_a_narrow_terminal_shortens_or_drops_columns() -> None:
    columns = [
        Column("name", ["BTC/USDT"]),
        Column("first", ["2024-01-01 00:00"], ["2024-01-01"]),
        Column("fee", ["0.1 %"], ()),
        Column("rows", ["12"], right=True),
    ]
    assert fit_table(columns, width=80).splitlines() == [
        "name      first             fee    rows",
        "BTC/USDT  2024-01-01 00:00  0.1 %    12",
    ]
    assert fit_table(columns, width=30).splitlines() == [
        "name      first       rows",
        "BTC/USDT  2024-01-01    12",
    ]


def run_in_terminal(columns: int, *arguments: str) -> list[str]:
    """Return the output of the real program in a terminal with a number of columns."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-m", "backfiller.main", *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment):
        os.close(slave)
        shown = bytearray()
        while True:
            try:
                shown += os.read(master, 65_536)
            except OSError:  # how a terminal ends that is not open any more
                break
    os.close(master)
    return shown.decode().splitlines()


@pytest.mark.parametrize("columns", [80, 160])
def test_tables_fit_the_terminal(simulator_url: str, filled: None, columns: int) -> None:
    address = ("--exchange", "simulator", "--simulator-url", simulator_url)
    spoil("DELETE FROM ohlcv_data WHERE timestamp BETWEEN ? AND ? + 7200", *[START + DAY] * 2)
    for command in (("list", *DB), ("gaps", *DB), ("exchanges",), ("markets", *address)):
        shown = run_in_terminal(columns, *command)
        assert max(map(len, shown[:-1])) <= columns
        assert len(shown) > 2


def test_an_unreadable_series_of_plain_sql_does_not_hide_the_others(
    backfiller: Run, filled: None
) -> None:
    with closing(sqlite3.connect(DATABASE)) as connection:
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume) VALUES ('simulator', 'A/B', '7x', ?, 1, 1, 1, 1, 1)",
            [START],
        )
        connection.commit()
    listed = backfiller("list", "--json", *DB)
    assert [one["gaps"] for one in parse_document(listed)["series"]] == [None, 0]
    for command in ("list", "gaps"):
        ended = backfiller(command, *DB)
        assert ended.code == 0
        assert "simulator BTC/USDT 1h" in ended.out
        assert ended.err.startswith("simulator A/B 7x: timeframe '7x' was not understood")
