"""What every backtest states of itself: in the terminal, --json, its page and its folder."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.backtest.storage.runs import load_run
from onetape.store.database import open_store

Run = Callable[..., Any]
HOUR, START = 3_600, 1_704_067_200
SIMULATED = ("--exchange", "simulator")
#: Stops and targets so near that one candle often reaches both.
TIGHT = ("--stop-loss", "0.002", "--take-profit", "0.002", "--param", "buy=40")


@pytest.fixture
def run(backtester: Run, database: Path) -> Run:
    """Return a function that runs a backtest of the simulator's candles."""
    del database

    def run_backtest(*arguments: str) -> Any:
        ended = backtester(*SIMULATED, *arguments)
        assert (ended.code, ended.err) == (0, "")
        return ended

    return run_backtest


def lines_of(ended: Any, name: str) -> list[str]:
    """Return the lines of the terminal that begin with a name."""
    return [line for line in ended.out.splitlines() if line.startswith(f"{name}: ")]


def page_of(ended: Any) -> str:
    (line,) = lines_of(ended, "report")
    return Path(line.removeprefix("report: ")).read_text(encoding="utf-8")


@pytest.mark.usefixtures("checks_all_bars")
def test_the_check_is_a_line_of_its_own_wherever_a_result_is_shown(run: Run) -> None:
    ended = run()
    (line,) = lines_of(ended, "bias check")
    assert line == "bias check: passed, 2,880 bars"
    assert line.removeprefix("bias check: ") in page_of(ended)
    assert load_run().summary.check.text == line.removeprefix("bias check: ")


def test_a_check_that_was_not_run_states_it_and_how_to_run_it(run: Run) -> None:
    ended = run("--no-check")
    (line,) = lines_of(ended, "bias check")
    assert line == (
        "bias check: not run; run: uv run backtester check --exchange simulator --strategy rsi"
    )
    assert "not run; run: uv run backtester check" in page_of(ended)


def test_the_number_of_ambiguous_bars_is_in_every_form_of_the_result(run: Run) -> None:
    ended = run(*TIGHT)
    (note,) = [line for line in lines_of(ended, "note") if "ambiguous" in line]
    count = load_run().metrics["ambiguous_bars"]
    assert count > 5
    assert note.startswith(f"note: {count:,} ambiguous bars: stop and target inside one candle")
    page = page_of(ended)
    assert note.removeprefix("note: ").partition(" (")[0] in page
    assert run(*TIGHT, "--json").document["metrics"]["ambiguous_bars"] == count


def test_a_run_that_no_bar_was_ambiguous_in_prints_none_once(run: Run) -> None:
    ended = run("--stop-loss", "0.5", "--take-profit", "0.9")
    (line,) = [line for line in ended.out.splitlines() if "ambiguous" in line]
    assert line.split() == ["ambiguous", "bars", "0"]


def test_an_ideal_market_and_allowed_gaps_stand_in_the_result(run: Run, database: Path) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp = ?", (START + 240 * HOUR,))
    ended = run("--trading-rules", "none", "--allow-gaps")
    assert lines_of(ended, "trading rules") == [
        "trading rules: none: no price or amount rounding, no minimum"
    ]
    allowed = "1 candle missing, cause unknown (--allow-gaps)"
    assert f"note: {allowed}" in ended.out.splitlines()
    page = page_of(ended)
    assert allowed in page
    assert "none: no price or amount rounding, no minimum" in page
    kept = load_run().summary
    assert allowed in kept.notes
    assert kept.assumptions["trading rules"].startswith("none: ")


def test_a_trade_that_is_open_at_the_end_is_marked_everywhere(run: Run, backtester: Run) -> None:
    ended = run("--strategy", "buy_and_hold")
    assert "open position" in ended.out
    assert "note: the last trade is still open and valued at the last close" in ended.out
    assert "open position" in page_of(ended)
    folder = load_run().folder
    (row,) = csv.DictReader((folder / "trades.csv").read_text("utf-8").splitlines())
    assert (row["open_at_end"], row["exit_time"]) == ("True", "")
    document = run("--strategy", "buy_and_hold", "--json").document
    (trade,) = document["trades"]
    assert (trade["open_at_end"], trade["exit_timestamp"]) == (True, None)
    assert (document["metrics"]["trades"], document["metrics"]["open_at_end"]) == (0, True)
    assert "0 + open" in backtester("list").out


@pytest.mark.parametrize("flag", ["--from=2025-01-01", "--to=2023-01-01", "--from=2023-12-01"])
def test_a_range_outside_of_the_data_states_what_is_stored(
    backtester: Run, database: Path, flag: str
) -> None:
    del database
    ended = backtester(*SIMULATED, flag)
    assert (ended.code, ended.out) == (4, "")
    assert "stored: 2024-01-01 00:00 to 2024-04-30 00:00 UTC" in ended.err
