"""A start on paper with a position open: it waits for the exchange and for the file."""

import asyncio
import json
import resource
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from busy_loop import BusyLoop
from held_lock import hold_write_lock
from held_port import hold_port
from onetape.cli.stop import StopRequest
from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.store.account_reading import read_lease, read_traded_series
from onetape.store.controls import NewControl, insert_controls
from onetape.store.database import open_store
from onetape.store.leases import make_lease_name
from onetape.store.read_only import open_read_only
from programs import Program
from traded_accounts import TradedAccount, compute_hour_ms
from trader.commands.status_record import EXIT_DEGRADED, TraderStatus, choose_exit_code, read_status
from trader.live.start_plan import StartPlan
from trader.locked_start import trade_once_unlocked
from trader.settings import TraderSettings
from trader.traded_symbols import parse_traded_symbols
from trader.waiting_start import WaitingStart

NAME, SYMBOL = "own", "BTC/USDT"
#: From SIGTERM to the end of a start that waits, processor seconds of a loop next to it.
STOP_SECONDS = 8
WAITS = "; a position or order is open: no entries and no exits until "


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Return the database of an account on paper whose stop is passed soon after the entry."""
    path = tmp_path / "data" / "simulator.db"
    path.parent.mkdir(parents=True)
    with TradedAccount(path, NAME, exchange="simulator", cash="100000") as account:
        account.fill("buy", "0.01", "30000", 1)
        account.decide(1, 0, {})
        account.end(hours=2)
    return path


def flatten(db: Path) -> None:
    """Replace the file by one of an account without a position."""
    other = db.with_name("flat.db")
    with TradedAccount(other, NAME, exchange="simulator") as account:
        account.end()
    other.replace(db)


def start_trader(db: Path, url: str) -> Program:
    folder = db.parent.parent
    (folder / "trader.yaml").write_text(
        "monitoring: {heartbeat_file: beat.json, heartbeat_seconds: 1}\n", encoding="utf-8"
    )
    return Program(
        "trader", "--config", "trader.yaml", "--exchange", "simulator", "--simulator-url", url,
        "--symbol", SYMBOL, "--account", NAME, "--timeframe", "1h", "--strategy", "rsi",
        "--stop-loss", "0.0001", folder=folder,
    )  # fmt: skip


def read_trader_status(db: Path) -> TraderStatus:
    with open_read_only(db) as store:
        (account,) = read_traded_series(store)
        return read_status(store, account)


def read_heartbeat(db: Path) -> dict[str, str]:
    """Return the states of the next heartbeat."""
    file = db.parent.parent / "beat.json"
    file.unlink(missing_ok=True)
    deadline = time.monotonic() + 180
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return json.loads(file.read_text(encoding="utf-8"))["states"]


def stop(program: Program) -> None:
    """End a start that waits."""
    with BusyLoop() as busy_loop:
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert busy_loop.seconds < STOP_SECONDS
    assert program.lines[-1] == "SIGTERM: stopped before trading began"
    assert program.errors == []


def run_simulator(
    *, port: int = 0, faults: Sequence[Fault] = ()
) -> AbstractContextManager[EmbeddedSimulator]:
    """Return a simulator that runs while a block lasts, two hours after the entry."""
    clock = make_clock(start_ms=compute_hour_ms(3))
    return embedded_simulator(clock=clock, port=port, faults=faults)


@contextmanager
def start_simulator_at(port: int) -> Generator[Callable[[], None]]:
    """Yield a function that starts a simulator at a port; it runs until the block ends."""
    wanted, ended = threading.Event(), threading.Event()

    def simulate() -> None:
        wanted.wait(180)
        with run_simulator(port=port):
            ended.wait(180)

    thread = threading.Thread(target=simulate)
    thread.start()
    try:
        yield wanted.set
    finally:
        wanted.set()
        ended.set()
        thread.join()


def test_row_103_a_start_on_paper_with_a_position_waits_for_the_exchange_and_then_sells(
    db: Path,
) -> None:
    with (
        hold_port() as port,
        start_simulator_at(port) as start_simulator,
        start_trader(db, f"http://127.0.0.1:{port}") as program,
    ):
        line = program.until("degraded: ")
        assert f"{WAITS}the exchange can be reached; no stop is watched meanwhile" in line
        status = read_trader_status(db)
        assert status.condition == "degraded"
        assert choose_exit_code([status]) == EXIT_DEGRADED
        assert status.reason.startswith("waiting for the exchange since 20")
        assert read_heartbeat(db) == {f"{NAME}, {SYMBOL}": "degraded"}
        start_simulator()
        program.until("the exchange can be reached again")
        program.until("exit (stop loss at ", inside="sold 0.01000 BTC")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert len([one for one in program.lines if WAITS in one]) == 1, "no line for each attempt"
    assert program.errors == []


def test_row_103_a_start_that_waits_prints_a_failure_once_and_again_after_an_hour(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TraderSettings(
        exchange="simulator", symbol=SYMBOL, timeframe="1h", account_name=NAME
    )
    held = frozenset({SYMBOL})
    plan = StartPlan(settings, tuple(parse_traded_symbols(settings)), open_on_paper=held)
    first, second = ExchangeUnreachable("no response"), ExchangeRefused("status 403")

    async def wait() -> None:
        waiting = WaitingStart(db, plan)
        for error in (first, first, second, first):
            waiting.report(error)
        assert lines() == ["degraded: no response"], "errors that take turns are no news each time"
        monkeypatch.setattr("trader.waiting_start.PRINT_SECONDS", 0.0)
        for error in (second, second, first):
            waiting.report(error)
        assert lines() == ["still degraded after 0 s: status 403"]
        monkeypatch.setattr("trader.waiting_start.REMIND_SECONDS", 0.0)
        waiting.report(first)
        assert lines() == ["still degraded after 0 s: no response"]
        await waiting.close()

    def lines() -> list[str]:
        return [line.partition(";")[0] for line in capsys.readouterr().out.splitlines()]

    asyncio.run(wait())


def test_row_103_a_start_that_waits_takes_commands(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = TraderSettings(exchange="simulator", account_name=NAME, symbol=SYMBOL)
    held = frozenset({SYMBOL})
    plan = StartPlan(settings, tuple(parse_traded_symbols(settings)), open_on_paper=held)

    def give(verb: str, giver: str) -> None:
        with open_store(db, create=False) as store:
            insert_controls(store, [NewControl(NAME, verb, compute_hour_ms(3), giver, SYMBOL)])

    def renewed_ms() -> int | None:
        with open_store(db, create=False) as store:
            lease = read_lease(store, make_lease_name(NAME, SYMBOL))
        return None if lease is None else lease.renewed_ms

    async def printed_by_next_renewal() -> str:
        """Return the output until the next renewal of the lease, after which commands are read."""
        before = renewed_ms()
        async with asyncio.timeout(180):
            while True:
                await asyncio.sleep(0.05)
                if renewed_ms() != before:
                    return capsys.readouterr().out

    def run(verb: str) -> str:
        """Return the line of a command that runs as a separate program."""
        flags = ("--db", str(db), "--account", NAME)
        with Program("trader", verb, *flags, folder=db.parent) as command:
            assert command.ends() == 0, command.errors
        (line,) = command.lines
        return line

    async def wait() -> None:
        give("pause", "anna")
        waiting = WaitingStart(db, plan)
        try:
            waiting.report(ExchangeUnreachable("no response"))
            assert "paused by anna since " in await printed_by_next_renewal()
            give("halt", "bert")
            assert "halted by bert since " in await printed_by_next_renewal()
            give("exit", "carl")
            sold = ": stored; the position is sold once the exchange can be reached"
            assert f"exit by carl{sold}" in await printed_by_next_renewal()
            line = await asyncio.to_thread(run, "flatten")
            assert "flatten BTC/USDT stored; its trader waits for the exchange, and m" in line
            assert sold in await printed_by_next_renewal()
            line = await asyncio.to_thread(run, "resume")
            assert "resume stored; its trader waits for the exchange, and acts within" in line
            assert "resumed by " in await printed_by_next_renewal()
        finally:
            await waiting.close()

    asyncio.run(wait())
    # The session closes the position: the row stays open for it.
    with open_store(db, create=False) as store, store.read() as connection:
        rows = connection.execute("SELECT verb FROM controls WHERE done_ms IS NULL").fetchall()
    assert ("exit",) in rows


@pytest.mark.parametrize("status", [403, 418, 503])
def test_row_103_a_start_on_paper_with_a_position_that_is_refused_ends_by_sigterm(
    db: Path, status: int
) -> None:
    refused = Fault("status", status=status, path="/api/v3/exchangeInfo")
    with (
        run_simulator(faults=[refused]) as simulator,
        start_trader(db, simulator.url) as program,
    ):
        program.until("degraded: ", inside=WAITS)
        stop(program)
    assert read_trader_status(db).condition == "stopped"


def test_a_start_on_paper_without_a_position_ends_on_a_refusal(db: Path) -> None:
    flatten(db)
    refused = Fault("status", status=403, path="/api/v3/exchangeInfo")
    with (
        run_simulator(faults=[refused]) as simulator,
        start_trader(db, simulator.url) as program,
    ):
        assert program.ends() == 5
    assert len(program.errors) == 1
    assert program.lines == []


def test_row_103_a_start_on_paper_with_a_position_waits_for_a_locked_file_and_then_sells(
    db: Path,
) -> None:
    with run_simulator() as simulator, ExitStack() as lock:
        lock.enter_context(hold_write_lock(db))
        with start_trader(db, simulator.url) as program:
            line = program.until("degraded: ")
            assert f"simulator.db stayed locked by another process{WAITS}the database file" in line
            assert read_heartbeat(db) == {f"{NAME}, {SYMBOL}": "degraded"}
            lock.close()
            program.until("exit (stop loss at ", inside="sold 0.01000 BTC")
            program.send(signal.SIGTERM)
            assert program.ends() == 0
    assert "the database file can be written again" in program.lines
    assert len([one for one in program.lines if WAITS in one]) == 1
    assert program.errors == []


def test_row_103_a_start_with_a_position_waits_while_the_disk_is_full(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.locked_start.PAUSE_SECONDS", 0.01)
    settings = TraderSettings(
        exchange="simulator", symbol=SYMBOL, timeframe="1h", account_name=NAME
    )
    plan = StartPlan(
        settings, tuple(parse_traded_symbols(settings)), open_on_paper=frozenset({SYMBOL})
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    attempts: list[int] = []

    async def write(stop: StopRequest) -> None:
        del stop
        attempts.append(len(attempts))
        if len(attempts) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with open_store(db, create=False) as store, store.write() as connection:
            connection.execute(
                "INSERT INTO quarantine (exchange, symbol, timeframe, seen_ms, source, fault, "
                "payload) VALUES ('simulator', 'BTC/USDT', '1h', 1, 'ws', 'test', ?)",
                ("x" * 200_000,),
            )

    async def scene() -> None:
        with open_store(db, create=False):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
            try:
                await trade_once_unlocked(plan, db, write, StopRequest(takes_signals=False))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    asyncio.run(scene())
    assert attempts == [0, 1, 2]
    lines = capsys.readouterr().out.splitlines()
    (line,) = [one for one in lines if one.startswith("degraded: ")]
    assert f"{WAITS}the database file can be written" in line
    assert line.endswith("free some space, or raise the quota")
    assert lines.count("the database file can be written again") == 1


def test_row_103_a_start_on_paper_that_waits_for_a_locked_file_ends_by_sigterm(db: Path) -> None:
    with (
        run_simulator() as simulator,
        hold_write_lock(db),
        start_trader(db, simulator.url) as program,
    ):
        program.until("degraded: ", inside=WAITS)
        stop(program)


def test_row_103_a_start_waits_for_a_file_that_cannot_be_read(db: Path) -> None:
    with run_simulator() as simulator, ExitStack() as lock:
        lock.enter_context(hold_write_lock(db, is_readable=False))
        with start_trader(db, simulator.url) as program:
            program.until("degraded: ", inside="; whether a position is open cannot be read: ")
            stop(program)
        with start_trader(db, simulator.url) as program:
            program.until("degraded: ")
            lock.close()
            program.until("the database file can be read again")
            program.until("exit (stop loss at ", inside="sold 0.01000 BTC")
            program.send(signal.SIGTERM)
            assert program.ends() == 0


def test_a_start_on_paper_without_a_position_ends_on_a_locked_file(db: Path) -> None:
    flatten(db)
    with (
        run_simulator() as simulator,
        hold_write_lock(db),
        start_trader(db, simulator.url) as program,
    ):
        assert program.ends() == 4
    assert len(program.errors) == 1
    assert "stayed locked by another process" in program.errors[0]
