"""The backtester in an empty folder, and a database of the simulator's candles."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backtester.main import app
from onetape.backtest.storage.runs import list_run_folders
from onetape.cli.program import run_typer_app
from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.clock import SystemClock
from onetape.core.simulated import SimulatedSource
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.simulated_source import ensure_simulated_source
from onetape.strategies import doubtful_bars, sampled_check

HOUR, DAY = 3_600, 86_400
#: 2024-01-01 00:00 UTC.
START = 1_704_067_200
#: Days of candles in the database.
DAYS = 120
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
DATABASE = Path("data/simulator.db")


@pytest.fixture
def check_all_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let backtests check every bar of a short range, as they do for a user, however slowly."""
    monkeypatch.setattr(sampled_check, "WHOLE_SECONDS", 60.0)


@pytest.fixture
def check_sampled_bars() -> None:
    """Let backtests check the sample that a user's backtests of a long range check."""


@pytest.fixture(autouse=True)
def _limit_checked_bars(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let backtests of all other tests check a tenth of that: half a second less for each run."""
    if "check_all_bars" not in request.fixturenames:
        monkeypatch.setattr(sampled_check, "WHOLE_BARS", 0)
        if "check_sampled_bars" not in request.fixturenames:
            monkeypatch.setattr(sampled_check, "SAMPLED_BARS", 20)
            monkeypatch.setattr(doubtful_bars, "_MAX_CANDLES", 10_000)
    # A busy machine would end the sample earlier.
    monkeypatch.setattr(sampled_check, "_MAX_WALL_SECONDS", 60.0)


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The result of a --json run, whose stdout must be one document."""
        assert (self.code, self.err) == (0, "")
        return json.loads(self.out)


def insert_candles(store: Store, key: SeriesKey, candles: Candles) -> None:
    """Store candles as the backfiller would."""
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    rows = zip(candles.timestamp.tolist(), *(column.tolist() for column in columns), strict=True)
    report = insert_closed_rows(
        store,
        key,
        [Candle(*row) for row in rows],
        source="rest",
        seen_ms=SystemClock().now_ms(),
    )
    assert report.inserted == len(candles)


@pytest.fixture(scope="session")
def candles() -> Candles:
    """Return the candles of the database."""
    return SimulatedMarket(DEFAULT_SEED).get_candles(
        KEY.symbol, KEY.timeframe, START, START + DAYS * DAY
    )


@pytest.fixture(scope="session")
def recorded_database(tmp_path_factory: pytest.TempPathFactory, candles: Candles) -> Path:
    path = tmp_path_factory.mktemp("database") / "simulator.db"
    with open_store(path, create=True) as store:
        insert_candles(store, KEY, candles)
        ensure_simulated_source(store, SimulatedSource(DEFAULT_SEED, {}))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that the program runs in."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BACKTESTER__")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def database(folder: Path, recorded_database: Path) -> Path:
    """Return a copy of the database, where the program looks for it."""
    del folder
    DATABASE.parent.mkdir()
    shutil.copy(recorded_database, DATABASE)
    return DATABASE


@pytest.fixture
def backtester(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Return a function that runs the program with these arguments."""
    del folder

    def run(*arguments: str) -> CommandResult:
        capsys.readouterr()
        code = run_typer_app(app, "backtester", arguments)
        printed = capsys.readouterr()
        return CommandResult(code, printed.out, printed.err)

    return run


@pytest.fixture
def backtest_json(
    database: Path, backtester: Callable[..., CommandResult]
) -> Callable[..., CommandResult]:
    """Return a function that runs a backtest of the simulator's candles with --json."""
    del database

    def run(*arguments: str) -> CommandResult:
        return backtester("--exchange", "simulator", "--json", "--no-report", *arguments)

    return run


@pytest.fixture
def optimize(
    database: Path, backtester: Callable[..., CommandResult]
) -> Callable[..., dict[str, Any]]:
    """Return a function that optimizes on the simulator's candles and returns the document."""
    del database

    def run(*arguments: str) -> dict[str, Any]:
        ended = backtester("optimize", "--exchange", "simulator", "--json", *arguments)
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


@pytest.fixture
def save_run(backtester: Callable[..., CommandResult], database: Path) -> Callable[..., Path]:
    """Return a function that saves a run and returns its folder."""
    del database

    def run(*arguments: str) -> Path:
        before = set(list_run_folders())
        ended = backtester("--exchange", "simulator", "--no-report", *arguments)
        assert (ended.code, ended.err) == (0, "")
        (new,) = set(list_run_folders()) - before
        return new

    return run
