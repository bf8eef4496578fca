"""The Python API gives the numbers of the command line, and refuses what it cannot use."""

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import onetape.backtest as ot
from backtester.main import app
from onetape.backtest.storage.runs import RUNS_FOLDER
from onetape.cli.program import run_typer_app
from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import CandleGapError, ConfigurationError, DataError, UsageError
from onetape.core.simulated import SimulatedSource
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.simulated_source import ensure_simulated_source
from onetape.strategies import doubtful_bars, sampled_check

HOUR, DAY = 3_600, 86_400
#: 2024-01-01 00:00 UTC.
START = 1_704_067_200
OUTSIDE = 1.0
SYMBOLS = ("BTC/USDT", "ETH/USDT")
FUNCTION = """
from onetape.strategies import indicators
from onetape.strategies.functions import Entries


def dip(df, period: int = 20, width: float = 2.0):
    bands = indicators.bollinger(df.close, period, width)
    return Entries(entry=df.close < bands.lower, exit=df.close > bands.middle)
"""


def trade_dips(df: Any, period: int = 20, width: float = 2.0) -> ot.Entries:
    bands = ot.indicators.bollinger(df.close, period, width)
    return ot.Entries(
        entry=df.close < bands.lower, exit=df.close > bands.middle, plot={"lower": bands.lower}
    )


@pytest.fixture(autouse=True)
def few_checked_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bias check of a backtest take 20 bars, which takes half a second less."""
    monkeypatch.setattr(sampled_check, "WHOLE_BARS", 0)
    monkeypatch.setattr(sampled_check, "SAMPLED_BARS", 20)
    monkeypatch.setattr(doubtful_bars, "_MAX_CANDLES", 10_000)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with 60 days of hourly candles of two symbols, without a gap."""
    path = tmp_path_factory.mktemp("api") / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        ensure_simulated_source(store, SimulatedSource(DEFAULT_SEED, {}))
        for symbol in SYMBOLS:
            bars = SimulatedMarket(DEFAULT_SEED).get_candles(symbol, "1h", START, START + 60 * DAY)
            columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
            rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
            rows = fill_outages(rows)
            key = SeriesKey("simulator", symbol, "1h")
            insert_closed_rows(store, key, rows, source="rest", seen_ms=0)
    return path


def fill_outages(rows: list[Candle]) -> list[Candle]:
    """Return the candles with the market's outages filled by flat ones."""
    filled: list[Candle] = []
    for row in rows:
        while filled and filled[-1].timestamp + HOUR < row.timestamp:
            last = filled[-1]
            filled.append(
                Candle(last.timestamp + HOUR, last.close, last.close, last.close, last.close, 1.0)
            )
        filled.append(row)
    return filled


@pytest.fixture
def folder(database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Work in an empty folder with the candles."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "simulator.db").symlink_to(database)
    return tmp_path


@pytest.fixture
def candles(folder: Path) -> ot.StoredCandles:
    del folder
    return ot.load_candles("BTC/USDT", "1h", exchange="simulator", start="2024-01-05")


def read_json_document(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Return the JSON document that the command line prints."""
    capfd.readouterr()
    code = run_typer_app(app, "backtester", ["--exchange", "simulator", *arguments, "--json"])
    out, err = capfd.readouterr()
    assert code == 0, err
    return json.loads(out)


FLAGS = (
    *("--strategy", "sma_cross", "--param", "fast=12", "--param", "slow=48", "--slippage", "3"),
    *("--from", "2024-01-20", "--stop-loss", "0.04", "--sizing", "quote_amount=4000"),
)


def test_a_backtest_in_python_gives_the_numbers_of_the_command_line(
    candles: ot.StoredCandles, capfd: pytest.CaptureFixture[str]
) -> None:
    run = ot.backtest(
        ot.strategy("sma_cross", fast=12, slow=48),
        candles,
        start="2024-01-20",
        account=ot.Account(slippage=3, quote_amount=4_000),
        exits=ot.Exits(stop_loss=0.04),
    )
    printed = read_json_document(capfd, *FLAGS)
    metrics = {name: value for name, value in printed["metrics"].items() if name != "buy_and_hold"}
    assert run.stats.to_dict() == metrics
    assert run.trades["profit"].tolist() == [trade["profit"] for trade in printed["trades"]]
    assert run.summary.warm_up == printed["warm_up"] == 100
    assert run.check.clean is printed["check"]["clean"] is True


def test_several_symbols_share_an_account_as_on_the_command_line(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    del folder
    stored = {one: ot.load_candles(one, "1h", exchange="simulator") for one in SYMBOLS}
    run = ot.backtest("sma_cross", stored, account=ot.Account(equity_share=0.5))
    flags = [word for symbol in SYMBOLS for word in ("--symbol", symbol)]
    printed = read_json_document(
        capfd, *flags, "--strategy", "sma_cross", "--sizing", "equity_share=0.5"
    )
    assert run.stats["final_equity"] == printed["metrics"]["final_equity"]
    assert list(run.position.columns) == list(SYMBOLS)
    assert set(run.frame) == set(SYMBOLS)


def test_a_strategy_function_gives_the_numbers_of_its_file_on_the_command_line(
    candles: ot.StoredCandles, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("dip.py").write_text(FUNCTION)
    run = ot.backtest(trade_dips, candles, start="2024-01-20", params={"period": 30})
    printed = read_json_document(
        capfd, "-s", "dip.py:dip", "--param", "period=30", "--from", "2024-01-20"
    )
    assert printed["strategy"] == "dip"
    assert printed["parameters"] == {"period": 30, "width": 2.0}
    assert run.stats["final_equity"] == printed["metrics"]["final_equity"]
    assert run.stats["trades"] > 5


def test_a_dataframe_gives_the_numbers_of_the_store_without_trading_rules(
    candles: ot.StoredCandles,
) -> None:
    stored = ot.backtest(trade_dips, candles, start="2024-01-20", trading_rules="none")
    run = ot.backtest(trade_dips, candles.frame, start="2024-01-20")
    assert run.equity.tolist() == stored.equity.tolist()
    assert "no trading rules apply" in repr(run)
    assert "no trading rules apply" not in repr(stored)


def test_the_tables_of_a_result_agree_with_each_other(candles: ot.StoredCandles) -> None:
    run = ot.backtest(trade_dips, candles, exits=ot.Exits(stop_loss=0.03))
    assert run.equity.iloc[-1] == run.stats["final_equity"]
    grown = np.prod(1.0 + run.returns.to_numpy()) - 1.0
    assert grown == pytest.approx(run.stats["total_return"])
    assert run.drawdowns["depth"].min() == pytest.approx(run.stats["max_drawdown"])
    assert run.costs["fees"] == pytest.approx(run.fills["fee"].sum())
    assert run.position["BTC/USDT"].gt(0).mean() == pytest.approx(run.stats["exposure"])
    frame = run.frame
    assert isinstance(frame, pd.DataFrame)
    assert {"open", "close", "lower", "signal"} <= set(frame.columns)
    assert run.benchmark.index.equals(run.equity.index)
    closed = run.trades[~run.trades["open_at_end"]]
    assert len(closed) == run.stats["trades"]


def test_a_result_is_saved_loaded_compared_and_pickled(candles: ot.StoredCandles) -> None:
    run = ot.backtest(trade_dips, candles)
    place = run.save()
    assert place.parent == RUNS_FOLDER
    saved = ot.load_run("last")
    assert saved.metrics["final_equity"] == run.stats["final_equity"]
    assert (place / "report.html").exists()
    again = pickle.loads(pickle.dumps(run))  # noqa: S301 - made here
    assert again.stats.equals(run.stats)
    assert again.digest == run.digest
    assert again.explain("2024-01-20T05:30") == run.explain("2024-01-20T05:30")
    assert again.save(report=False) != place
    table = ot.compare(run, saved)
    assert table.iloc[:, 0].tolist() == table.iloc[:, 1].tolist()


def test_the_report_is_shown_in_a_notebook(candles: ot.StoredCandles, tmp_path: Path) -> None:
    view = ot.backtest(trade_dips, candles).plot()
    assert view._repr_html_().startswith("<iframe srcdoc=")  # pyright: ignore[reportPrivateUsage]
    assert "dip" in view.save(tmp_path / "page.html").read_text()


def test_optimize_ranks_by_the_in_sample_part_and_equals_backtests_of_both_parts(
    candles: ot.StoredCandles,
) -> None:
    found = ot.optimize(
        trade_dips,
        candles,
        {"period": range(10, 50, 10)},
        min_trades=1,
        rank="total_return",
        jobs=2,
    )
    results = found.results
    assert results["in_total_return"].is_monotonic_decreasing
    best = found.best
    frame = candles.frame
    split = frame.index[round(len(frame) * 0.7)]
    run = ot.backtest(trade_dips, candles, start=split, params=best, check=False)
    assert results["out_total_return"].iloc[0] == run.stats["total_return"]


def compute_saved_fees(run: Any) -> float:
    return -run.metrics["fees"]


def test_optimize_and_walk_forward_rank_by_a_user_function(candles: ot.StoredCandles) -> None:
    values = {"period": range(10, 50, 10)}
    found = ot.optimize(
        trade_dips, candles, values, min_trades=1, rank=[compute_saved_fees, "sharpe"], jobs=2
    )
    assert found.results["in_compute_saved_fees"].tolist() == (-found.results["in_fees"]).tolist()
    first = ot.optimize(trade_dips, candles, values, min_trades=1, rank=compute_saved_fees)
    assert first.results["in_compute_saved_fees"].is_monotonic_decreasing
    walked = ot.walk_forward(
        trade_dips, candles, values, "30d/7d", min_trades=1, rank=compute_saved_fees
    )
    least = ot.walk_forward(trade_dips, candles, values, "30d/7d", min_trades=1, rank="fees")
    assert walked.windows["period"].tolist() == least.windows["period"].tolist()


def sharpe(run: Any) -> float:
    return run.metrics["total_return"]


def test_a_rank_that_is_not_a_metric_is_refused(candles: ot.StoredCandles) -> None:
    values = {"period": [20, 30]}
    no_function: Any = 3
    nameless: Any = eval("lambda run: 1.0")  # noqa: S307 - a function without a name
    for rank in (nameless, sharpe, no_function, [compute_saved_fees, no_function]):
        with pytest.raises(UsageError, match="rank"):
            ot.optimize(trade_dips, candles, values, rank=rank)
    pattern = r"read_unknown_metric of .*test_api\.py, in-sample: line "
    with pytest.raises(UsageError, match=pattern):
        ot.optimize(trade_dips, candles, values, rank=read_unknown_metric)


def read_unknown_metric(run: Any) -> float:
    return run.metrics["no such metric"]


def test_given_signals_are_traded_and_marked_unchecked(candles: ot.StoredCandles) -> None:
    frame = candles.frame
    entries = frame.close < frame.close.rolling(20).mean()
    run = ot.backtest_signals(frame, entries, ~entries)
    assert "not bias-checked" in repr(run)
    first = int(np.flatnonzero(entries.to_numpy())[0])
    assert run.trades["entry_index"].iloc[0] == first + 1


Change = Callable[[pd.DataFrame], Any]


def drop_column(column: str) -> Change:
    return lambda frame: frame.drop(columns=column)


def remove_row(frame: pd.DataFrame) -> Any:
    return frame.drop(index=frame.index[300])


def remove_price(frame: pd.DataFrame) -> Any:
    return frame.assign(close=frame["close"].where(frame.index != frame.index[9]))


def remove_time_zone(frame: pd.DataFrame) -> Any:
    return frame.tz_localize(None)


def reset_index(frame: pd.DataFrame) -> Any:
    return frame.reset_index(drop=True)


def reverse_rows(frame: pd.DataFrame) -> Any:
    return frame.iloc[::-1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (remove_time_zone, UsageError, "no time zone"),
        (drop_column("volume"), UsageError, "lacks the column 'volume'"),
        (reset_index, UsageError, "must be the UTC open"),
        (reverse_rows, UsageError, "must ascend"),
        (remove_row, CandleGapError, "1 candle missing"),
        (remove_price, DataError, "the candle 2024-01-05 09:00 UTC"),
    ],
    ids=["naive", "column", "index", "order", "gap", "price"],
)
def test_an_invalid_dataframe_is_refused_with_a_remedy(
    candles: ot.StoredCandles,
    change: Change,
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        ot.backtest(trade_dips, change(candles.frame))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"strategy": "sma_crss"}, "did you mean 'sma_cross'"),
        ({"params": {"perod": 3}}, "did you mean 'period'"),
        ({"params": {"cash": 3}}, "has no parameter 'cash'"),
        ({"exits": ot.Exits(stop_loss=7)}, "stop_loss must be"),
        ({"start": "soon"}, "'soon' was not understood"),
        ({"strategy": 3}, "a strategy is a name"),
        ({"candles": {}}, "no symbol"),
    ],
    ids=["strategy", "parameter", "account", "exits", "start", "type", "candles"],
)
def test_an_invalid_argument_is_refused(
    candles: ot.StoredCandles, given: dict[str, Any], words: str
) -> None:
    arguments: dict[str, Any] = {"strategy": trade_dips, "candles": candles}
    with pytest.raises(UsageError, match=re.escape(words)):
        ot.backtest(**{**arguments, **given})


def test_invalid_settings_values_and_signals_are_refused(candles: ot.StoredCandles) -> None:
    with pytest.raises(UsageError, match="did you mean 'fee'"):
        ot.Account(fees=1)
    with pytest.raises(UsageError, match="values to try of period"):
        ot.optimize(trade_dips, candles, {"period": []})
    with pytest.raises(UsageError, match="one per candle"):
        ot.backtest_signals(candles, [True], [False])


def test_a_function_that_cannot_be_measured_must_declare_its_lookback(
    candles: ot.StoredCandles,
) -> None:
    def total(df: Any) -> ot.Entries:
        mean = df.close.expanding().mean()
        return ot.Entries(entry=df.close > mean, exit=df.close < mean)

    with pytest.raises(ConfigurationError, match="declare a longer one: @strategy_function"):
        ot.backtest(total, candles)
    declared: Any = ot.strategy_function(lookback=200)(total)
    assert ot.backtest(declared, candles).check.clean is False


def test_values_from_outside_a_function_are_named_and_part_of_the_digest(
    candles: ot.StoredCandles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def below(df: Any, period: int = 20, level: float = 0.99) -> ot.Entries:
        mean = df.close.rolling(period).mean()
        return ot.Entries(entry=df.close < mean * level, exit=df.close > mean)

    @ot.strategy_function(lookback=20)
    def outside(df: Any) -> ot.Entries:
        return below(df, level=OUTSIDE)

    digests: list[str] = []
    for value in (1.0, 0.5, 1.0):
        monkeypatch.setattr(sys.modules[__name__], "OUTSIDE", value)
        run = ot.backtest(outside, candles, check=False)
        (note,) = [text for text in run.summary.notes if "from outside" in text]
        assert note.startswith(
            f"strategy function outside reads values from outside: OUTSIDE = {value}"
        )
        digests.append(run.digest["strategy"])
    assert digests[0] == digests[2] != digests[1]
    assert not [
        text for text in ot.backtest(trade_dips, candles).summary.notes if "outside" in text
    ]


def test_the_measured_lookback_is_the_length_of_the_window(candles: ot.StoredCandles) -> None:
    for period in (7, 30, 150):
        run = ot.backtest(trade_dips, candles, params={"period": period}, check=False)
        assert run._backtest.strategy is not None  # pyright: ignore[reportPrivateUsage]
        assert run._backtest.strategy.lookback == period  # pyright: ignore[reportPrivateUsage]


def test_the_package_loads_pandas_only_when_a_table_is_used() -> None:
    code = "import sys, onetape.backtest as ot; ot.backtest; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
