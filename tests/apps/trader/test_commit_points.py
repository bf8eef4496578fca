"""A trader that is killed at each commit of an order loses no exit and books nothing twice."""

import os
import re
import signal
import sys
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import commit_points
from busy_loop import BusyLoop
from commit_points import POINTS
from onetape.store.database import open_store
from programs import Program

#: Number of kills at each point and moment; make exit-crash-test does it 20 times.
STRIKES = int(os.environ.get("ONETAPE_POINT_STRIKES", "0"))
SPEED = "120"
#: An exit that was decided is filled so soon after the opening lines of the restart; processor
#: seconds of a loop next to it.
EXIT_SECONDS = 10.0
MINUTE = 60
#: BUY in every sixth minute; SELL three candles later, where it sells by itself at all.
SIXTHS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Sixths(Strategy):
    name: ClassVar[str] = "sixths"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        place = candles.timestamp // 60 % 6
        sell = np.where((place == 3) & SELLS, -1, 0)
        return Signals(np.where(place == 0, 1, sell).astype(np.int8), {})
"""

#: Where the kill leaves an exit that is decided and not filled.
PENDING = {
    ("exit decided", "after"),
    ("stop decided", "after"),
    ("exit acknowledged", "before"),
    ("exit acknowledged", "after"),
    ("exit filled", "before"),
}
#: In CI each point is used once, at one of its two moments; a long run uses both often.
SHORT = list(zip(POINTS, ("after", "before") * len(POINTS), strict=False))
LONG = [(point, moment) for point in POINTS for moment in ("before", "after")]
CASES = [(*case, number) for case in LONG for number in range(STRIKES)] or [
    (*case, 0) for case in SHORT
]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Return the address of a simulator's process."""
    arguments = ("--port", "0", "--speed", SPEED, "--start", "2024-03-01T00:00:20")
    with Program("simulator", *arguments, folder=tmp_path_factory.mktemp("simulator")) as program:
        yield re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]


def prepare(folder: Path, point: str) -> None:
    """Write the strategy, whose position ends by a SELL or by a time stop."""
    own = folder / "user" / "strategies"
    own.mkdir(parents=True)
    source = SIXTHS.replace("SELLS", str(point != "stop decided"))
    (own / "sixths.py").write_text(source, encoding="utf-8")


def start_trader(folder: Path, url: str, point: str, *, program: str = "trader") -> Program:
    rules = ("--time-stop", "2") if point == "stop decided" else ()
    return Program(
        program, "--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m",
        "--strategy", "sixths", *rules, folder=folder,
    )  # fmt: skip


def write_killed_program(folder: Path, point: str, moment: str) -> str:
    """Write a program that is the trader, and is killed at a commit; return its path."""
    support = str(Path(commit_points.__file__).parent)
    path = folder / "killed-trader"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {support!r})\n"
        "from commit_points import kill_at\nfrom trader.start import run\n"
        f"kill_at({point!r}, {moment!r}, run)\n",
        encoding="utf-8",
    )
    path.chmod(0o700)
    return str(path)


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_store(folder / "data" / "simulator.db", create=False) as store, store.read() as one:
        return one.execute(sql).fetchall()


def find_faults(folder: Path) -> list[str]:
    """Return which exits are lost or late, and which fills are doubled."""
    rows = query(
        folder,
        "SELECT t.side, o.client_order_id, o.entry_order_id, o.type, o.signal_timestamp, "
        "o.filled_timestamp FROM trades t JOIN orders o USING (client_order_id) ORDER BY t.id",
    )
    faults = [f"{one[0]} twice" for one, next_ in pairwise(rows) if one[0] == next_[0]]
    if len({row[1] for row in rows}) != len(rows):
        faults.append("an order was filled twice")
    for entry, exit_ in zip(rows[::2], rows[1::2], strict=False):
        due = entry[4] + 3 * MINUTE if exit_[3] == "market" else entry[5] + 2 * MINUTE
        if exit_[4] != due:
            faults.append(f"the exit of {due} was lost: sold for {exit_[4]}")
        if exit_[2] != entry[1]:
            faults.append("an exit of another position")
    open_ = query(folder, "SELECT entry_order_id FROM exit_obligations WHERE ended_ms IS NULL")
    held = [rows[-1][1]] if len(rows) % 2 else []
    faults += [f"pending for {entry}, which is closed" for (entry,) in open_ if entry not in held]
    return faults


@pytest.mark.parametrize(("point", "moment", "number"), CASES)
def test_a_kill_at_a_commit_loses_no_exit_and_repeats_no_fill_row_82(
    tmp_path: Path, simulator: str, point: str, moment: str, number: int
) -> None:
    del number
    folder = tmp_path
    prepare(folder, point)
    with start_trader(
        folder, simulator, point, program=write_killed_program(folder, point, moment)
    ) as killed:
        assert killed.ends() == -signal.SIGKILL
    (held,) = query(folder, "SELECT count(*) % 2 FROM trades")[0]
    (pending,) = query(folder, "SELECT count(*) FROM exit_obligations WHERE ended_ms IS NULL")[0]
    assert pending == ((point, moment) in PENDING)
    with start_trader(folder, simulator, point) as program, BusyLoop() as busy_loop:
        # A busy machine may take long to load the program.
        program.until("account ")
        busy_loop.begin()
        if held:
            program.until("", inside="sold ")
            if pending:
                assert busy_loop.seconds < EXIT_SECONDS
        program.until("bought ")
        program.until("", inside="sold ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert find_faults(folder) == []
