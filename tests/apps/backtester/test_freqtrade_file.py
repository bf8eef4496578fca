"""`backtester -s FILE.py` with a freqtrade strategy: its settings, and what takes precedence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backtester.configuration import load_backtest_settings
from backtester.settings import BacktesterSettings
from backtester.watch.watch_loop import find_chosen_strategy_file
from backtester.watch.watched_files import make_strategy_path
from onetape.backtest import Account, Exits, backtest, strategy
from onetape.cli.loading import LoadedSettings
from onetape.core.errors import ConfigurationError, DataError, UsageError
from onetape.optimization.optimize_api import optimize
from onetape.strategies import load_strategy, load_strategy_class
from onetape.strategies.testing import random_candles

Run = Callable[..., Any]
SAMPLE = """from freqtrade.strategy import IStrategy


class Sample(IStrategy):
    timeframe = "4h"
    minimal_roi = {"480": 0.01, "0": 0.04}
    stoploss = -0.08
    exit_profit_only = True

    def populate_indicators(self, dataframe, metadata):
        dataframe["mean"] = dataframe["close"].rolling(10).mean()
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["close"] > dataframe["mean"], "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["close"] < dataframe["mean"], "exit_long"] = 1
        return dataframe
"""
FLAGS: tuple[str, ...] = (
    "from_",
    "to",
    "timerange",
    "config",
    "symbol",
    "max_open_trades",
    "exchange",
    "cash",
)
MORE_FLAGS: tuple[str, ...] = (
    "timeframe",
    "strategy",
    "param",
    "params_from",
    "fee",
    "stop_loss",
    "reentry",
    "db",
)
GIVEN = dict.fromkeys((*FLAGS, *MORE_FLAGS))


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "Sample.py"
    path.write_text(SAMPLE)
    return path


def load_file_settings(
    sample: Path, config: Path | None = None, **flags: object
) -> BacktesterSettings:
    given = {**GIVEN, "strategy": str(sample), "config": config, **flags}
    loaded: LoadedSettings[BacktesterSettings] = load_backtest_settings(given)
    return loaded.settings


def test_the_settings_of_a_strategy_file_are_applied(sample: Path):
    settings = load_file_settings(sample)
    exits = settings.account.exits
    assert (settings.timeframe, settings.account.reentry) == ("4h", "while_signal")
    assert (exits.stop_loss, exits.exit_profit_offset) == (0.08, 0.0)
    assert (exits.target_table, exits.net_targets) == ({0: 0.04, 2: 0.01}, True)


def test_flags_take_precedence_over_the_strategy_file(sample: Path):
    settings = load_file_settings(sample, stop_loss=0.5, reentry="new_signal")
    assert settings.account.exits.stop_loss == 0.5
    assert settings.account.reentry == "new_signal"
    assert settings.account.exits.exit_profit_offset == 0.0


def test_a_settings_file_takes_precedence_where_it_differs_from_the_default(
    sample: Path, tmp_path: Path
):
    config = tmp_path / "own.yaml"
    config.write_text("timeframe: 1h\naccount: {reentry: new_signal}\nexits: {stop_loss: 0.2}\n")
    settings = load_file_settings(sample, config)
    assert settings.account.exits.stop_loss == 0.2
    # 1h and new_signal are the defaults, as the commented file has them.
    assert (settings.timeframe, settings.account.reentry) == ("4h", "while_signal")


def test_a_variable_takes_precedence_over_the_strategy_file(
    sample: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BACKTESTER__EXITS__STOP_LOSS", "0.3")
    assert load_file_settings(sample).account.exits.stop_loss == 0.3


def test_a_given_timeframe_that_differs_from_the_file_is_refused(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rest = r"must be 4h, which .*Sample\.py, line 5 states .*, found 15m; give 4h, or write 15m"
    with pytest.raises(UsageError, match=f"^--timeframe {rest}"):
        load_file_settings(sample, timeframe="15m")
    config = tmp_path / "own.yaml"
    config.write_text("exchange: binance\ntimeframe: 15m\n")
    with pytest.raises(ConfigurationError, match=rf"own\.yaml:2: timeframe {rest}"):
        load_file_settings(sample, config)
    monkeypatch.setenv("BACKTESTER__TIMEFRAME", "15m")
    with pytest.raises(ConfigurationError, match=f"^BACKTESTER__TIMEFRAME: timeframe {rest}"):
        load_file_settings(sample)


def test_the_timeframe_of_the_file_may_be_given_too(sample: Path):
    assert load_file_settings(sample, timeframe="240m").timeframe == "240m"


def test_an_invalid_value_in_a_strategy_file_names_its_line(sample: Path):
    sample.write_text(SAMPLE.replace('"480": 0.01', '"480": 0.09'))
    with pytest.raises(Exception, match=r"Sample\.py, line 6: target_table must fall with time"):
        load_file_settings(sample)


def test_one_command_backtests_and_checks_a_freqtrade_file(backtest_json: Run, sample: Path):

    hourly = sample.with_name("Hourly.py")
    hourly.write_text(SAMPLE.replace('"4h"', '"1h"').replace("class Sample", "class Hourly"))
    done = backtest_json("-s", str(hourly), "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["strategy"] == "Hourly"
    assert result["check"]["clean"] is True
    kinds = {trade["exit_kind"] for trade in result["trades"]}
    assert kinds <= {"signal", "target", "stop_loss", None}
    assert "target" in kinds


def test_a_freqtrade_feature_without_an_equivalent_is_refused_in_one_line(
    backtest_json: Run, sample: Path
):

    sample.write_text(SAMPLE.replace("stoploss = -0.08", "stoploss = -0.08\n    can_short = True"))
    done = backtest_json("-s", str(sample))
    assert done.code == 3
    assert "Sample.py cannot run here: line 8: can_short (short positions)" in done.err
    assert done.err.count("\n") == 1


def test_the_python_functions_refuse_candles_of_another_timeframe(sample: Path) -> None:
    frame = random_candles(400, seed=3).frame()
    text = "timeframe must be 4h, which .* states .*, found 1h"
    for given in (str(sample), load_strategy_class(str(sample)), load_strategy(str(sample))):
        with pytest.raises(UsageError, match=text):
            backtest(given, frame, check=False)
    with pytest.raises(UsageError, match=text):
        optimize(str(add_tuned_parameter(sample)), frame, {"length": [5, 10]}, jobs=1)


def add_tuned_parameter(sample: Path) -> Path:
    """Return the file with a parameter to optimize."""
    sample.write_text(
        SAMPLE.replace("import IStrategy", "import IntParameter, IStrategy")
        .replace("    stoploss", "    length = IntParameter(2, 20, default=10)\n    stoploss")
        .replace("rolling(10)", "rolling(self.length.value)")
    )
    return sample


def test_the_python_function_takes_the_exits_of_the_file(sample: Path) -> None:
    frame = random_candles(400, seed=3, timeframe="4h").frame()
    result = backtest(str(sample), frame, check=False, exits=Exits(stop_loss=0.2))
    exits = result.config.account.exits
    assert (exits.stop_loss, exits.net_targets, exits.exit_profit_offset) == (0.2, True, 0.0)
    assert result.config.account.reentry == "while_signal"
    own = backtest(str(sample), frame, check=False, account=Account(reentry="new_signal"))
    assert own.config.account.reentry == "new_signal"


def test_every_form_of_the_strategy_trades_by_the_settings_of_its_file(sample: Path) -> None:
    frame = random_candles(400, seed=3, timeframe="4h").frame()
    cls = load_strategy_class(str(sample))
    by_file = backtest(str(sample), frame, check=False)
    kinds = set(by_file.trades["exit_kind"])
    assert {"target", "stop_loss"} <= kinds
    for given in (cls, cls(), load_strategy(str(sample)), strategy(str(sample))):
        result = backtest(given, frame, check=False)
        assert result.config.account == by_file.config.account
        pd.testing.assert_frame_equal(result.trades, by_file.trades)
    own = backtest(cls, frame, check=False, exits=Exits(stop_loss=0.5, roi_table={}))
    assert (own.config.account.exits.stop_loss, own.config.account.exits.target_table) == (0.5, {})


def test_a_class_of_the_installed_freqtrade_is_refused_with_advice() -> None:
    class Sample:
        def populate_indicators(self) -> None: ...

    given: Any = Sample
    with pytest.raises(UsageError, match=r"of a freqtrade class are read from its file; give the"):
        backtest(given, random_candles(10, seed=1).frame())


def test_max_open_trades_of_the_file_applies_in_python(sample: Path) -> None:
    sample.write_text(SAMPLE.replace("    stoploss", "    max_open_trades = 1\n    stoploss"))
    candles = [random_candles(400, seed=seed, timeframe="4h").frame() for seed in (3, 4)]
    frames: dict[str, pd.DataFrame] = {"BTC/USDT": candles[0], "ETH/USDT": candles[1]}
    for given in (str(sample), load_strategy_class(str(sample))):
        assert backtest(given, frames, check=False).config.max_open_trades == 1
        assert backtest(given, frames, check=False, max_open_trades=2).config.max_open_trades == 2


STARTUP = SAMPLE.replace("    stoploss", "    startup_candle_count = 60\n    stoploss")


def test_a_backtest_starts_after_the_startup_candles_of_the_series(sample: Path) -> None:
    frame = random_candles(400, seed=3, timeframe="4h").frame()
    whole = backtest(str(sample), frame, check=False)
    assert (whole.trades["entry_time"] < frame.index[60]).any()
    sample.write_text(STARTUP)
    moved = backtest(str(sample), frame, check=False)
    # A signal of the first candle that is decided on fills at the next one.
    given = backtest(str(sample), frame, check=False, start=frame.index[60])
    pd.testing.assert_frame_equal(moved.trades, given.trades)
    assert moved.equity.index[0] == frame.index[60]
    text = (
        "the range starts 60 candles later, 2024-01-11 00:00 UTC: the first candles of the series"
    )
    assert any(note.startswith(text) for note in moved.summary.notes)
    # Where the series begins before the range, nothing moves.
    later = backtest(str(sample), frame, check=False, start=frame.index[100])
    assert later.equity.index[0] == frame.index[100]


def test_a_range_inside_the_startup_candles_is_refused(sample: Path) -> None:
    sample.write_text(STARTUP)
    frame = random_candles(60, seed=3, timeframe="4h").frame()
    with pytest.raises(DataError, match=r"has 60 candles .* decides after the first 60 "):
        backtest(str(sample), frame, check=False)


def test_a_backtest_of_all_stored_candles_starts_after_the_startup_candles(
    backtest_json: Run, sample: Path
) -> None:
    sample.write_text(STARTUP.replace('"4h"', '"1h"'))
    done = backtest_json("-s", str(sample))
    # The database begins with the year.
    assert (done.document["warm_up"], done.document["from"]) == (60, 1_704_067_200 + 60 * 3_600)
    assert any("startup_candle_count" in note for note in done.document["notes"])


def test_settings_without_effect_are_named_by_line(sample: Path) -> None:
    lines = (
        '    order_types = {"entry": "limit"}\n    unfilledtimeout = {}\n'
        "    process_only_new_candles = True\n    ignore_buying_expired_candle_after = 60\n\n"
        "    @property\n    def plot_config(self):\n        return {}\n\n"
        "    class HyperOpt:\n        pass\n\n    stoploss"
    )
    sample.write_text(SAMPLE.replace("    stoploss", lines, 1))
    frame = random_candles(200, seed=3, timeframe="4h").frame()
    notes = backtest(str(sample), frame, check=False).summary.notes
    assert (
        "without effect here, of Sample.py: order_types (line 7), "
        "ignore_buying_expired_candle_after (line 10), plot_config (line 13), HyperOpt (line 16); "
        "docs/freqtrade.md#settings-without-effect has what counts instead"
    ) in notes
    sample.write_text(SAMPLE)
    assert not any("without effect" in one for one in backtest(str(sample), frame).summary.notes)


def test_a_watch_follows_a_file_with_invalid_settings(sample: Path) -> None:
    sample.write_text(SAMPLE.replace("stoploss = -0.08", "stoploss = 0.08"))
    assert find_chosen_strategy_file([f"--strategy={sample}"]) == sample
    assert find_chosen_strategy_file(["--strategy=rsi", "--cash=-5"]) == make_strategy_path("rsi")
    assert find_chosen_strategy_file(["--cash=-5"]) is None
