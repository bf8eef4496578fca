"""Decisions of ten traders of two symbols next to a backfiller, compared with one trader alone.

    uv run python benchmarks/many_traders.py --minutes 30 > benchmarks/results/many_traders.json

The simulator, the traders and the backfiller are separate processes. `--minutes` is the wall time
for which the ten traders run; the one trader that they are compared with runs a third of
it, before and alone.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from market_programs import fetch_symbols, read_processor_seconds, run_simulator, start_trader
from msgspec import Struct
from recording import describe_machine, measure, print_document, refuse_slow_imports

from programs import Program

TRADERS: Final = 10
#: Market time in the first measurement: a candle of a minute closes every six seconds.
SPEED: Final = 10
#: Years that the backfiller fetches of a symbol, from 2021 on, before it takes the next one.
YEARS: Final = 3
#: Stores the time of each candle's close mark, which the product drops after its comparison.
_KEEP_MARKS: Final = """
    CREATE TABLE marks (symbol TEXT, timestamp INTEGER, closed_ms INTEGER,
        PRIMARY KEY (symbol, timestamp)) WITHOUT ROWID;
    CREATE TRIGGER keep_marks AFTER INSERT ON stream_closes BEGIN
        INSERT OR IGNORE INTO marks VALUES (new.symbol, new.timestamp, new.closed_ms);
    END;
"""
#: Market time from the proof of a close to the decision, and from the close itself.
_DECISIONS: Final = """
    SELECT d.decided_ms - m.closed_ms, d.decided_ms - (d.timestamp + 60) * 1000
    FROM decisions d JOIN sessions s USING (session)
    JOIN marks m ON m.symbol = s.symbol AND m.timestamp = d.timestamp
    WHERE d.decided_ms >= m.closed_ms
"""


def main() -> None:
    """Measure, and print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    refuse_slow_imports()
    before = describe_machine()
    with tempfile.TemporaryDirectory() as name:
        found = measure_traders(Path(name), options.minutes * 60)
    command = f"uv run python benchmarks/many_traders.py --minutes {options.minutes:g}"
    print_document("many_traders", command, ["apps/trader", "packages"], before, found)


def measure_traders(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Compare ten traders of two symbols and a backfiller on one file with one trader alone."""
    alone = run_traders(folder, 1, seconds / 3)
    crowd = run_traders(folder, TRADERS, seconds)
    runs, problems = (crowd, alone), crowd.problems
    share = compute_percentile(crowd.from_proof, 0.99) / compute_percentile(alone.from_proof, 0.99)
    name = f"{TRADERS} traders of 2 symbols and a backfiller on one file"
    return [
        measure(f"{name}: lock errors", "lines", [problems["locks"]], goal=1, wanted="below"),
        measure(
            f"{name}: traders that are not fresh at the end", "of 10", [problems["stale"]],
            goal=1, wanted="below",
        ),
        measure(
            f"{name}: proof of close to decision, p99", "ratio", [share], goal=3, wanted="below",
            of="that of one trader alone", decisions=[len(run.from_proof) for run in runs],
            backfiller_runs=problems["backfills"],
            p50_milliseconds=[compute_percentile(run.from_proof, 0.5) for run in runs],
            p99_milliseconds=[compute_percentile(run.from_proof, 0.99) for run in runs],
            largest_milliseconds=[max(run.from_proof) for run in runs],
            p50_milliseconds_from_close=[compute_percentile(run.from_close, 0.5) for run in runs],
            p99_milliseconds_from_close=[compute_percentile(run.from_close, 0.99) for run in runs],
            processor_milliseconds_of_a_trader_per_close=[
                run.processor_milliseconds for run in runs
            ],
        ),
    ]  # fmt: skip


class TradersRun(Struct, frozen=True):
    """Durations of the decisions of some traders."""

    from_proof: list[float]
    """From the proof of a close to the decision, wall milliseconds."""
    from_close: list[float]
    """From the close to the decision, wall milliseconds."""
    processor_milliseconds: float
    """Processor time of a trader and its strategy's processes from one close to the next."""
    problems: dict[str, int]


def run_traders(parent: Path, count: int, seconds: float) -> TradersRun:
    """Run traders for some seconds; return the durations of their decisions."""
    folder = parent / f"{count} traders"
    folder.mkdir()
    db = folder / "data.db"
    with ExitStack() as stack:
        url = stack.enter_context(run_simulator(folder, symbols=250, speed=SPEED))
        names = fetch_symbols(url, 2 * count)
        make_file(folder, url, db)
        running = [
            stack.enter_context(start_trader(folder, url, db, names[place : place + 2]))
            for place in range(0, len(names), 2)
        ]
        for program in running:
            program.until("", inside="candles:")
        # The first candles are warm-up: processes are started and caches filled.
        warm_ms = read_newest_decision_ms(db) + 120_000
        began, used = time.monotonic(), sum(read_processor_seconds(one.pid) for one in running)
        ends = began + seconds
        backfills = backfill_until(ends, folder, url, db) if count > 1 else wait_until(ends)
        closes = (time.monotonic() - began) * SPEED / 60
        used = sum(read_processor_seconds(one.pid) for one in running) - used
        stale = count_stale_symbols(folder, db)
        lines = [line for one in running for line in (*one.lines, *one.errors)]
    with closing(sqlite3.connect(db)) as connection:
        taken = connection.execute(f"{_DECISIONS} AND d.decided_ms > ?", (warm_ms,)).fetchall()
        states = connection.execute(
            "SELECT count(*) FROM trader_states WHERE reason LIKE '%locked%'"
        ).fetchone()[0]
    locks = states + sum("locked" in line for line in lines)
    problems = {"locks": locks, "stale": stale, "backfills": backfills}
    return TradersRun(
        [proof / SPEED for proof, _ in taken],
        [close / SPEED for _, close in taken],
        used * 1_000 / closes / count,
        problems,
    )


def make_file(folder: Path, url: str, db: Path) -> None:
    """Make the database, with a table for the times of close marks."""
    backfill(folder, url, db, "BTC/USDT", "5m", "2024-02-28", "2024-02-29")
    with closing(sqlite3.connect(db)) as connection:
        connection.executescript(_KEEP_MARKS)


def backfill(
    folder: Path, url: str, db: Path, symbol: str, timeframe: str, start: str, end: str
) -> None:
    """Fetch candles of a range, in a separate process; end where it fails.

    The exchange of the simulator lacks some candles, which means exit code 4.
    """
    words = (
        "--exchange", "simulator", "--simulator-url", url, "--db", str(db), "-p", symbol,
        "-t", timeframe, "--from", start, "--to", end,
    )  # fmt: skip
    with Program("backfiller", *words, folder=folder) as program:
        code = program.ends()
        is_locked = any("locked" in line for line in (*program.lines, *program.errors))
        if code not in (0, 4) or is_locked:
            raise SystemExit(f"the backfiller ended with {code}: {program.lines, program.errors}")


def backfill_until(ends: float, folder: Path, url: str, db: Path) -> int:
    """Fetch one year of minutes after the other until a time; return the number of years."""
    runs = 0
    while time.monotonic() < ends:
        symbol = ("ETH/USDT", "SOL/USDT", "BTC/USDT", "XRP/USDT")[runs // YEARS % 4]
        year = 2021 + runs % YEARS
        backfill(folder, url, db, symbol, "1m", f"{year}-01-01", f"{year + 1}-01-01")
        runs += 1
    return runs


def wait_until(ends: float) -> int:
    """Wait until a time; nothing is fetched."""
    time.sleep(max(0.0, ends - time.monotonic()))
    return 0


def read_newest_decision_ms(db: Path) -> int:
    """Return the market time of the newest decision, epoch milliseconds."""
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute("SELECT ifnull(max(decided_ms), 0) FROM decisions").fetchone()[0]


def count_stale_symbols(folder: Path, db: Path) -> int:
    """Return the number of symbols that do not trade, or lack candles of the last three minutes."""
    with Program("trader", "status", "--db", str(db), "--json", folder=folder) as program:
        program.ends()
        document = json.loads("\n".join(program.lines))
    return sum(
        one["state"] != "trading"
        or one["candle_age_seconds"] is None
        or one["candle_age_seconds"] > 120
        for one in document["traders"]
    )


def compute_percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[int(len(values) * share)]


if __name__ == "__main__":
    main()
