"""The backfiller end to end: the stored candles equal those of the exchange after any runs."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onetape.core.candles import Candles, SeriesKey
from onetape.history.fetch import REREAD_CANDLES
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import read_candle_at, read_series_summaries, replace_forming
from onetape.store.database import Store, open_store
from onetape.store.market_data import read_trading_rules
from onetape.store.reading import read_closed_between

Run = Callable[..., Any]
DATABASE = Path("data/simulator.db")
HOUR, DAY = 3_600, 86_400
#: 2024-03-01 00:00 UTC: the running hour of the simulator opened here.
FORMING = 1_709_251_200
#: Its time, 00:20.
NOW_MS = (FORMING + 20 * 60) * 1_000
KEY = SeriesKey("simulator", "BTC/USDT", "1h")


def read_stored_candles(key: SeriesKey = KEY) -> Candles:
    with open_store(DATABASE, create=False) as store:
        return read_closed_between(store, key, 0, 2**40)


def are_equal(left: Candles, right: Candles) -> bool:
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return all(getattr(left, name).tolist() == getattr(right, name).tolist() for name in names)


def make_simulated_candles(start: int, end: int = FORMING, timeframe: str = "1h") -> Candles:
    return SimulatedMarket(DEFAULT_SEED).get_candles("BTC/USDT", timeframe, start, end)


def test_a_first_run_stores_all_closed_candles_and_a_second_run_only_the_newest(
    backfill_simulator: Run,
) -> None:
    first = backfill_simulator("--from", "2024-01-15")
    assert (first.code, first.err) == (0, "")
    start = FORMING - 46 * DAY
    assert are_equal(read_stored_candles(), make_simulated_candles(start))
    (summary,) = first.series
    assert (summary["start"], summary["end"]) == (start, FORMING)
    assert (summary["inserted"], summary["stored"], summary["pages"]) == (46 * 24, 46 * 24, 2)
    assert (summary["gaps"], summary["missing"], summary["quarantined"]) == (0, 0, 0)

    (second,) = backfill_simulator("--from", "2024-01-15").series
    assert (second["inserted"], second["pages"], second["stored"]) == (0, 1, 46 * 24)
    assert second["present"] == REREAD_CANDLES
    with open_store(DATABASE, create=False) as store:
        assert read_trading_rules(store, "simulator", "BTC/USDT") is not None


def test_an_earlier_start_or_a_later_end_extends_the_stored_range(backfill_simulator: Run) -> None:
    backfill_simulator("--from", "2024-02-10", "--to", "2024-02-12")
    (earlier,) = backfill_simulator("--from", "2024-02-08", "--to", "2024-02-12").series
    assert earlier["inserted"] == 48
    (later,) = backfill_simulator("--from", "2024-02-08").series
    assert later["inserted"] == 18 * 24
    assert are_equal(read_stored_candles(), make_simulated_candles(FORMING - 22 * DAY))


def delete(store: Store, start: int, end: int) -> None:
    with store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE timestamp >= ? AND timestamp < ?", (start, end)
        )


def test_gaps_in_the_middle_are_filled_and_a_forming_row_left_behind_is_replaced(
    backfill_simulator: Run,
) -> None:
    backfill_simulator("--days", "20")
    whole = read_stored_candles()
    with open_store(DATABASE, create=False) as store:
        delete(store, FORMING - 200 * HOUR, FORMING - 190 * HOUR)
        delete(store, FORMING - 100 * HOUR, FORMING - 97 * HOUR)
        left = read_candle_at(store, KEY, FORMING - 50 * HOUR)
        assert left is not None
        delete(store, left.timestamp, left.timestamp + 1)
        replace_forming(store, KEY, left._replace(close=left.low), seen_ms=1)
    (summary,) = backfill_simulator("--days", "20").series
    assert (summary["inserted"], summary["gaps"]) == (14, 0)
    assert are_equal(read_stored_candles(), whole)


def test_a_range_in_which_no_candle_opens_is_empty(backfill_simulator: Run) -> None:
    ended = backfill_simulator("--timerange", "20240115-20240120", "-t", "1M")
    (summary,) = ended.series
    assert ended.code == 0
    assert (summary["stored"], summary["pages"]) == (0, 0)
    assert summary["start"] == summary["end"]


def test_several_series_go_into_one_file(backfill_simulator: Run) -> None:
    arguments = ("-p", "BTC/USDT", "-p", "eth-usdt", "-t", "1h", "-t", "1d", "--days", "3")
    ended = backfill_simulator(*arguments)
    names = [f"{one['symbol']} {one['timeframe']}" for one in ended.series]
    assert names == ["BTC/USDT 1h", "BTC/USDT 1d", "ETH/USDT 1h", "ETH/USDT 1d"]
    with open_store(DATABASE, create=False) as store:
        assert [one.rows for one in read_series_summaries(store)] == [3, 72, 3, 72]


def test_the_settings_file_and_the_environment_are_read(
    backfill_simulator: Run, folder: Path, monkeypatch: Any
) -> None:
    (folder / "config").mkdir()
    (folder / "config/backfiller.yaml").write_text("timeframe: 1d\nfrom: 2024-02-20\ndb: my.db\n")
    monkeypatch.setenv("BACKFILLER__SYMBOL", "BTC/USDT,ETH/USDT")
    ended = backfill_simulator("--from", "2024-02-25")
    assert json.loads(ended.out)["database"] == "my.db"
    assert [(one["symbol"], one["stored"]) for one in ended.series] == [
        ("BTC/USDT", 5),
        ("ETH/USDT", 5),
    ]


def test_a_run_without_json_ends_with_a_summary_and_the_path_of_the_file(
    backfiller: Run, simulator_url: str
) -> None:
    ended = backfiller(
        "--exchange", "simulator", "--simulator-url", simulator_url, "--from", "2024-02-28"
    )
    first, second = ended.out.splitlines()
    assert first.startswith(
        "simulator BTC/USDT 1h: 48 candles from 2024-02-28 00:00 to 2024-03-01 00:00 UTC, "
        "48 new in 1 page, no gaps, "
    )
    assert second == "database: data/simulator.db"


def test_a_range_without_candles_at_the_exchange_is_reported(
    backfiller: Run, simulator_url: str
) -> None:
    address = ("--exchange", "simulator", "--simulator-url", simulator_url)
    ended = backfiller(*address, "--from", "2009-06-01", "--to", "2009-06-03")
    assert ", no gaps, nothing for 48 candles there, " in ended.out


def start_backfiller(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "backfiller.main", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_separate_process_needs_nothing_but_a_folder(folder: Path) -> None:
    process = start_backfiller("--exchange", "simulator", "--days", "2", "--json", folder=folder)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    (summary,) = json.loads(out)["series"]
    assert 48 <= summary["stored"] <= 72
    assert are_equal(
        read_stored_candles(), make_simulated_candles(summary["start"], summary["end"])
    )
    assert [entry.name for entry in (folder / "data").iterdir()] == ["simulator.db"]
    assert stat.S_IMODE((folder / DATABASE).stat().st_mode) == 0o600


def test_the_run_after_a_killed_one_resumes_and_ends_in_the_same_table(
    backfiller: Run, folder: Path
) -> None:
    minutes = SeriesKey("simulator", "BTC/USDT", "1m")
    arguments = ("--timeframe", "1m", "--days", "20")
    with embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as simulator:
        # A request never gets a response: on a busy machine too, the run has not ended.
        number = simulator.faults.add(kind="timeout", path="/api/v3/klines", nth=9)
        address = ("--exchange", "simulator", "--simulator-url", simulator.url)
        process = start_backfiller(*address, *arguments, folder=folder)
        deadline = time.monotonic() + 180
        while not DATABASE.exists() or len(read_stored_candles(minutes)) < 3_000:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        simulator.faults.remove(number)
        killed_at = len(read_stored_candles(minutes))
        wanted = 20 * 1_440 + 20
        assert 3_000 <= killed_at < wanted

        (summary,) = backfiller(*address, "--json", *arguments).series
    assert summary["inserted"] == wanted - killed_at
    assert are_equal(
        read_stored_candles(minutes),
        make_simulated_candles(FORMING - 20 * DAY, FORMING + 20 * 60, "1m"),
    )
