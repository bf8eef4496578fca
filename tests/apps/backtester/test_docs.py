"""The pages about strategies, tried as a new user would: files written, commands run."""

import math
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from docs_pages import write_files
from onetape.core.candles import Candles
from onetape.store.database import open_store
from onetape.strategies import indicators

Run = Callable[..., Any]


def list_commands(page: Path) -> list[list[str]]:
    """Return the backtester's commands of a page, in their order."""
    lines = re.findall(r"^uv run backtester (.*)$", page.read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_statements_of_the_page_about_strategies_hold(
    backtester: Run, folder: Path, repository: Path
) -> None:
    page = repository / "docs" / "strategies.md"
    assert len(write_files(page, folder)) == 4
    (fetch,) = re.findall(r"^uv run backfiller (.*)$", page.read_text(), re.MULTILINE)
    subprocess.run([sys.executable, "-m", "backfiller.main", *shlex.split(fetch)], check=True)
    # The reader has run README.md's trader before, which stored newer candles after a gap.
    with open_store(Path("data/simulator.db"), create=False) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO ohlcv_data SELECT exchange, symbol, timeframe, timestamp + 500 * 86400, "
            "open, high, low, close, volume, closed, source FROM ohlcv_data "
            "ORDER BY timestamp DESC LIMIT 100"
        )
    ran = [(" ".join(arguments), backtester(*arguments)) for arguments in list_commands(page)]
    assert len(ran) >= 6
    assert [(line, ended.err) for line, ended in ran if ended.code] == []
    checked = next(ended for line, ended in ran if line.startswith("check"))
    assert re.fullmatch(r"bias check: passed, [\d,]+ bars\n", checked.out)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("strategies", "dip"),
        ("strategies", "atr_stop"),
        ("strategies", "limit_dip"),
        ("freqtrade", "ported"),
        ("freqtrade", "bband_rsi"),
        ("tradingview", "rsi_dip"),
        ("backtesting_py", "sma_pair"),
    ],
)
def test_a_strategy_of_the_docs_trades_and_passes_the_check(
    backtest_json: Run, backtester: Run, folder: Path, repository: Path, name: str, strategy: str
) -> None:
    write_files(repository / "docs" / f"{name}.md", folder)
    assert backtest_json("--strategy", strategy).document["trades"]
    assert backtester("check", "--exchange", "simulator", "--strategy", strategy).code == 0


@pytest.mark.parametrize(
    "word",
    [
        *("populate_indicators", "populate_entry_trend", "populate_exit_trend", "minimal_roi"),
        *("custom_stoploss", "informative_pairs", "enter_tag", "exit_tag", "startup_candle_count"),
    ],
)
def test_each_freqtrade_feature_on_the_page_has_its_equivalent(repository: Path, word: str) -> None:
    page = (repository / "docs" / "freqtrade.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    (ours,) = [row[1] for row in rows if f"`{word}" in row[0]]
    assert len(ours.strip(" |")) > 10


@pytest.mark.parametrize("word", ["Shorts", "leverage", "DCA"])
def test_freqtrade_settings_without_an_equivalent_are_reported(repository: Path, word: str) -> None:
    page = (repository / "docs" / "freqtrade.md").read_text()
    assert word in page.partition("## What has no equivalent")[2]


def compute_freqtrade_roi_price(open_price: float, roi: float, fee: float) -> float:
    """Return the price at which freqtrade 2026.9 sells by ROI, both fees included."""
    return open_price * (1 + roi) * (1 + fee) / (1 - fee)


def test_a_net_target_sells_at_the_price_of_freqtrades_roi(backtest_json: Run) -> None:
    roi, fee = 0.02, 0.001
    document = backtest_json(
        *("--trading-rules", "none", "--fee", str(fee), "--take-profit", str(roi), "--net-targets")
    ).document
    won = [trade for trade in document["trades"] if trade["exit_kind"] == "target"]
    # One that opens beyond its target fills at its open.
    at_level = [
        one
        for one in won
        if one["exit_price"] < compute_freqtrade_roi_price(one["entry_price"], roi, fee) * 1.000001
    ]
    assert len(at_level) > 3
    for trade in at_level:
        wanted = compute_freqtrade_roi_price(trade["entry_price"], roi, fee)
        assert trade["exit_price"] == pytest.approx(wanted, rel=1e-9)
        assert trade["profit_ratio"] == pytest.approx(roi, rel=1e-6)


def test_the_bands_of_the_page_are_those_of_qtpylib(candles: Candles) -> None:
    typical = (candles.high + candles.low + candles.close) / 3
    bands = indicators.bollinger(typical, 20, 2 * math.sqrt(20 / 19))
    series = pd.Series(typical).rolling(20)
    wanted = (series.mean() - 2 * series.std()).to_numpy()
    assert np.allclose(bands.lower[19:], wanted[19:], rtol=1e-9)


def test_the_command_of_the_page_gives_freqtrades_trades_of_bband_rsi(
    backtest_json: Run, folder: Path, repository: Path
) -> None:
    page = repository / "docs" / "freqtrade.md"
    write_files(page, folder)
    (line,) = re.findall(r"^    uv run backtester (.*bband_rsi.*)$", page.read_text(), re.MULTILINE)
    flags = shlex.split(line)
    many, few = (
        backtest_json(*flags[: len(flags) - cut], "--take-profit", "0.003").document
        for cut in (0, 2)
    )
    assert flags[-2:] == ["--reentry", "while_signal"]
    assert len(many["trades"]) > len(few["trades"]) > 0


def test_the_script_of_the_page_fills_missing_candles_in_freqtrades_way(
    folder: Path, repository: Path
) -> None:
    write_files(repository / "docs" / "freqtrade.md", folder)
    rows = ("0,1,2,0.5,1.5,9", "3600,1.5,1.7,1.4,1.6,8", "14400,1.8,1.9,1.7,1.75,7")
    Path("gaps.csv").write_text("\n".join(("timestamp,open,high,low,close,volume", *rows)) + "\n")
    arguments = [sys.executable, "user/fill_missing.py", "gaps.csv", "filled.csv", "3600"]
    subprocess.run(arguments, check=True)
    filled = np.loadtxt("filled.csv", delimiter=",", skiprows=1)
    assert filled[:, 0].tolist() == [0, 3_600, 7_200, 10_800, 14_400]
    assert filled[2].tolist() == [7_200, 1.6, 1.6, 1.6, 1.6, 0]
    for number, row in zip((0, 1, 4), rows, strict=True):
        assert filled[number].tolist() == [float(cell) for cell in row.split(",")]


def test_the_test_of_the_docs_passes(folder: Path, repository: Path) -> None:
    from onetape.strategies.testing import random_candles, window_difference

    (path, *_, test) = write_files(repository / "docs" / "strategies.md", folder)
    assert 'window_difference(f"{FILE}:Dip", random_candles(1_000, seed=1)) is None' in (
        test.read_text()
    )
    assert window_difference(f"{path}:Dip", random_candles(1_000, seed=1)) is None
