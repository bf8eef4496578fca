"""A strategy with its own stop and target, from the command line to the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.flags import load_backtest_from_flags
from docs_pages import write_files
from onetape.backtest.backtest_runner import run_backtest
from onetape.backtest.explain import explain
from onetape.backtest.models import Backtest
from onetape.backtest.trade_levels import compute_trade_levels

Run = Callable[..., Any]


@pytest.fixture
def atr_stop(repository: Path, folder: Path) -> str:
    """Return the strategy of docs/strategies.md, written to where the page names it."""
    write_files(repository / "docs" / "strategies.md", folder)
    return "atr_stop"


@pytest.fixture
def backtest(database: Path, atr_stop: str) -> Backtest:
    del database
    flags = ("--exchange", "simulator", "--strategy", atr_stop)
    return run_backtest(load_backtest_from_flags(flags, "explain").config)


def test_trades_end_at_the_stop_and_the_target_of_the_strategy(
    backtest_json: Run, atr_stop: str
) -> None:
    document = backtest_json("--strategy", atr_stop).document
    kinds = {trade["exit_kind"] for trade in document["trades"]}
    assert kinds - {None} == {"stop_loss", "target"}
    assert document["assumptions"]["exits"] == (
        "the strategy's SELL; stop of the strategy, set by each candle; target of the strategy, "
        "set at the entry; "
        "stop before target where one candle reaches both and no intrabar candles decide"
    )
    assert document["check"]["clean"]


def test_the_higher_stop_of_account_and_strategy_is_used(backtest_json: Run, atr_stop: str) -> None:
    own = backtest_json("--strategy", atr_stop).document
    tight = backtest_json("--strategy", atr_stop, "--stop-loss", "0.002").document
    least = [one["exit_price"] / one["entry_price"] for one in tight["trades"] if one["exit_kind"]]
    assert min(least) > 0.99
    assert len(tight["trades"]) >= len(own["trades"])


def test_the_levels_in_the_report_are_those_of_the_strategys_columns(backtest: Backtest) -> None:
    (run,) = backtest.runs
    stops = np.asarray(run.signals.stop)[run.window.warm_up :]
    targets = np.asarray(run.signals.target)[run.window.warm_up :]
    for trade, levels in zip(run.result.trades, compute_trade_levels(run.result), strict=True):
        first = trade.entry_index
        end = len(run.result.candles) - 1
        last = end if trade.exit_index is None else trade.exit_index
        assert levels.target[0] == (first, pytest.approx(targets[first - 1], rel=1e-3))
        assert len(levels.target) == 1
        highest = np.maximum.accumulate(stops[first - 1 : max(last, first)])
        for bar, stop in levels.stop:
            assert stop == pytest.approx(highest[bar - first], rel=1e-9)
        assert len(levels.stop) == len(np.unique(highest))


def test_explain_shows_the_stop_of_a_position_and_the_prices_of_a_candle(
    backtest: Backtest, backtester: Run, atr_stop: str
) -> None:
    (run,) = backtest.runs
    trade = run.result.trades[0]
    moment = int(run.result.candles.timestamp[trade.entry_index])
    (story,) = explain(backtest, moment)
    levels = compute_trade_levels(run.result)[0]
    assert f"stop at {run.digits.format_price(levels.stop[0][1])}" in story.inside
    stop = np.asarray(run.signals.stop)[run.window.warm_up + trade.entry_index]
    assert story.indicators["stop each_candle"] == stop
    given = ("--exchange", "simulator", "--strategy", atr_stop, "--at", str(moment))
    found = json.loads(backtester("explain", *given, "--json").out)
    assert found["indicators"]["stop each_candle"] == pytest.approx(stop)


def test_an_optimization_trades_the_stops_of_the_strategy(
    optimize: Run, backtest_json: Run, atr_stop: str
) -> None:
    found = optimize("--strategy", atr_stop, "--param", "width=2,4", "--from", "2024-02-01")
    assert len({one["in_sample"]["total_return"] for one in found["results"]}) == 2
    for one in found["results"]:
        width = str(one["parameters"]["width"])
        part = backtest_json(
            *("--strategy", atr_stop, "--param", f"width={width}", "--from", "2024-02-01"),
            *("--to", _format(found["in_sample"]["to"])),
        ).document
        assert part["metrics"]["total_return"] == pytest.approx(one["in_sample"]["total_return"])


def _format(epoch: int) -> str:
    return np.datetime_as_string(np.datetime64(epoch, "s"))


LOOKS_AHEAD = """
import numpy as np

from onetape.strategies.functions import Entries


def ahead(df):
    buys = df.close > df.open
    return Entries(entry=buys, exit=~buys, stop=df.low.shift(-1).fillna(1.0) * 0.9)
"""
ABOVE = LOOKS_AHEAD.replace("df.low.shift(-1).fillna(1.0) * 0.9", "df.close + 1.0")


def test_check_finds_a_stop_that_looks_ahead(
    backtester: Run, backtest_json: Run, folder: Path
) -> None:
    path = folder / "ahead.py"
    path.write_text(
        "from onetape.strategies.functions import strategy_function\n"
        + LOOKS_AHEAD.replace("def ahead", "@strategy_function(lookback=2)\ndef ahead")
    )
    name = f"{path}:ahead"
    ended = backtester("check", "--exchange", "simulator", "--strategy", name)
    assert ended.code == 6
    assert "look-ahead: all candles give the stop " in ended.out + ended.err
    assert not backtest_json("--strategy", name).document["check"]["clean"]


def test_a_buy_with_a_stop_above_its_close_prints_one_line(
    backtester: Run, database: Path, folder: Path
) -> None:
    del database
    path = folder / "above.py"
    path.write_text(
        "from onetape.strategies.functions import strategy_function\n"
        + ABOVE.replace("def ahead", "@strategy_function(lookback=2)\ndef ahead")
    )
    ended = backtester("--exchange", "simulator", "--strategy", f"{path}:ahead")
    assert ended.code == 3
    assert ended.err.count("\n") == 1
    assert "strategy ahead gave BUY with the stop " in ended.err
    assert "give BUY only where the stop is below the close" in ended.err
