"""A strategy with limit entries, from the command line to the report."""

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

Run = Callable[..., Any]


@pytest.fixture
def limit_dip(repository: Path, folder: Path) -> str:
    """Return the strategy of docs/strategies.md, written to where the page names it."""
    write_files(repository / "docs" / "strategies.md", folder)
    return "limit_dip"


@pytest.fixture
def backtest(database: Path, limit_dip: str) -> Backtest:
    del database
    flags = ("--exchange", "simulator", "--strategy", limit_dip, "--stop-loss", "0.02")
    return run_backtest(load_backtest_from_flags(flags, "explain").config)


def test_a_run_states_its_limit_orders(backtest_json: Run, limit_dip: str) -> None:
    document = backtest_json("--strategy", limit_dip, "--maker-fee", "0.0002").document
    assert document["assumptions"]["limit entries"] == (
        "a BUY with a limit price is a limit order for 3 candles: filled at the limit once a "
        "candle's low is below it (maker), or at an open below it (taker)"
    )
    assert "0.020% at a limit or target" in document["assumptions"]["fees"]
    (note,) = [one for one in document["notes"] if "limit orders to buy" in one]
    assert " filled at the limit, " in note
    assert document["check"]["clean"]
    assert document["trades"]


def test_each_entry_is_at_its_limit_or_at_an_open_below_it(backtest: Backtest) -> None:
    (run,) = backtest.runs
    limit = np.asarray(run.signals.limit)[run.window.warm_up :]
    inside = run.result.fill_log.inside_entries
    assert inside
    for trade, buy in zip(run.result.trades, run.result.buys, strict=True):
        signal = int(run.result.fill_log.find_signal_bars(np.array([trade.entry_index]))[0])
        assert trade.entry_index - signal in (1, 2, 3)
        assert buy.price <= limit[signal]
        assert buy.is_maker == (trade.entry_index in inside)
        low = run.result.candles.low[trade.entry_index]
        assert low < limit[signal]


def test_explain_states_what_became_of_each_order(backtest: Backtest) -> None:
    (run,) = backtest.runs
    fill_log, times = run.result.fill_log, run.result.candles.timestamp
    filled, waited = next(iter(fill_log.limit_waits.items()))
    (story,) = explain(backtest, int(times[filled - waited - 1]))
    assert story.signal == "BUY"
    assert story.order.startswith("limit buy at ")
    assert " filled " in story.order
    assert "limit 3_candles" in story.indicators
    due = fill_log.unfilled_limits[0]
    (unfilled,) = explain(backtest, int(times[due - 1]))
    assert ", not filled: " in unfilled.order
    (inside,) = explain(backtest, int(times[next(iter(fill_log.inside_entries))]))
    assert any(" at the limit" in line for line in inside.inside)


def test_every_buy_is_explained(backtest: Backtest) -> None:
    (run,) = backtest.runs
    signals = run.signals.signal[run.window.warm_up :]
    for bar in np.flatnonzero(signals > 0).tolist()[:200]:
        (story,) = explain(backtest, int(run.result.candles.timestamp[bar]))
        assert "slots of the account were full" not in story.order


def test_an_optimization_trades_the_limits_of_the_strategy(
    optimize: Run, backtest_json: Run, limit_dip: str
) -> None:
    found = optimize("--strategy", limit_dip, "--param", "expiry=1,6", "--from", "2024-02-01")
    assert len({one["in_sample"]["total_return"] for one in found["results"]}) == 2
    for one in found["results"]:
        expiry = str(one["parameters"]["expiry"])
        part = backtest_json(
            *("--strategy", limit_dip, "--param", f"expiry={expiry}", "--from", "2024-02-01"),
            *("--to", np.datetime_as_string(np.datetime64(found["in_sample"]["to"], "s"))),
        ).document
        assert part["metrics"]["total_return"] == pytest.approx(one["in_sample"]["total_return"])


def test_the_report_and_explain_of_the_command_line_know_the_orders(
    backtest: Backtest, backtester: Run, limit_dip: str
) -> None:
    (run,) = backtest.runs
    moment = int(run.result.candles.timestamp[next(iter(run.result.fill_log.limit_waits))])
    given = ("--exchange", "simulator", "--strategy", limit_dip, "--at", str(moment))
    found = json.loads(backtester("explain", *given, "--json").out)
    assert "limit 3_candles" in found["indicators"]
