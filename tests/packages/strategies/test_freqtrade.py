"""A freqtrade strategy file runs as it is: signals, parameters, settings and refusals."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freqtrade_files import CROSS, write_cross, write_strategy
from onetape.core.errors import ConfigurationError, UsageError
from onetape.strategies import BUY, SELL, collect_parameters, evaluate_strategy, load_strategy
from onetape.strategies.freqtrade import qtpylib
from onetape.strategies.freqtrade.adapter import REQUEST_CANDLES
from onetape.strategies.freqtrade.informative import merge_informative_pair
from onetape.strategies.registry import read_stated_settings
from onetape.strategies.testing import higher_of, random_candles, window_difference


def test_signals_are_those_of_the_columns_that_the_file_fills(tmp_path: Path):
    candles = random_candles(600, seed=3)
    signals = evaluate_strategy(load_strategy(write_cross(tmp_path)), candles)
    close = pd.Series(candles.close)
    over = close.rolling(5).mean() - close.rolling(20).mean()
    up, down = (over > 0) & (over.shift() <= 0), (over < 0) & (over.shift() >= 0)
    expected = (up.astype(int) - down.astype(int)).where(up.index >= 30, 0)
    assert signals.signal.tolist() == expected.tolist()
    assert {signals.get_reason_text(bar) for bar in np.flatnonzero(expected == 1).tolist()} == {
        "up"
    }
    assert signals.overlays == {"fast", "slow"}


def test_an_entry_and_an_exit_on_one_candle_are_no_signal(tmp_path: Path):
    text = CROSS.replace("EXTRA", "").replace(
        'dataframe.loc[qtpylib.crossed_below(dataframe["fast"], dataframe["slow"]), "exit_long"]',
        'dataframe["exit_long"]',
    )
    signals = evaluate_strategy(
        load_strategy(write_strategy(tmp_path, text)), random_candles(300, seed=3)
    )
    assert not (signals.signal == BUY).any()
    assert (signals.signal == SELL).any()


def test_exit_signals_can_be_switched_off(tmp_path: Path):
    name = write_cross(tmp_path, "    use_exit_signal = False")
    signals = evaluate_strategy(load_strategy(name), random_candles(300, seed=3))
    assert (signals.signal == BUY).any()
    assert not (signals.signal == SELL).any()


def test_the_older_name_of_the_switch_for_exit_signals_works(tmp_path: Path):
    name = write_cross(tmp_path, "    use_sell_signal = False")
    signals = evaluate_strategy(load_strategy(name), random_candles(300, seed=3))
    assert (signals.signal == BUY).any()
    assert not (signals.signal == SELL).any()


def test_a_candle_with_entry_and_exit_enters_nothing_even_if_exit_signals_are_off(tmp_path: Path):
    text = CROSS.replace("EXTRA", "    use_exit_signal = False").replace(
        'dataframe.loc[qtpylib.crossed_below(dataframe["fast"], dataframe["slow"]), "exit_long"]',
        'dataframe["exit_long"]',
    )
    signals = evaluate_strategy(
        load_strategy(write_strategy(tmp_path, text)), random_candles(300, seed=3)
    )
    assert not signals.signal.any()


def test_parameters_of_the_file_are_parameters_of_the_strategy(tmp_path: Path):
    name = write_cross(tmp_path, '    buy_params = {"fast": 7}')
    found = {
        one.name: (one.default, one.ge, one.le) for one in collect_parameters(load_strategy(name))
    }
    assert found == {"fast": (7, 2.0, 20.0), "width": (1.5, 0.5, 3.0)}
    candles = random_candles(400, seed=5)
    slower = evaluate_strategy(load_strategy(name, {"fast": "15"}), candles).signal
    assert slower.tolist() != evaluate_strategy(load_strategy(name), candles).signal.tolist()
    with pytest.raises(UsageError, match="fast must be 2 to 20, found 21"):
        load_strategy(name, {"fast": "21"})


def test_the_window_is_that_of_a_request_or_longer_if_the_file_states_so(tmp_path: Path):
    assert load_strategy(write_cross(tmp_path)).lookback == REQUEST_CANDLES
    longer = CROSS.replace("EXTRA", "").replace(" = 30", " = 1500")
    # The startup candles, and the one that is decided on.
    assert load_strategy(write_strategy(tmp_path, longer, "longer.py")).lookback == 1_501


def test_the_startup_candles_of_a_series_give_no_signal(tmp_path: Path):
    candles = random_candles(600, seed=3)
    texts = [CROSS.replace("EXTRA", "").replace(" = 30", f" = {count}") for count in (0, 200)]
    names = [write_strategy(tmp_path, text, f"of_{at}.py") for at, text in enumerate(texts)]
    every, later = (evaluate_strategy(load_strategy(name), candles).signal for name in names)
    assert every[:200].any()
    assert not later[:200].any()
    assert later[200:].tolist() == every[200:].tolist()


def test_a_window_of_many_startup_candles_gives_the_signal_of_all_candles(tmp_path: Path):
    text = CROSS.replace("EXTRA", "").replace(" = 30", " = 1100")
    strategy, candles = load_strategy(write_strategy(tmp_path, text)), random_candles(1_300, seed=9)
    whole = evaluate_strategy(strategy, candles).signal
    signalling = np.flatnonzero(whole)[:8]
    assert len(signalling) == 8
    for bar in signalling.tolist():
        window = candles[bar + 1 - strategy.lookback : bar + 1]
        assert evaluate_strategy(strategy, window).signal[-1] == whole[bar]


def test_a_window_gives_the_signal_of_all_candles(tmp_path: Path):
    strategy, candles = load_strategy(write_cross(tmp_path)), random_candles(1_300, seed=9)
    whole = evaluate_strategy(strategy, candles).signal
    signalling = np.flatnonzero(whole[REQUEST_CANDLES:])[:8] + REQUEST_CANDLES
    for bar in [*signalling.tolist(), len(candles) - 1]:
        window = candles[bar + 1 - REQUEST_CANDLES : bar + 1]
        assert evaluate_strategy(strategy, window).signal[-1] == whole[bar]


def test_look_ahead_in_a_file_is_found(tmp_path: Path):
    text = CROSS.replace("EXTRA", "").replace(".rolling(20)", ".shift(-1).rolling(20)")
    found = window_difference(write_strategy(tmp_path, text), random_candles(120, seed=9))
    assert found is not None
    assert "look-ahead" in found


HIGHER = """
    @informative("4h")
    def populate_indicators_4h(self, dataframe, metadata):
        dataframe["mean"] = dataframe["close"].rolling(3).mean()
        return dataframe
"""


def test_informative_columns_are_known_once_their_candle_has_closed(tmp_path: Path):
    mean = 'dataframe["close"].rolling(20).mean()'
    text = CROSS.replace("EXTRA", HIGHER).replace(mean, 'dataframe["mean_4h"]')
    strategy = load_strategy(write_strategy(tmp_path, text.replace('"5m"', '"1h"')))
    assert strategy.higher_timeframes == ("4h",)
    candles = random_candles(900, seed=4)
    hours = higher_of(strategy, candles)["4h"]
    expected = hours.as_of(pd.Series(hours.close).rolling(3).mean().to_numpy())
    signals = evaluate_strategy(strategy, candles, {"4h": hours})
    np.testing.assert_array_equal(signals.indicators["mean_4h"], expected)


def test_a_merged_pair_is_known_once_its_candle_has_closed():
    base = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=9, freq="15min", tz="UTC")})
    hours = pd.date_range("2023-12-31 23:00", periods=3, freq="1h", tz="UTC")
    other = pd.DataFrame({"date": hours, "close": [1.0, 2.0, 3.0]})
    merged = merge_informative_pair(base, other, "15m", "1h")
    # The candle of 00:00 has closed when that of 00:45 closes.
    assert merged["close_1h"].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0]
    once = merge_informative_pair(base, other, "15m", "1h", ffill=False)
    assert np.flatnonzero(once["close_1h"].notna()).tolist() == [3, 7]
    named = merge_informative_pair(base, other, "15m", "1h", append_timeframe=False, suffix="x")
    assert named["close_x"].tolist() == merged["close_1h"].tolist()


def test_settings_are_read_without_running_the_file(tmp_path: Path):
    text = CROSS.replace("EXTRA", "    exit_profit_only = True\n    exit_profit_offset = 0.01")
    name = write_strategy(tmp_path, f"raise RuntimeError\n{text}")
    found = read_stated_settings(name)
    assert found is not None
    assert found.values == {
        "timeframe": "5m",
        "exits.stop_loss": 0.10,
        "exits.target_table": {0: 0.04, 12: 0.01},
        "exits.net_targets": True,
        "exits.exit_profit_offset": 0.01,
        "account.reentry": "while_signal",
    }
    assert found.place("exits.stop_loss").endswith("cross.py, line 12")


@pytest.mark.parametrize(
    ("extra", "settings"),
    [
        ("trailing_stop = True", {"exits.trailing_stop": 0.10}),
        (
            "trailing_stop = True\n    trailing_stop_positive = 0.02\n"
            "    trailing_stop_positive_offset = 0.03\n    trailing_only_offset_is_reached = True",
            {"exits.trailing_stop": 0.02, "exits.trailing_offset": 0.03},
        ),
        (
            "trailing_stop = True\n    trailing_stop_positive = 0.02\n"
            "    trailing_stop_positive_offset = 0.03",
            {
                "exits.trailing_stop": 0.02,
                "exits.trailing_offset": 0.03,
                "exits.trailing_stop_before_offset": 0.10,
            },
        ),
        (
            'protections = [{"method": "CooldownPeriod", "stop_duration_candles": 4}]',
            {"account.cooldown_bars": 4},
        ),
        (
            # 12 minutes are 2 candles and a part; a lock ends with the open of a candle.
            'protections = [{"method": "CooldownPeriod", "stop_duration": 12}]',
            {"account.cooldown_bars": 2},
        ),
        (
            'protections = [{"method": "CooldownPeriod", "stop_duration": 15}]',
            {"account.cooldown_bars": 3},
        ),
        (
            'protections = [{"method": "CooldownPeriod", "stop_duration": 4}]',
            {"account.cooldown_bars": 0},
        ),
        ('protections = [{"method": "CooldownPeriod"}]', {"account.cooldown_bars": 12}),
        (
            'protections = [{"method": "CooldownPeriod", "stop_duration_candles": 4}, '
            '{"method": "CooldownPeriod", "stop_duration": 12}]',
            {"account.cooldown_bars": 4},
        ),
        (
            'protections = [{"method": "StoplossGuard"}]',
            {
                "account.stoploss_guard": "trade_limit=10,lookback_period_candles=12,"
                "stop_duration_candles=12,required_profit=0.0,only_per_pair=no"
            },
        ),
        (
            'protections = [{"method": "StoplossGuard", "trade_limit": 4, "only_per_pair": True, '
            '"lookback_period_candles": 24, "stop_duration_candles": 6, "only_per_side": True}]',
            {
                "account.stoploss_guard": "trade_limit=4,lookback_period_candles=24,"
                "stop_duration_candles=6,required_profit=0.0,only_per_pair=yes"
            },
        ),
        (
            # 12 minutes are 2 candles and a part; a lock ends with the open of a candle.
            'protections = [{"method": "MaxDrawdown", "trade_limit": 20, "lookback_period": 12, '
            '"stop_duration": 12, "max_allowed_drawdown": 0.2}]',
            {
                "account.drawdown_pause": "trade_limit=20,lookback_period_candles=3,"
                "stop_duration_candles=2,max_allowed_drawdown=0.2"
            },
        ),
        (
            'protections = [{"method": "LowProfitPairs", "required_profit": 0.02}, '
            '{"method": "CooldownPeriod", "stop_duration_candles": 4}]',
            {
                "account.low_profit_pairs": "trade_limit=1,lookback_period_candles=12,"
                "stop_duration_candles=12,required_profit=0.02",
                "account.cooldown_bars": 4,
            },
        ),
        ("sell_profit_only = True", {"exits.exit_profit_offset": 0.0}),
        ('minimal_roi = {"0": 0.1, "31": -1}', {"exits.time_stop_bars": 7}),
        ("max_open_trades = 3", {"max_open_trades": 3}),
    ],
)
def test_each_attribute_becomes_its_setting(
    tmp_path: Path, extra: str, settings: dict[str, object]
):
    found = read_stated_settings(write_cross(tmp_path, f"    {extra}"))
    assert found is not None
    assert {key: found.values[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("    can_short = True", "line 15: can_short (short positions)"),
        (
            "    def custom_exit(self, pair, trade, **kwargs):\n        return True",
            "line 15: custom_exit (code per order or position)",
        ),
        (
            "    use_custom_stoploss = True\n    def custom_stoploss(self):\n        return 1",
            "line 16: custom_stoploss (a stop that code moves per position)",
        ),
        ("    def help(self):\n        self.dp.ticker('BTC/USDT')", "line 16: self.dp.ticker"),
        ("    def help(self):\n        return self.wallets", "line 16: self.wallets"),
        (
            '    @informative("1h", candle_type="mark")\n    def i(self, df, m):\n        pass',
            "line 15: @informative with candle_type",
        ),
        (
            "    def help(self, df):\n        return qtpylib.chopiness(df)",
            "line 16: qtpylib.chopiness",
        ),
        ("    ignore_roi_if_entry_signal = True", "line 15: ignore_roi_if_entry_signal"),
        (
            "    def min_roi_reached(self, trade, profit, now):\n        return True",
            "line 15: min_roi_reached (a method of freqtrade itself)",
        ),
        ("    def help(self):\n        self.lock_pair('a', 1)", "line 16: self.lock_pair (locks"),
        ("    def help(self):\n        return self.freqai", "line 16: self.freqai (FreqAI)"),
    ],
)
def test_a_feature_without_an_equivalent_is_refused_by_name_and_line(
    tmp_path: Path, extra: str, text: str
):
    name = write_strategy(
        tmp_path, CROSS.replace("EXTRA", extra) + "\nraise RuntimeError('it ran')\n"
    )
    with pytest.raises(ConfigurationError, match="cannot run here") as raised:
        load_strategy(name)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("stoploss = -0.10", "stoploss = 0.10", "line 11: stoploss must be a number under 0"),
        (
            "stoploss = -0.10",
            "stoploss = abs(-1)",
            "line 11: stoploss cannot be read without",
        ),
        ('timeframe = "5m"', "", "line 7: class Cross states no timeframe"),
        ('timeframe = "5m"', 'timeframe = "5x"', "line 9: timeframe '5x' was not understood"),
        ('"60": 0.01', '"one": 0.01', "line 10: minimal_roi must be minutes and fractions"),
        (
            "EXTRA",
            'protections = [{"method": "TradingTime"}]',
            "line 15: protection TradingTime has no equivalent here, CooldownPeriod, StoplossGuard",
        ),
        (
            "EXTRA",
            'protections = [{"method": "MaxDrawdown"}, {"method": "MaxDrawdown"}]',
            "line 15: a second MaxDrawdown has no equivalent here, one has; take it out",
        ),
        (
            "EXTRA",
            'protections = [{"method": "MaxDrawdown", "calculation_mode": "equity"}]',
            "line 15: calculation_mode of MaxDrawdown has no equivalent here",
        ),
        (
            "EXTRA",
            'protections = [{"method": "StoplossGuard", "unlock_at": "20:00"}]',
            "line 15: unlock_at of StoplossGuard has no equivalent here",
        ),
        (
            "EXTRA",
            'protections = [{"method": "StoplossGuard", "stop_duration": 4}]',
            "protections must be with a stop_duration of StoplossGuard that is not under a candle",
        ),
        (
            "EXTRA",
            'protections = [{"method": "LowProfitPairs", "trade_limit": "2"}]',
            "protections must be with durations and trade_limit of LowProfitPairs in whole numbers",
        ),
        (
            "EXTRA",
            'protections = [{"method": "LowProfitPairs", "required_profit": "much"}]',
            "protections must be with numbers in LowProfitPairs",
        ),
        (
            "EXTRA",
            'protections = [{"method": "CooldownPeriod", "unlock_at": "20:00"}]',
            "line 15: unlock_at of CooldownPeriod has no equivalent here",
        ),
        (
            "EXTRA",
            'protections = [{"method": "CooldownPeriod", "stop_duration": "12"}]',
            "line 15: protections must be with a duration in whole numbers",
        ),
    ],
)
def test_an_invalid_setting_is_reported_with_its_line(
    tmp_path: Path, old: str, new: str, text: str
):
    indented = CROSS.replace("EXTRA", "    EXTRA").replace(old, new).replace("EXTRA", "")
    with pytest.raises(ConfigurationError) as raised:
        read_stated_settings(write_strategy(tmp_path, indented))
    assert text in str(raised.value)


def test_a_file_of_parameters_next_to_the_strategy_is_refused(tmp_path: Path):
    name = write_cross(tmp_path)
    (tmp_path / "cross.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"cross\.json next to it replaces values"):
        load_strategy(name)


def test_candles_of_futures_of_another_pair_are_refused(tmp_path: Path):
    extra = '    def informative_pairs(self):\n        return [("ETH/USDT", "1h", "mark")]'
    with pytest.raises(ConfigurationError, match="informative_pairs names candles of mark"):
        load_strategy(write_cross(tmp_path, extra))


def test_of_several_classes_one_must_be_named(tmp_path: Path):
    other = "\n\nclass Other(Cross):\n    stoploss = -0.2\n"
    name = write_strategy(tmp_path, CROSS.replace("EXTRA", "") + other, "two.py")
    with pytest.raises(UsageError, match="several freqtrade strategies"):
        load_strategy(name)
    assert load_strategy(f"{name}:Other").name == "Other"
    found = read_stated_settings(f"{name}:Other")
    assert found is not None
    assert found.values["exits.stop_loss"] == 0.2
    with pytest.raises(UsageError, match="did you mean 'Other'"):
        load_strategy(f"{name}:Othre")


def test_an_installed_freqtrade_is_neither_used_nor_replaced(tmp_path: Path):
    before = {name for name in sys.modules if name.partition(".")[0] == "freqtrade"}
    load_strategy(write_cross(tmp_path))
    assert {name for name in sys.modules if name.partition(".")[0] == "freqtrade"} == before


def test_heikin_ashi_and_bands_have_values_from_the_first_candle_on():
    frame = random_candles(60, seed=2).frame().reset_index(drop=True)
    bands = qtpylib.bollinger_bands(frame["close"], window=20, stds=2)
    assert bands["mid"].iloc[4] == pytest.approx(frame["close"].iloc[:5].mean())
    assert bands["upper"].iloc[30] == pytest.approx(
        frame["close"].iloc[11:31].mean() + 2 * frame["close"].iloc[11:31].std()
    )
    candles = qtpylib.heikinashi(frame)
    assert candles["open"].iloc[0] == (frame["open"].iloc[0] + frame["close"].iloc[0]) / 2
    assert candles["open"].iloc[1] == (candles["open"].iloc[0] + candles["close"].iloc[0]) / 2
