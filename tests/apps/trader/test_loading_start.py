"""A start whose strategy takes long to load, or is never loaded."""

import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.store.account_reading import read_traded_series
from onetape.store.database import open_store
from onetape.store.read_only import open_read_only
from programs import Program
from traded_accounts import TradedAccount, compute_hour_ms
from trader.commands.status_record import TraderStatus, read_status

NAME, SYMBOL = "own", "BTC/USDT"
#: A strategy function that needs no candles before the newest one.
FUNCTION = """import time

from onetape.strategies.functions import Entries


def slow(df):
    {code}
    return Entries(entry=df.close > 0, exit=df.close < 0)
"""
ENDLESS = "while True: pass"
#: Time limit of loading in `write_impatient_trader`, wall seconds.
LOAD_SECONDS = 15


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Return the database of an account on paper with a position of `slow.py:slow`."""
    return make_account(tmp_path, {"strategy_file": "slow.py:slow"})


def make_account(folder: Path, rules: Mapping[str, str]) -> Path:
    path = folder / "data" / "simulator.db"
    path.parent.mkdir(parents=True)
    with TradedAccount(
        path, NAME, exchange="simulator", cash="100000", strategy="slow", rules=rules
    ) as account:
        account.fill("buy", "0.01", "30000", 1)
        account.decide(1, 0, {})
    return path


def write_strategy(db: Path, code: str, before: str = "") -> None:
    text = f"{before}\n{FUNCTION.format(code=code)}"
    (db.parent.parent / "slow.py").write_text(text, encoding="utf-8")


def write_impatient_trader(folder: Path) -> str:
    """Write a program that is the trader with a shorter time limit of loading; return its path."""
    path = folder / "impatient-trader"
    path.write_text(
        f"#!{sys.executable}\nfrom trader.evaluator import process_evaluator\n"
        f"process_evaluator.LOAD_SECONDS = {LOAD_SECONDS}\n"
        "from trader.start import run\n\nrun()\n",
        encoding="utf-8",
    )
    path.chmod(0o700)
    return str(path)


def start_trader(db: Path, url: str, *arguments: str, program: str = "trader") -> Program:
    return Program(
        program, "--exchange", "simulator", "--simulator-url", url, "--symbol", SYMBOL,
        "--account", NAME, "--timeframe", "1h", "--strategy", "slow.py:slow", *arguments,
        folder=db.parent.parent,
    )  # fmt: skip


def run_simulator() -> AbstractContextManager[EmbeddedSimulator]:
    """Return a simulator that runs while a block lasts, two hours after the entry."""
    return embedded_simulator(clock=make_clock(start_ms=compute_hour_ms(3)))


def read_trader_status(db: Path) -> TraderStatus:
    with open_read_only(db) as store:
        (account,) = read_traded_series(store)
        return read_status(store, account)


def count_problems(db: Path) -> int:
    """Return the number of stored decisions whose signal became no order."""
    with open_store(db, create=False) as store, store.read() as one:
        sql = "SELECT count(*) FROM decisions WHERE action = 'HOLD' AND signal != 0"
        return one.execute(sql).fetchall()[0][0]


def test_row_150_a_stop_sells_while_the_strategy_of_a_start_loops_for_ever(
    db: Path, tmp_path: Path
) -> None:
    write_strategy(db, ENDLESS)
    with (
        run_simulator() as simulator,
        start_trader(
            db, simulator.url, "--stop-loss", "0.0001", program=write_impatient_trader(tmp_path)
        ) as program,
    ):
        line = program.until("strategy slow.py:slow is still being loaded after 5 s")
        assert "stops and exits are watched from now on, without entries" in line
        program.until("exit (stop loss at ", inside="sold 0.01000 BTC")
        assert program.errors == []
        assert program.ends() == 3, "nothing is open any more"
    (error,) = program.errors
    assert f"has not returned within {LOAD_SECONDS} s" in error


def test_row_150_a_strategy_that_is_never_loaded_is_tried_once_and_reported_in_one_line(
    db: Path, tmp_path: Path
) -> None:
    write_strategy(db, ENDLESS)
    impatient = write_impatient_trader(tmp_path)
    with (
        run_simulator() as simulator,
        start_trader(db, simulator.url, program=impatient) as program,
    ):
        program.until("strategy slow.py:slow is still being loaded after 5 s")
        began = time.monotonic()
        program.until("degraded: exits only: ", inside=f"has not returned within {LOAD_SECONDS} s")
        assert time.monotonic() - began < 2 * LOAD_SECONDS
        program.until("", inside=": HOLD, next ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert not any("code 0 ->" in line for line in program.lines)
    assert count_problems(db) == 0
    assert program.errors == []


def test_row_150_a_slow_sound_strategy_trades_once_it_is_loaded(db: Path) -> None:
    write_strategy(db, "pass", before="import time; time.sleep(15)")
    with run_simulator() as simulator, start_trader(db, simulator.url) as program:
        program.until("strategy slow.py:slow is still being loaded after 5 s")
        program.until("degraded: exits only: strategy slow.py:slow is still being loaded")
        program.until("the end of loading: stopped with ")
        program.until("loaded after ")
        program.until("paper trading ", inside=" with slow ")
        program.until("", inside=", next ")
        status = read_trader_status(db)
        assert status.condition == "trading"
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    loaded = next(i for i, one in enumerate(program.lines) if one.startswith("loaded after "))
    assert not any(", next " in line for line in program.lines[:loaded])
    assert not any(" missing " in line for line in program.lines)
    assert program.errors == []


def test_row_150_a_start_that_loads_its_strategy_is_not_called_dead(db: Path) -> None:
    write_strategy(db, "pass", before="import time; time.sleep(15)")
    assert read_trader_status(db).condition == "dead"
    with run_simulator() as simulator, start_trader(db, simulator.url) as program:
        deadline = time.monotonic() + 180
        while read_trader_status(db).condition == "dead":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        status = read_trader_status(db)
        assert status.reason == "it is starting, and its session has not begun yet"
        assert not any("still being loaded" in line for line in program.lines)
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert program.lines == ["SIGTERM: stopped before trading began"]


def test_sigterm_ends_a_start_that_watches_exits_without_its_strategy(db: Path) -> None:
    write_strategy(db, ENDLESS)
    with run_simulator() as simulator, start_trader(db, simulator.url) as program:
        program.until("degraded: exits only: ")
        program.until("paper trading ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert program.lines[-1].startswith("SIGTERM: stopped with ")
    assert program.errors == []


def test_row_151_a_start_without_a_position_names_the_cause_of_a_strategy_that_hangs(
    tmp_path: Path,
) -> None:
    db = tmp_path / "data" / "simulator.db"
    write_strategy(db, ENDLESS)
    impatient = write_impatient_trader(tmp_path)
    with (
        run_simulator() as simulator,
        start_trader(db, simulator.url, program=impatient) as program,
    ):
        program.until(
            f"strategy slow.py:slow is still being loaded after 5 s, and may take {LOAD_SECONDS} s"
        )
        assert program.ends() == 3
    (error,) = program.errors
    assert f"has not returned within {LOAD_SECONDS} s; look for a loop without an end" in error
