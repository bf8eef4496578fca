"""Failure modes 16 and 17: whenever the backfiller is killed, the next runs end in the same table.

Five kills here; `make crash-test` does 200 (ONETAPE_KILLS; ONETAPE_KILL_SEED for other moments).
Each database begins with the newest day, and with forming rows of a trader that was killed in the
part that is still missing. Then the real program is killed, at a random moment after one of its
requests or of its start, and started again, until it ends by itself.
"""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from backfiller.main import app
from onetape.cli.program import run_typer_app
from onetape.core.candles import Candle, SeriesKey
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_columns, replace_forming
from onetape.store.database import open_store

KILLS = int(os.environ.get("ONETAPE_KILLS", "5"))
SEED = int(os.environ.get("ONETAPE_KILL_SEED", "16"))
#: 2024-03-01 00:20 UTC.
NOW_MS = 1_709_252_400_000
END = NOW_MS // 1_000
START = END - 20 * 60 - 5 * 86_400
SYMBOLS = ("BTC/USDT", "ETH/USDT")
#: Of ten kills so many come at any moment from the start on; the others while candles come.
EARLY_OF_TEN = 2
EARLY_SECONDS = 1.5
MOST_REQUESTS = 6
MOST_SECONDS_AFTER_REQUEST = 0.03

PROGRAM = "from backfiller.main import run; run()"
#: Failure mode 16 with its guard off: go on after the newest candle, and look for no gap.
AFTER_THE_NEWEST = """
import backfiller.fetch_plan as plan
from onetape.store.candles import read_closed_range
guarded = plan.find_series_gaps
def naive(store, key, start, end):
    stored = read_closed_range(store, key)
    return guarded(store, key, start if stored is None else stored[1], end)
plan.find_series_gaps = naive
import backfiller.series_fetch as fetch
async def unasked(*args, **kwargs):
    from onetape.history.fetch import FetchReport
    return FetchReport()
fetch.confirm_gaps = unasked
"""
#: Failure mode 17 with its guard off: a row that is not closed stays where it is.
FORMING_STAYS = """
import onetape.store.closed_rows as closed_rows
closed_rows._clear_unproven = lambda *args: None
"""


@dataclass(frozen=True)
class KillSetup:
    """A simulator that counts requests, and the folder of the databases."""

    simulator: EmbeddedSimulator
    folder: Path

    def requests(self) -> int:
        """Return the number of requested pages of candles."""
        return int(str(self.simulator.faults.list_faults()[0]["fired"]))

    def _arguments(self, database: Path) -> list[str]:
        return [
            *("--exchange", "simulator", "--simulator-url", self.simulator.url),
            *("-t", "1m", "--days", "5", "--json", "--db", str(database)),
            *(word for symbol in SYMBOLS for word in ("-p", symbol)),
        ]

    def start(self, database: Path, *, program: str = PROGRAM) -> subprocess.Popen[str]:
        """Start the real program; it fetches five days of minutes of two markets."""
        return subprocess.Popen(
            [sys.executable, "-c", program, *self._arguments(database)],
            cwd=self.folder,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, database: Path) -> int:
        """Let a run end by itself, inside this process, and return its exit code."""
        return run_typer_app(app, "backfiller", self._arguments(database))

    def begin(self, name: str) -> Path:
        """Return a database with the newest day, and forming rows in the days before."""
        database = self.folder / name
        with open_store(database, create=True) as store:
            for symbol in SYMBOLS:
                key = SeriesKey("simulator", symbol, "1m")
                newest = SimulatedMarket(DEFAULT_SEED).get_candles(symbol, "1m", END - 87_600, END)
                insert_columns(store, key, newest, source="rest", seen_ms=NOW_MS)
                for minute in (3, 1_500, 3_999):
                    row = Candle(START + 60 * minute, 1.0, 2.0, 0.5, 1.5, 9.0)
                    replace_forming(store, key, row, seen_ms=NOW_MS)
        return database

    def kill(self, process: subprocess.Popen[str], chosen: random.Random) -> bool:
        """Kill a run at a random moment; return False where it had ended by itself."""
        if chosen.randrange(10) < EARLY_OF_TEN:
            pause = chosen.uniform(0.0, EARLY_SECONDS)
        else:
            wanted = self.requests() + chosen.randint(1, MOST_REQUESTS)
            pause = chosen.uniform(0.0, MOST_SECONDS_AFTER_REQUEST)
            while self.requests() < wanted and process.poll() is None:
                time.sleep(0.001)
        with_rest = time.monotonic() + pause
        while process.poll() is None and time.monotonic() < with_rest:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=180)
        assert process.returncode in (0, -signal.SIGKILL), errors
        return process.returncode != 0


@pytest.fixture(scope="module")
def kill_setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillSetup]:
    with embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as simulator:
        simulator.faults.add(kind="latency", seconds=0.01, path="/api/v3/klines")
        yield KillSetup(simulator, tmp_path_factory.mktemp("kills"))


def compute_digest(database: Path) -> str:
    """Return a hash of every row of the table, read without Onetape's code."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT symbol, timestamp, open, high, low, close, volume, closed, source "
            "FROM ohlcv_data ORDER BY symbol, timestamp"
        )
        hashed = hashlib.sha256()
        for row in rows:
            hashed.update(repr(row).encode())
    return hashed.hexdigest()


def list_stored(database: Path, symbol: str) -> list[Candle]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data "
            "WHERE symbol = ? AND closed = 1 ORDER BY timestamp",
            (symbol,),
        )
        return [Candle(*row) for row in rows]


@pytest.fixture(scope="module")
def uninterrupted_digest(kill_setup: KillSetup) -> str:
    """Return the hash of the table that a run without a kill ends in: the exchange's own."""
    database = kill_setup.folder / "uninterrupted.db"
    assert kill_setup.finish(database) == 0
    market = SimulatedMarket(DEFAULT_SEED)
    for symbol in SYMBOLS:
        own = market.get_candles(symbol, "1m", START, END)
        columns = (own.timestamp, own.open, own.high, own.low, own.close, own.volume)
        assert list_stored(database, symbol) == [
            Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)
        ]
    return compute_digest(database)


def test_killed_runs_end_in_the_same_table_as_an_uninterrupted_run_rows_16_and_17(
    kill_setup: KillSetup, uninterrupted_digest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = random.Random(SEED)  # noqa: S311 - the same moments every time
    kills, number, most = 0, 0, 0
    while kills < KILLS:
        database, here, ended = kill_setup.begin(f"killed-{number}.db"), 0, False
        while not ended and kills < KILLS:
            ended = not kill_setup.kill(kill_setup.start(database), chosen)
            kills, here = kills + (not ended), here + (not ended)
        assert kill_setup.finish(database) == 0
        assert compute_digest(database) == uninterrupted_digest, (
            f"seed {SEED}, database {number}, {here} kills"
        )
        database.unlink()
        number, most = number + 1, max(most, here)
    with capsys.disabled():
        sys.stdout.write(
            f"\nseed {SEED}: {kills} kills of the backfiller, up to {most} on each of {number} "
            "databases; every table equal to an uninterrupted run's\n"
        )


@pytest.fixture(scope="module")
def killed_database(kill_setup: KillSetup) -> Path:
    """Return a database whose run was killed while it extended backwards."""
    database = kill_setup.begin("killed.db")
    # The fifth request never gets a response: on a busy machine too, the run has not ended.
    number = kill_setup.simulator.faults.add(kind="timeout", path="/api/v3/klines", nth=5)
    wanted = kill_setup.requests() + 5
    process = kill_setup.start(database)
    while kill_setup.requests() < wanted:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()
    kill_setup.simulator.faults.remove(number)
    return database


@pytest.mark.parametrize(
    "guard_off",
    [AFTER_THE_NEWEST, FORMING_STAYS],
    ids=["row-16-gaps-are-looked-for", "row-17-forming-rows-make-way"],
)
def test_without_the_guard_the_run_after_a_kill_leaves_another_table(
    kill_setup: KillSetup,
    uninterrupted_digest: str,
    killed_database: Path,
    tmp_path: Path,
    guard_off: str,
) -> None:
    database = tmp_path / "copy.db"
    for suffix in ("", "-wal"):  # a killed process leaves both
        shutil.copy(f"{killed_database}{suffix}", f"{database}{suffix}")
    kill_setup.start(database, program=guard_off + PROGRAM).communicate(timeout=180)
    assert compute_digest(database) != uninterrupted_digest
    assert kill_setup.finish(database) == 0
    assert compute_digest(database) == uninterrupted_digest
