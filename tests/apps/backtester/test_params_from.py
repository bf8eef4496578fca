"""`--params-from RUN`: a backtest with the parameters that an optimization has chosen."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backtester.entry import OWN_FLAGS
from backtester.settings import BacktesterSettings
from onetape.cli.plain_flags import collect_plain_flags, read_plain

Run = Callable[..., Any]
Document = dict[str, Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=20,30")
WALK = ("--walk-forward", "40d/20d", "--min-trades", "5")


def get_run_name(found: Document) -> str:
    """Return the name of a saved run."""
    return Path(found["folder"]).name


@pytest.fixture
def taken(backtester: Run, database: Path) -> Callable[..., tuple[Document, str]]:
    """Return a function that runs a backtest and returns the document and stderr."""
    del database

    def run(*arguments: str) -> tuple[Document, str]:
        ended = backtester("--exchange", "simulator", "--json", *arguments)
        assert ended.code == 0, ended.err
        return json.loads(ended.out), ended.err

    return run


@pytest.fixture
def refused(backtester: Run, database: Path) -> Callable[..., str]:
    """Return a function that runs a backtest which is refused with exit code 2 in one line."""
    del database

    def run(*arguments: str, code: int = 2) -> str:
        ended = backtester("--exchange", "simulator", *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1), ended.err
        return ended.err

    return run


def test_a_backtest_uses_strategy_and_parameters_of_the_best_combination(
    optimize: Run, taken: Run, backtest_json: Run
) -> None:
    found = optimize(*GRID, "--min-trades", "5", "--rank", "total_return")
    best = found["results"][0]["parameters"]
    document, line = taken("--params-from", get_run_name(found))
    assert (document["strategy"], document["parameters"]) == ("sma_cross", best)
    assert line == (
        f"parameters of sma_cross: fast={best['fast']}, slow={best['slow']} from optimization "
        f"{get_run_name(found)} (best by total_return on simulator BTC/USDT 1h, "
        "in-sample 2024-01-01 to 2024-03-25 UTC)\n"
    )
    flags = ("--param", f"fast={best['fast']}", "--param", f"slow={best['slow']}")
    typed = backtest_json("-s", "sma_cross", *flags).document
    assert typed["metrics"] == document["metrics"]


def test_a_backtest_uses_the_parameters_chosen_in_the_newest_window(
    optimize: Run, taken: Run
) -> None:
    found = optimize(*GRID, *WALK)
    document, line = taken("--params-from", get_run_name(found))
    assert document["parameters"] == found["windows"][-1]["parameters"]
    assert f"from walk-forward {get_run_name(found)}, window 4 of 4 (best by sharpe on " in line
    assert ", training 2024-03-01 to 2024-04-10 UTC)" in line


def test_the_parameters_are_those_of_the_optimization_that_finished_last(
    optimize: Run, taken: Run
) -> None:
    first = optimize(*GRID, "--min-trades", "0", "--rank", "total_return")
    other = optimize(*GRID, "--min-trades", "0", "--rank", "fees")
    assert first["folder"] == other["folder"]
    assert first["results"][0]["parameters"] != other["results"][0]["parameters"]
    document, line = taken("--params-from", get_run_name(other))
    assert document["parameters"] == other["results"][0]["parameters"]
    assert "best by fees" in line


def test_a_run_may_be_named_by_folder_or_id_or_a_beginning_of_either_or_a_path(
    optimize: Run, taken: Run
) -> None:
    found = optimize(*GRID, "--min-trades", "0")
    name = get_run_name(found)
    number = name.rpartition("_")[2]
    for text in (
        name,
        number,
        number[:4],
        "sma_cross_BTC",
        found["folder"],
        f"./{found['folder']}/",
    ):
        assert f"from optimization {name} (" in taken("--params-from", text)[1]


def test_the_line_states_that_the_strategy_file_has_changed_since_the_run(
    optimize: Run, taken: Run, tmp_path: Path
) -> None:
    file = tmp_path / "own.py"
    code = """
import numpy as np
from dataclasses import dataclass
from typing import ClassVar
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Own(Strategy):
    name: ClassVar[str] = "own"
    lookback: ClassVar[int] = 1
    size: int = parameter(5, ge=1)

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles), dtype=np.int8), {})
"""
    file.write_text(code, encoding="utf-8")
    found = optimize("-s", "own.py", "--param", "size=5,9", "--min-trades", "0")
    text = "the strategy file has changed since: optimize again"
    assert text not in taken("--params-from", get_run_name(found))[1]
    file.write_text(f"{code}\n# changed\n", encoding="utf-8")
    assert text in taken("--params-from", get_run_name(found))[1]


def test_values_keep_all_digits_and_their_type(optimize: Run, taken: Run, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        """
import numpy as np
from dataclasses import dataclass
from typing import ClassVar
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Own(Strategy):
    name: ClassVar[str] = "own"
    lookback: ClassVar[int] = 1
    part: float = parameter(0.5, ge=0, le=1)
    strict: bool = parameter(True)
    word: str = parameter("a", choices=("a", "b"))

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles), dtype=np.int8), {})
"""
    )
    words = ("--param", "part=0.1:0.3:0.1", "--param", "strict=no", "--param", "word=b")
    found = optimize("-s", "own.py", *words, "--min-trades", "0")
    document, _ = taken("--params-from", get_run_name(found))
    assert document["parameters"] == found["results"][0]["parameters"]
    assert document["parameters"]["strict"] is False
    assert taken("--params-from", get_run_name(found), "-s", "own.py:Own")[0]["strategy"] == "own"


def test_param_replaces_single_values_of_the_run(optimize: Run, taken: Run) -> None:
    found = optimize(*GRID, "--min-trades", "0")
    best = found["results"][0]["parameters"]
    document, line = taken("--params-from", get_run_name(found), "--param", "slow=44")
    assert document["parameters"] == {**best, "slow": 44}
    assert line.endswith("; by --param instead: slow=44\n")


def test_the_run_replaces_all_parameters_of_file_and_environment(
    optimize: Run, taken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = optimize(*GRID, "--min-trades", "0")
    file = tmp_path / "own.yaml"
    file.write_text("strategy: {name: rsi, parameters: {period: 7}}\naccount: {fee_rate: 0.002}\n")
    monkeypatch.setenv("BACKTESTER__STRATEGY__PARAMETERS__FAST", "3")
    document, _ = taken("--params-from", get_run_name(found), "--config", str(file))
    # rsi is the default, so a file with it names no strategy.
    assert document["parameters"] == found["results"][0]["parameters"]
    file.write_text("strategy: {name: macd}\n")
    flags = ("--config", str(file), "--strategy", "sma_cross")
    assert taken("--params-from", get_run_name(found), *flags)[0]["strategy"] == "sma_cross"


def test_a_run_of_another_strategy_symbol_or_timeframe_is_refused_by_name(
    optimize: Run, refused: Run, tmp_path: Path
) -> None:
    name = get_run_name(optimize(*GRID, "--min-trades", "0"))
    by_name = f"--params-from {name}: its parameters "
    strategy = refused("--params-from", name, "--strategy", "macd")
    assert f"{by_name}are those of strategy sma_cross, and the settings name macd; " in strategy
    (tmp_path / "own.yaml").write_text("strategy: {name: macd}\n")
    assert refused("--params-from", name, "--config", "own.yaml") == strategy
    symbol = refused("--params-from", name, "--symbol", "ETH/USDT")
    assert f"{by_name}were chosen on BTC/USDT, and the settings trade ETH/USDT; add " in symbol
    several = refused("--params-from", name, "--symbol", "BTC/USDT,ETH/USDT")
    assert "the settings trade ETH/USDT" in several
    timeframe = refused("--params-from", name, "--timeframe", "4h")
    assert f"{by_name}were chosen on candles of 1h, and the settings trade 4h; add " in timeframe


def test_a_run_that_does_not_exist_is_refused_with_the_nearest_names(
    optimize: Run, refused: Run
) -> None:
    assert refused("--params-from", "sma") == (
        "backtester: --params-from sma: no optimization is saved in data/optimizations or "
        "data/walk_forwards; run: uv run backtester optimize\n"
    )
    first = get_run_name(optimize(*GRID, "--min-trades", "0"))
    second = get_run_name(optimize(*GRID, *WALK))
    line = refused("--params-from", "sma_cros_BTC-USDT")
    words, names = line.rstrip().split("; the nearest: ")
    assert words.endswith("sma_cros_BTC-USDT: no optimization or walk-forward has that name")
    assert sorted(names.split(", ")) == sorted((first, second))
    assert "2 runs have such a name, such as sma_cross" in refused("--params-from", "sma_cross")
    assert "the folder has no optimization.json" in refused("--params-from", "./data")


@pytest.mark.parametrize("walk", [(), ("--walk-forward", "40d/20d")])
def test_a_run_without_chosen_parameters_is_refused(
    optimize: Run, refused: Run, walk: tuple[str, ...]
) -> None:
    name = get_run_name(optimize(*GRID, *walk, "--min-trades", "10000"))
    line = refused("--params-from", name)
    assert f"--params-from {name}: the run has no choice, because no combination gave a " in line
    assert "with 10,000 closed trades (" in line
    assert ("training 2024-03-01 to 2024-04-10" if walk else "in-sample 2024-01-01 to") in line


def test_an_unfinished_or_damaged_run_is_refused(optimize: Run, refused: Run) -> None:
    found = optimize(*GRID, "--min-trades", "0")
    choice = Path(found["folder"]) / "choice.json"
    content = choice.read_bytes()
    choice.unlink()
    assert "the run has no choice yet, because it was not" in refused(
        "--params-from", get_run_name(found)
    )
    for damaged in (b"", content[:60], b"[]", b"\xff", content.replace(b": 1,", b": 9,", 1)):
        choice.write_bytes(damaged)
        line = refused("--params-from", get_run_name(found), code=3)
        assert "choice.json " in line
        assert "run the command of its optimization again" in line
    optimize(*GRID, "--min-trades", "0")
    assert choice.read_bytes() == content
    assert not list(choice.parent.glob(".choice*"))


def test_optimize_refuses_parameters_from_a_run(backtester: Run, database: Path) -> None:
    del database
    ended = backtester("optimize", "--exchange", "simulator", *GRID, "--params-from", "any")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--params-from is for a backtest; optimize takes the values to try" in ended.err


def test_check_and_explain_use_the_parameters_of_a_run(
    optimize: Run, backtester: Run, database: Path
) -> None:
    del database
    found = optimize(*GRID, "--min-trades", "0")
    flags = ("--exchange", "simulator", "--json", "--params-from", get_run_name(found))
    explained = backtester("explain", "--at", "2024-02-01", *flags)
    assert explained.code == 0, explained.err
    assert explained.err.startswith("parameters of sma_cross: fast=")
    checked = backtester("check", *flags)
    assert checked.code == 0, checked.err
    assert checked.err.startswith("parameters of sma_cross: fast=")


def test_params_from_is_read_without_typer() -> None:
    flags = collect_plain_flags(BacktesterSettings, OWN_FLAGS)
    given = read_plain(["--params-from", "x", "--json"], flags)
    assert given is not None
    assert given["params_from"] == "x"
