"""`trader --params-from RUN`: a trader with the parameters that an optimization has chosen."""

import json
import re
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from onetape.backtest.storage.choices import IDENTITY, Choice, save_choice
from onetape.cli.program import run_typer_app
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.store.database import open_store
from programs import Program
from traded_accounts import TradedAccount, compute_hour_ms
from trader.main import app
from trader.settings import TraderSettings
from trader.settings_reload import find_changed_settings

#: A walk-forward and an optimization, as the backtester names their folders.
WALK, BEST = "sma_cross_BTC-USDT_1m_0123456789", "rsi_BTC-USDT_1h_abcdef0123"
#: 2024-01-01 and 2024-02-01 00:00 UTC.
JANUARY, FEBRUARY = 1_704_067_200, 1_706_745_600


def save_run(folder: Path, kind: str, name: str, **values: Any) -> None:
    """Save chosen parameters in the files of a saved run of the backtester."""
    run = folder / "data" / kind / name
    run.mkdir(parents=True, exist_ok=True)
    (run / IDENTITY).write_text("{}\n", encoding="utf-8")
    strategy, _, timeframe, _ = name.rsplit("_", 3)
    given: dict[str, Any] = {
        "kind": "walk-forward" if kind == "walk_forwards" else "optimization",
        "strategy": strategy,
        "exchange": "simulator",
        "symbol": "BTC/USDT",
        "timeframe": timeframe,
        "rank": ["sharpe"],
        "min_trades": 20,
        "start": JANUARY,
        "end": FEBRUARY,
    }
    save_choice(run, Choice(**{**given, **values}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a user with a saved walk-forward and a saved optimization."""
    monkeypatch.chdir(tmp_path)
    parameters = {"fast": "3", "slow": "7"}
    save_run(tmp_path, "walk_forwards", WALK, windows=4, parameters=parameters)
    save_run(tmp_path, "optimizations", BEST, parameters={"period": "9", "buy": "35.5"})
    return tmp_path


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Return the address of a simulator's process."""
    arguments = ("--port", "0", "--speed", "240", "--start", "2024-03-01T00:00:20")
    with Program("simulator", *arguments, folder=tmp_path_factory.mktemp("simulator")) as program:
        greeting = program.until("simulator:")
        yield re.findall(r"http://[\d.:]+\d", greeting)[0]


def read_until(program: Program, *texts: str) -> None:
    """Read lines of a program until each of these texts has been in one."""
    left = set(texts)
    while left:
        line = program.until("")
        left -= {text for text in left if text in line}


def read_sessions(folder: Path) -> list[tuple[dict[str, Any], str | None]]:
    """Return parameters and origin of the parameters of each stored session, oldest first."""
    with open_store(folder / "data/simulator.db", create=False) as store, store.read() as one:
        rows = one.execute("SELECT parameters, rules FROM sessions ORDER BY started_ms").fetchall()
    return [(json.loads(row[0]), json.loads(row[1]).get("params_from")) for row in rows]


def test_a_trader_uses_the_parameters_of_the_newest_window_and_stores_their_origin(
    folder: Path, simulator: str
) -> None:
    words = ("--exchange", "simulator", "--simulator-url", simulator, "--timeframe", "1m")
    origin = (
        f"walk-forward {WALK}, window 4 of 4 (best by sharpe on simulator BTC/USDT 1m, training "
        "2024-01-01 to 2024-02-01 UTC)"
    )
    with Program("trader", *words, "--params-from", "0123456789", folder=folder) as program:
        program.until("parameters of sma_cross: ")
        program.until("paper trading simulator BTC/USDT 1m with sma_cross (fast 3, slow 7)")
        program.until("", inside=", next ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert program.lines[0] == f"parameters of sma_cross: fast=3, slow=7 from {origin}"
    assert program.errors == []
    assert read_sessions(folder) == [({"fast": 3, "slow": 7}, origin)]
    # The next session has a given parameter, and the session after it no run.
    own = ("--params-from", WALK, "--param", "slow=8")
    with Program("trader", *words, *own, folder=folder) as program:
        program.until("paper trading simulator BTC/USDT 1m with sma_cross (fast 3, slow 8)")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert program.lines[0].endswith("; by --param instead: slow=8")
    with Program("trader", *words, "-s", "sma_cross", folder=folder) as program:
        program.until("paper trading simulator BTC/USDT 1m with sma_cross")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    found = read_sessions(folder)
    assert [one[1] for one in found] == [origin, origin, None]
    assert found[1][0] == {"fast": 3, "slow": 8}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), f"{WALK}: its parameters were chosen on candles of 1m, and the settings trade 1h"),
        (("-t", "1m", "-s", "macd"), "those of strategy sma_cross, and the settings name macd"),
        (("-t", "1m", "-p", "ETH/USDT"), "on BTC/USDT, and the settings trade ETH/USDT"),
        (("-t", "1m", "-p", "BTC/USDT,ETH/USDT"), "and the settings trade ETH/USDT"),
        (("-t", "1m", "--param", "slwo=8"), "strategy sma_cross has no parameter 'slwo'"),
    ],
)
def test_a_run_of_other_settings_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    del folder
    given = ["--exchange", "simulator", "--params-from", WALK, *arguments]
    assert run_typer_app(app, "trader", given) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert words in printed.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "smacross_BTC",
            "no optimization or walk-forward has that name; the nearest: sma_cross_BTC-",
        ),
        ("none", "the run has no choice, because no combination gave a result with 20 closed"),
    ],
)
def test_a_run_that_does_not_exist_or_has_no_chosen_parameters_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    save_run(folder, "optimizations", "sma_cross_BTC-USDT_1m_none", parameters=None)
    given = ["--exchange", "simulator", "-t", "1m", "--params-from", name]
    assert run_typer_app(app, "trader", given) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert words in printed.err


def test_in_a_list_of_symbols_the_parameters_apply_to_symbols_without_a_strategy(
    folder: Path, simulator: str
) -> None:
    (folder / "own.yaml").write_text(
        "symbols: [{symbol: BTC/USDT}, {symbol: ETH/USDT, strategy: {name: macd}}]\n",
        encoding="utf-8",
    )
    words = ("--exchange", "simulator", "--simulator-url", simulator, "--timeframe", "1m")
    own = ("--config", "own.yaml", "--params-from", WALK)
    with Program("trader", *words, *own, folder=folder) as program:
        program.until("", inside="paper trading simulator ETH/USDT 1m with macd")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    stored = {" ".join(sorted(one)): bool(origin) for one, origin in read_sessions(folder)}
    assert stored == {"fast slow": True, "fast signal slow": False}


@pytest.mark.parametrize("strategy", [(), ("--strategy", "sma_cross")])
def test_row_65_a_position_keeps_its_parameters_where_the_saved_run_is_gone(
    folder: Path, strategy: tuple[str, ...]
) -> None:
    db = folder / "data" / "simulator.db"
    before = {"period": 9, "buy": 35.5, "sell": 70.0, "entry": "below"}
    rules = {"params_from": "an optimization", "strategy_file": ""}
    with TradedAccount(
        db, "own", exchange="simulator", cash="100000", parameters=before, rules=rules
    ) as account:
        account.fill("buy", "0.01", "30000", 1)
        account.decide(1, 0, {})
        account.end(hours=2)
    with embedded_simulator(clock=make_clock(start_ms=compute_hour_ms(3))) as simulator:
        words = ("--exchange", "simulator", "--simulator-url", simulator.url, "--account", "own")
        gone = (*words, *strategy, "--params-from", "gone")
        with Program("trader", *gone, folder=folder) as program:
            read_until(
                program,
                "exits only: the saved run cannot be used (--params-from gone: no optimization or",
                "paper trading simulator BTC/USDT 1h with rsi (period ",
            )
            program.send(signal.SIGTERM)
            assert program.ends() == 0
    assert [line for line in program.errors if line.startswith("trader: ")] == []
    assert any(" with rsi (period 9, buy 35.5, " in line for line in program.lines)
    assert read_sessions(folder)[-1] == (before, "an optimization")


def test_a_reload_does_not_change_the_origin_of_the_parameters() -> None:
    assert find_changed_settings(TraderSettings(), TraderSettings(params_from="a run")) == {}


def test_a_drill_uses_the_parameters_of_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del folder
    given = ["drill", "--params-from", WALK, "--only", "no part has this in its name"]
    assert run_typer_app(app, "trader", given) == 2
    assert "chosen on candles of 1m, and the settings trade 1h" in capsys.readouterr().err
    assert run_typer_app(app, "trader", [*given, "-t", "1m", "--stop-loss", "0.05"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("parameters of sma_cross: fast=3, slow=7 from walk-forward")
    assert "--only: no part has that text in its name" in lines[1]
