"""Invalid input to the backfiller: one line, the documented exit code, and nothing written."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store

Run = Callable[..., Any]


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check(ended: Any, code: int, words: str) -> None:
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("backfiller: ")
    assert ended.err.count("\n") == 1
    assert words in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--exchange binanse", 2, "did you mean 'binance"),
        ("--symbol BTC/USDT:USDT", 2, "is a derivative"),
        ("--symbol BTCUSDT", 2, "was not understood"),
        ("--timeframe 1x", 2, "was not understood"),
        ("--timeframe 7h", 2, "it serves 1m, 3m"),
        ("--symbol BTC/USDR", 2, "did you mean 'BTC/USDT'?"),
        ("--from 2024-02-02 --to 2024-02-01", 2, "is not after from"),
        ("--from 2024-02-01 --to 2024-02-01", 2, "is not after from"),
        ("--from 2030-01-01", 2, "is in the future: it is 2024-03-01 00:20 UTC"),
        ("--from yesterday", 2, "--from 'yesterday' was not understood"),
        ("--timerange 2024", 2, "--timerange '2024' was not understood"),
        ("--timerange 20240101- --from 2024-01-01", 2, "leave one of them out"),
        ("--days 3 --to 2024-01-01", 2, "--days counts back from now"),
        ("--days 0", 2, "Invalid value for '--days'"),
        ("--symbl BTC/USDT", 2, "No such option: --symbl"),
        ("--config none.yaml", 3, "none.yaml does not exist"),
        ("--db notes.txt", 4, "notes.txt is not a SQLite database"),
        ("--db empty.db", 4, "empty.db is empty (0 bytes)"),
        ("--db other.db", 4, "other.db is a database of another program"),
        ("--db real.db", 4, "real.db holds candles of a real exchange"),
        ("--db notes.txt/x.db", 3, "cannot create notes.txt/x.db"),
        ("--config broken.yaml", 3, "broken.yaml:2: no valid YAML"),
        ("--config unknown.yaml", 3, "unknown.yaml:1: unknown key 'symbl'; did you mean 'symbol'?"),
    ],
)
def test_invalid_input_prints_one_line_and_changes_nothing(
    backfill_simulator: Run, folder: Path, arguments: str, code: int, words: str
) -> None:
    (folder / "notes.txt").write_text("no database " * 200)
    (folder / "empty.db").touch()
    (folder / "broken.yaml").write_text("symbol: [A/B\nfrom: 2024-01-01\n")
    (folder / "unknown.yaml").write_text("symbl: [A/B]\n")
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with open_store(folder / "real.db", create=True) as store:
        row = Candle(0, 1.0, 1.0, 1.0, 1.0, 1.0)
        insert_closed_rows(
            store, SeriesKey("binance", "BTC/USDT", "1h"), [row], source="rest", seen_ms=1
        )
    before = read_files(folder)
    check(backfill_simulator(*arguments.split(" ")), code, words)
    assert read_files(folder) == before


def test_a_simulator_that_does_not_run_is_reported_with_its_address(
    backfiller: Run, folder: Path, refusing_port: int
) -> None:
    url = f"http://127.0.0.1:{refusing_port}"
    ended = backfiller("--exchange", "simulator", "--simulator-url", url)
    check(ended, 5, f"no simulator listens at {url}; start one")
    assert read_files(folder) == {}


def test_an_address_of_the_simulator_that_is_not_http_is_refused(backfiller: Run) -> None:
    ended = backfiller("--exchange", "simulator", "--simulator-url", "ftp://example.org")
    check(ended, 2, "'ftp://example.org' is not an address; it looks like http://127.0.0.1:8790")


def test_simulated_candles_never_come_from_a_real_exchange(backfiller: Run, folder: Path) -> None:
    with open_store(folder / "data/simulator.db", create=True) as store:
        row = Candle(0, 1.0, 1.0, 1.0, 1.0, 1.0)
        insert_closed_rows(
            store, SeriesKey("simulator", "BTC/USDT", "1h"), [row], source="rest", seen_ms=1
        )
    before = read_files(folder)
    ended = backfiller("--exchange", "binance", "--db", "data/simulator.db")
    check(ended, 4, "candles of the simulator")
    assert read_files(folder) == before


def test_a_folder_that_is_not_writable_is_named(simulator_url: str, folder: Path) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    command = [
        *get_unprivileged_prefix(),
        *(sys.executable, "-m", "backfiller.main", "--exchange", "simulator"),
        *("--simulator-url", simulator_url, "--db", "locked/data/x.db"),
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("backfiller: cannot create locked/data/x.db: Permission denied")
    assert done.stderr.count("\n") == 1
    assert list(locked.iterdir()) == []


def get_unprivileged_prefix() -> list[str]:
    """Return the command prefix that makes root obey file permissions; empty for other users."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write anywhere, and setpriv is not there to give that up")
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
