"""Terminal, --json, report page and saved folder of a backtest have the same statements."""

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


def find_lines(ended: Any, name: str) -> list[str]:
    """Return the lines of the terminal that begin with a name."""
    return [line for line in ended.out.splitlines() if line.startswith(f"{name}: ")]


def read_page(ended: Any) -> str:
    (line,) = find_lines(ended, "report")
    return Path(line.removeprefix("report: ")).read_text(encoding="utf-8")


@pytest.mark.usefixtures("check_all_bars")
def test_every_output_of_a_result_has_a_separate_line_for_the_check(run: Run) -> None:
    ended = run()
    (line,) = find_lines(ended, "bias check")
    assert line == "bias check: passed, 2,880 bars"
    assert line.removeprefix("bias check: ") in read_page(ended)
    assert load_run().summary.check.text == line.removeprefix("bias check: ")


def test_a_skipped_check_is_printed_with_the_command_to_run_it(run: Run) -> None:
    ended = run("--no-check")
    (line,) = find_lines(ended, "bias check")
    assert line == (
        "bias check: not run; run: uv run backtester check --exchange simulator --strategy rsi"
    )
    assert "not run; run: uv run backtester check" in read_page(ended)


def test_the_number_of_ambiguous_bars_is_in_every_form_of_the_result(run: Run) -> None:
    ended = run(*TIGHT)
    (note,) = [line for line in find_lines(ended, "note") if "ambiguous" in line]
    count = load_run().metrics["ambiguous_bars"]
    assert count > 5
    assert note.startswith(f"note: {count:,} ambiguous bars: stop and target inside one candle")
    page = read_page(ended)
    assert note.removeprefix("note: ").partition(" (")[0] in page
    assert run(*TIGHT, "--json").document["metrics"]["ambiguous_bars"] == count


def test_a_run_without_ambiguous_bars_prints_none_once(run: Run) -> None:
    ended = run("--stop-loss", "0.5", "--take-profit", "0.9")
    (line,) = [line for line in ended.out.splitlines() if "ambiguous" in line]
    assert line.split() == ["ambiguous", "bars", "0"]


def test_missing_trading_rules_and_allowed_gaps_are_part_of_the_result(
    run: Run, database: Path
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp = ?", (START + 240 * HOUR,))
    ended = run("--trading-rules", "none", "--allow-gaps")
    assert find_lines(ended, "trading rules") == [
        "trading rules: none: no price or amount rounding, no minimum"
    ]
    allowed = "1 candle missing, cause unknown (--allow-gaps)"
    assert f"note: {allowed}" in ended.out.splitlines()
    page = read_page(ended)
    assert allowed in page
    assert "none: no price or amount rounding, no minimum" in page
    kept = load_run().summary
    assert allowed in kept.notes
    assert kept.assumptions["trading rules"].startswith("none: ")


def test_an_open_trade_is_marked_in_every_output(run: Run, backtester: Run) -> None:
    ended = run("--strategy", "buy_and_hold")
    assert "open position" in ended.out
    assert "note: the last trade is still open and valued at the last close" in ended.out
    assert "open position" in read_page(ended)
    folder = load_run().folder
    (row,) = csv.DictReader((folder / "trades.csv").read_text("utf-8").splitlines())
    assert (row["open_at_end"], row["exit_time"]) == ("True", "")
    document = run("--strategy", "buy_and_hold", "--json").document
    (trade,) = document["trades"]
    assert (trade["open_at_end"], trade["exit_timestamp"]) == (True, None)
    assert (document["metrics"]["trades"], document["metrics"]["open_at_end"]) == (0, True)
    assert "0 + open" in backtester("list").out


@pytest.mark.parametrize("flag", ["--from=2025-01-01", "--to=2023-01-01", "--from=2023-12-01"])
def test_a_range_outside_the_stored_candles_is_refused_with_the_stored_range(
    backtester: Run, database: Path, flag: str
) -> None:
    del database
    ended = backtester(*SIMULATED, flag)
    assert (ended.code, ended.out) == (4, "")
    assert "stored: 2024-01-01 00:00 to 2024-04-30 00:00 UTC" in ended.err
