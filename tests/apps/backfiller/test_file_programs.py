"""Import, resample and export as real processes, and an import that is killed."""

import gzip
import signal
import subprocess
import sys
import time
from pathlib import Path

from onetape.core.candles import SeriesKey
from onetape.store.candles import read_closed_range, read_series_summaries
from onetape.store.database import open_if_exists, open_store
from onetape.store.gaps import read_gaps
from onetape.store.verify import verify
from programs import Program

#: 2024-03-01 00:00 UTC.
MARCH = 1_709_251_200
MINUTES = SeriesKey("binance", "BTC/USDT", "1m")
NAME = "binance_BTC-USDT_1m_x.csv"


def write_minutes(folder: Path, count: int) -> None:
    """Write a number of minutes, with a gap after each 10,000."""
    opens = [MARCH + 60 * (at + at // 10_000) for at in range(-count, 0)]
    lines = (f"{opened},{1 + at % 7},8.5,0.5,{1 + (at + 1) % 7},0.25\n" for at, opened in
             enumerate(opens))  # fmt: skip
    (folder / NAME).write_text("timestamp,open,high,low,close,volume\n" + "".join(lines))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).parent / "backfiller"
    return subprocess.run(
        [str(script), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_file_passes_through_import_resample_and_export(tmp_path: Path) -> None:
    write_minutes(tmp_path, 20_000)
    imported = run(tmp_path, "import", NAME, "--db", "x.db")
    assert imported.returncode == 0, imported.stderr
    resampled = run(tmp_path, "resample", "--into", "5m", "--db", "x.db")
    assert resampled.returncode == 0, resampled.stderr
    exported = run(tmp_path, "export", "-t", "1m", "--db", "x.db", "--out", "out.csv.gz")
    assert exported.returncode == 0, exported.stderr
    source = (tmp_path / NAME).read_text()
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode() == source


def kill_an_import(folder: Path, path: Path) -> int:
    """Kill an import once it has stored something; return the newest candle by then."""
    newest = None
    with Program("backfiller", "import", NAME, "--db", path.name, folder=folder) as program:
        deadline = time.monotonic() + 180
        while newest is None:
            assert time.monotonic() < deadline
            store = open_if_exists(path)
            time.sleep(0.005)  # leaves the machine to the import
            if store is not None:
                with store:
                    newest = read_closed_range(store, MINUTES)
        program.send(signal.SIGKILL)
    return newest[1]


def test_a_killed_import_is_completed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for count in (120_000, 480_000, 1_920_000):
        write_minutes(tmp_path, count)
        newest = kill_an_import(tmp_path, path)
        # The last candle had not arrived; a busy machine may need a longer import for that.
        if newest < MARCH - 60:
            break
        path.unlink()
    assert newest < MARCH - 60
    again = run(tmp_path, "import", NAME, "--db", "x.db")
    assert again.returncode == 0, again.stderr
    with open_store(path, create=False) as store:
        assert {finding.kind for finding in verify(store)} == {"gap"}
        assert [one.rows for one in read_series_summaries(store)] == [count]
        assert {gap.state for gap in read_gaps(store, MINUTES)} == {"unknown: import"}
        assert len(read_gaps(store, MINUTES)) == count // 10_000 - 1
