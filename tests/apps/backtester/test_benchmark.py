"""The benchmark and the risk-free rate of a backtest are settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onetape.backtest as ot
from onetape.backtest.storage.runs import load_run
from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import UsageError
from onetape.core.simulated import SimulatedSource
from onetape.engine import AccountConfig
from onetape.engine.buy_and_hold import compute_buy_and_hold
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.simulated_source import ensure_simulated_source

Run = Callable[..., Any]
DAY = 86_400
START = 1_704_067_200
SIM = ("--exchange", "simulator", "--timeframe", "1d", "--no-check")
HELD = ("--benchmark", "ETH/USDT")


def put(store: Store, symbol: str, days: int) -> None:
    """Store a number of daily candles of a symbol."""
    bars = SimulatedMarket(DEFAULT_SEED).get_candles(symbol, "1d", START, START + days * DAY)
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
    insert_closed_rows(store, SeriesKey("simulator", symbol, "1d"), rows, source="rest", seen_ms=0)


@pytest.fixture
def database(folder: Path) -> Path:
    """Return a database of three symbols; the last one ends early."""
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        for symbol, days in (("BTC/USDT", 200), ("ETH/USDT", 200), ("SOL/USDT", 150)):
            put(store, symbol, days)
        ensure_simulated_source(store, SimulatedSource(DEFAULT_SEED, {}))
    return path


def test_buy_and_hold_is_that_of_the_benchmark_over_the_same_range(
    database: Path, backtester: Run
) -> None:
    document = backtester(*SIM, *HELD, "--json", "--slippage", "3").document
    bars = SimulatedMarket(DEFAULT_SEED).get_candles("ETH/USDT", "1d", START, START + 200 * DAY)
    held = compute_buy_and_hold(bars, AccountConfig(slippage_bps=3))
    assert held is not None
    assert document["metrics"]["buy_and_hold"] == {
        "final_equity": held.final_equity,
        "total_return": held.total_return,
        "max_drawdown": held.max_drawdown,
    }
    own = backtester(*SIM, "--json", "--slippage", "3").document
    assert own["metrics"]["buy_and_hold"] != document["metrics"]["buy_and_hold"]
    assert {**document["metrics"], "buy_and_hold": None} == {
        **own["metrics"],
        "buy_and_hold": None,
    }


def test_the_result_the_report_and_the_saved_run_name_the_benchmark(
    database: Path, backtester: Run
) -> None:
    ended = backtester(*SIM, *HELD, "--risk-free-rate", "0.04", "--report", "page.html")
    assert ended.code == 0, ended.err
    assert "buy and hold ETH/USDT\n" in ended.out
    assert "\nbenchmark: buy and hold of ETH/USDT\n" in ended.out
    assert "\nrisk-free rate: 4.000% a year, in the Sharpe and Sortino ratios\n" in ended.out
    assert "buy and hold of ETH/USDT" in Path("page.html").read_text(encoding="utf-8")
    saved = load_run("last")
    assert saved.summary.benchmark == "ETH/USDT"
    assert (saved.manifest.settings["benchmark"], saved.manifest.settings["risk_free_rate"]) == (
        "ETH/USDT",
        0.04,
    )
    curve = saved.equity["buy_and_hold"]
    assert curve.iloc[-1] == saved.metrics["buy_and_hold"]["final_equity"]
    explained = backtester("explain", "--run", "last", "--at", "2024-03-01")
    assert explained.code == 0, explained.err


def test_a_run_without_benchmark_and_rate_names_neither(database: Path, backtester: Run) -> None:
    ended = backtester(*SIM, "--no-save")
    assert "benchmark" not in ended.out
    assert "risk-free" not in ended.out
    assert "benchmark" not in backtester(*SIM, "--json").document


def test_the_rate_lowers_the_ratios_of_a_backtest_and_of_an_optimization_alike(
    database: Path, backtester: Run
) -> None:
    rate = ("--risk-free-rate", "0.2")
    flags = (*SIM, "--strategy", "sma_cross", "--param", "slow=20")
    plain = backtester(*flags, "--param", "fast=5", "--json").document["metrics"]
    lower = backtester(*flags, "--param", "fast=5", "--json", *rate).document["metrics"]
    assert lower["sharpe"] < plain["sharpe"]
    assert lower["sortino"] < plain["sortino"]
    tried = ("optimize", *flags, "--param", "fast=5,8", "--min-trades", "0", "--json")
    first, second = backtester(*tried).document, backtester(*tried, *rate).document
    assert first["folder"] != second["folder"]
    for one, other in zip(
        sorted(first["results"], key=lambda row: row["parameters"]["fast"]),
        sorted(second["results"], key=lambda row: row["parameters"]["fast"]),
        strict=True,
    ):
        assert other["in_sample"]["sharpe"] < one["in_sample"]["sharpe"]
        assert other["in_sample"]["total_return"] == one["in_sample"]["total_return"]
    assert second["trials"]["market"] == first["trials"]["market"], "no further trial"


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("--benchmark", "ETH/EUR"), 2, "--benchmark must have the quote currency of the account, "
         "USDT, found ETH/EUR"),
        (("--benchmark", "nothing"), 2, "--benchmark"),
        (("--benchmark", "XRP/USDT"), 4, "benchmark: data/simulator.db holds no closed candle of "
         "simulator XRP/USDT 1d"),
        (("--benchmark", "SOL/USDT"), 4, "benchmark: "),
        (("--risk-free-rate", "4"), 2, "--risk-free-rate must be above -1 and under 1"),
    ],
)  # fmt: skip
def test_an_invalid_benchmark_or_rate_prints_one_line(
    database: Path, backtester: Run, flags: tuple[str, ...], code: int, text: str
) -> None:
    ended = backtester(*SIM, *flags)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(f"backtester: {text}") or text in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_optimization_takes_no_benchmark_flag(database: Path, backtester: Run) -> None:
    ended = backtester("optimize", *SIM, "--param", "period=10,20", *HELD)
    assert ended.code == 2
    assert "--benchmark is for a backtest; optimize compares with buy and hold of its own" in (
        ended.err
    )


def test_the_python_functions_take_benchmark_and_risk_free_rate(database: Path) -> None:
    candles = ot.load_candles("BTC/USDT", "1d", exchange="simulator")
    run = ot.backtest("rsi", candles, benchmark="ETH/USDT", risk_free_rate=0.1, check=False)
    plain = ot.backtest("rsi", candles, check=False)
    assert run.summary.benchmark == "ETH/USDT"
    assert run.benchmark.iloc[-1] != plain.benchmark.iloc[-1]
    assert run.stats["sharpe"] < plain.stats["sharpe"]
    assert np.array_equal(run.equity, plain.equity)
    with pytest.raises(UsageError, match="benchmark needs stored candles"):
        ot.backtest("rsi", candles.frame, benchmark="ETH/USDT")
