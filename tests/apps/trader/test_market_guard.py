"""A database or simulator that is replaced under a running trader ends it with one line."""

import re
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from busy_loop import BusyLoop
from held_port import hold_port
from onetape.core.clock import format_utc
from onetape.core.errors import StoreError
from onetape.core.simulated import SimulatedSource
from onetape.store.database import open_store
from onetape.store.simulated_source import ensure_simulated_source
from programs import Program
from session_harness import OFTEN

#: One minute of market takes a quarter of a second.
SPEED = "240"
NOON = "2024-03-01T12:00:20"

StartSimulator = Callable[..., tuple[Program, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder like a user's, with a strategy of their own."""
    own = tmp_path / "user" / "strategies"
    own.mkdir(parents=True)
    (own / "often.py").write_text(OFTEN, encoding="utf-8")
    return tmp_path


@pytest.fixture
def simulator(folder: Path) -> Generator[StartSimulator]:
    """Return a function that starts a simulator and returns it with its address."""
    with ExitStack() as stack:

        def start(*arguments: str, port: str = "0") -> tuple[Program, str]:
            every = ("--port", port, "--speed", SPEED, *arguments)
            program = stack.enter_context(Program("simulator", *every, folder=folder))
            greeting = program.until("simulator:")
            return program, re.findall(r"http://[\d.:]+\d", greeting)[0]

        yield start


def start_trader(folder: Path, url: str) -> Program:
    common = ("--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m")
    return Program("trader", *common, "--strategy", "often", folder=folder)


def read_refusal(program: Program) -> str:
    """Return the one line of a program that refuses the data."""
    assert program.ends() == 4
    assert len(program.errors) == 1, "\n".join(program.errors)
    return program.errors[0]


def delete(db: Path) -> None:
    db.unlink()


def replace(db: Path) -> None:
    other = db.with_name("other.db")
    open_store(other, create=True).close()
    other.replace(db)


@pytest.mark.parametrize("harm", [delete, replace])
def test_a_deleted_database_ends_the_trader(
    folder: Path, simulator: StartSimulator, harm: Callable[[Path], None]
) -> None:
    _, url = simulator("--start", NOON)
    with start_trader(folder, url) as program:
        program.until("", inside=", next ")
        harm(folder / "data" / "simulator.db")
        assert "was deleted or replaced while it was open" in read_refusal(program)


def test_a_restart_after_its_database_was_replaced_changes_no_file(
    folder: Path, simulator: StartSimulator
) -> None:
    """Failure mode 149."""
    _, url = simulator("--start", NOON)
    db = folder / "data" / "simulator.db"
    log = Path(f"{db}-wal")
    with start_trader(folder, url) as program:
        program.until("", inside=", next ")
        replace(db)
        line = read_refusal(program)
        assert "its log simulator.db-wal is of the file that was there before" in line
    before = db.read_bytes(), log.read_bytes()
    with start_trader(folder, url) as program:
        assert "simulator.db was replaced, and its log" in read_refusal(program)
    for command in (("trader", "status"), ("backfiller", "verify")):
        with Program(*command, "--db", str(db), folder=folder) as program:
            assert "simulator.db was replaced, and its log" in read_refusal(program)
    assert (db.read_bytes(), log.read_bytes()) == before


def test_a_simulator_that_starts_again_at_an_earlier_time_ends_the_trader(
    folder: Path, simulator: StartSimulator
) -> None:
    first, url = simulator("--start", NOON)
    with start_trader(folder, url) as program:
        program.until("", inside=", next ")
        first.send(signal.SIGKILL)
        first.ends()
        port = url.rpartition(":")[2]
        with hold_port(int(port)):
            simulator("--start", "2024-03-01T06:00", port=port)
        assert "but the market's time is 2024-03-01 06:" in read_refusal(program)
    with open_store(folder / "data" / "simulator.db", create=False) as store, store.read() as one:
        first_stored = one.execute("SELECT min(timestamp) FROM ohlcv_data").get
        assert format_utc(first_stored) > "2024-03-01 10:"
        # On a busy machine a frame of the first simulator is read after REST has closed its candle.
        later = "SELECT count(*) FROM revisions WHERE new_volume > old_volume"
        assert one.execute(later).get == 0
        assert one.execute("SELECT expires_ms FROM leases").get == 0


def test_a_frozen_simulator_does_not_delay_the_end_of_the_trader(
    folder: Path, simulator: StartSimulator
) -> None:
    market, url = simulator("--start", NOON)
    with start_trader(folder, url) as program:
        program.until("", inside=", next ")
        market.send(signal.SIGSTOP)
        time.sleep(2)
        with BusyLoop() as busy_loop:
            program.send(signal.SIGTERM)
            assert program.ends() == 0
            # A request that waits for its response takes ten seconds.
            assert busy_loop.seconds < 8


def test_a_simulator_that_starts_again_with_another_seed_ends_the_trader(
    folder: Path, simulator: StartSimulator
) -> None:
    first, url = simulator("--start", NOON, "--seed", "1")
    with start_trader(folder, url) as program:
        program.until("", inside=", next ")
        first.send(signal.SIGKILL)
        first.ends()
        port = url.rpartition(":")[2]
        with hold_port(int(port)):
            simulator("--start", "2024-03-01T13:00", "--seed", "2", port=port)
        assert "start it with --seed 1, or choose another file with --db" in read_refusal(program)


def test_all_programs_refuse_a_database_of_another_seed(
    folder: Path, simulator: StartSimulator
) -> None:
    with open_store(folder / "data" / "simulator.db", create=True) as store:
        ensure_simulated_source(store, SimulatedSource(2**70, {}))
    _, url = simulator("--start", NOON, "--seed", "2")
    common = ("--exchange", "simulator", "--simulator-url", url)
    for name in ("trader", "backfiller"):
        with Program(name, *common, folder=folder) as program:
            assert f"start it with --seed {2**70}" in read_refusal(program)


def test_a_file_without_a_seed_takes_the_first_one(tmp_path: Path) -> None:
    with open_store(tmp_path / "one.db", create=True) as store:
        with store.write() as connection:
            connection.execute("INSERT INTO store_kind (only_row, simulated) VALUES (1, 1)")
        ensure_simulated_source(store, SimulatedSource(7, {}))
        ensure_simulated_source(store, SimulatedSource(7, {}))
        with pytest.raises(StoreError, match="--seed 7"):
            ensure_simulated_source(store, SimulatedSource(8, {}))
