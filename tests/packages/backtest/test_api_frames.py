"""Backtests of DataFrames in Python: what is traded of several, and how bad input is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import onetape.backtest as ot
from onetape.backtest.storage.rerun import rerun
from onetape.core.errors import ConfigurationError, DataError, UsageError

DAYS = 300
#: A global with the name of a column: an attribute of a DataFrame is no global.
close = [1.0]
FACTOR = 1.0


def trade_crossing(df: Any, period: int = 5) -> ot.Entries:
    mean = df.close.rolling(period).mean()
    return ot.Entries(entry=df.close > mean, exit=df.close < mean)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return a random walk of days, with the column names of other tools."""
    walk = 100 * np.exp(np.random.default_rng(7).normal(0, 0.02, DAYS).cumsum())
    opens = np.concatenate(([100.0], walk[:-1]))
    columns = {"Open": opens, "High": np.maximum(opens, walk), "Low": np.minimum(opens, walk)}
    index = pd.date_range("2024-01-01", periods=DAYS, freq="D", tz="UTC")
    return pd.DataFrame({**columns, "Close": walk, "Volume": 1.0}, index=index)


def test_several_dataframes_trade_their_common_range_and_name_the_candles_left_out(
    frame: pd.DataFrame,
) -> None:
    candles = {"A/USD": frame, "B/USD": frame.iloc[100:280]}
    run = ot.backtest("sma_cross", candles, params={"fast": 3, "slow": 9}, check=False)
    assert (run.summary.candles, run.equity.index[-1]) == (180, frame.index[279])
    assert run.summary.notes[0] == (
        "all DataFrames have candles from 2024-04-10 00:00 to 2024-10-07 00:00 UTC, and only this "
        "range is traded; not traded: 100 candles before it and 20 candles after it of A/USD"
    )


def test_dataframes_without_a_common_candle_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no candle in common"):
        ot.backtest("sma_cross", {"A/USD": frame.iloc[:100], "B/USD": frame.iloc[200:]})


def test_an_attribute_with_the_name_of_a_global_is_not_reported_as_read_from_outside(
    frame: pd.DataFrame,
) -> None:
    def nested(df: Any, period: int = 5) -> ot.Entries:
        mean = next(df.close.rolling(period).mean() * FACTOR for _ in range(1))
        return ot.Entries(entry=df.close > mean, exit=df.close < mean)

    own, other = (ot.backtest(one, frame, check=False) for one in (trade_crossing, nested))
    assert not [note for note in own.summary.notes if "from outside" in note]
    (note,) = [note for note in other.summary.notes if "from outside" in note]
    assert "reads values from outside: FACTOR = 1.0;" in note


@pytest.mark.parametrize("candles", [None, [1, 2], {"A/USD": 3}], ids=["none", "list", "dict"])
def test_candles_of_another_type_are_refused(candles: Any) -> None:
    with pytest.raises(UsageError, match="candles must be those of load_candles or a DataFrame"):
        ot.backtest(trade_crossing, candles)


def test_a_value_that_is_not_a_number_is_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="a value that is not a number"):
        ot.backtest(trade_crossing, frame.assign(Close="x"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"account": {"cash": 1}}, "account must be Account(...), found dict"),
        ({"exits": 0.05}, "exits must be Exits(...), found float"),
    ],
)
def test_settings_of_another_type_are_refused(
    frame: pd.DataFrame, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as error:
        ot.backtest(trade_crossing, frame, **settings)
    assert str(error.value) == words


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("fee", "0.1%", "fee must be a number, found '0.1%'"),
        ("sizing", "whole", "sizing must be all_in, quote_amount"),
        ("volatility_bars", 2.5, "volatility_bars must be a whole number, found 2.5"),
    ],
)
def test_a_setting_of_another_type_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError) as error:
        ot.Account(**{name: value})
    assert str(error.value).startswith(f"Account: {words}")


def test_numpy_numbers_are_accepted() -> None:
    given = ot.Account(fee=np.float64(0.002), cash=np.int64(500))
    assert given.values == {"fee_rate": 0.002, "cash": 500.0}


def look_ahead(df: Any) -> ot.Entries:
    return ot.Entries(entry=df.close.shift(-1) > df.close, exit=df.close.shift(-1) < df.close)


def return_short_signals(df: Any) -> ot.Entries:
    return ot.Entries(entry=(df.close > 100)[:-1], exit=(df.close < 100)[:-1])


def return_prices(df: Any) -> ot.Entries:
    return ot.Entries(entry=df.close, exit=df.close)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (look_ahead, "or into the future"),
        (return_short_signals, "one value per candle, found 3,999"),
        (return_prices, "must be true or false for each candle, found float64"),
    ],
)
def test_a_function_whose_lookback_cannot_be_measured_states_the_reason(
    frame: pd.DataFrame, function: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        ot.backtest(function, frame)
    assert str(error.value).startswith(f"strategy function {function.__name__}")
    assert words in str(error.value)


def test_a_function_with_higher_timeframes_must_declare_its_lookback(frame: pd.DataFrame) -> None:
    @ot.strategy_function(higher=("1w",))
    def weekly(df: Any, higher: Any) -> ot.Entries:
        mean = higher["1w"].as_of(ot.indicators.sma(higher["1w"].close, 4))
        return ot.Entries(entry=df.close > mean, exit=df.close < mean)

    with pytest.raises(ConfigurationError, match="function weekly uses higher timeframes"):
        ot.backtest(weekly, frame)


def test_a_strategy_of_a_notebook_is_checked_once_it_is_in_a_file(frame: pd.DataFrame) -> None:
    run = ot.backtest(trade_crossing, frame, check=False)
    assert run.check.text == (
        "not run; run: uv run backtester check -s FILE.py:NAME, with the strategy in a file"
    )
    assert list(run.trades.columns[:2]) == ["entry_time", "exit_time"]
    assert repr(run.plot()) == "HTML report; a notebook shows it, .save('report.html') writes it"


def test_a_saved_run_over_a_dataframe_cannot_be_repeated_by_explain(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ot.backtest("sma_cross", frame, params={"fast": 3, "slow": 9}, check=False).save(report=False)
    with pytest.raises(UsageError, match="is over a DataFrame, which is not stored"):
        rerun(ot.load_run("last"))
