"""Columns of a higher timeframe are aligned by time, and known only once their candle closed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freqtrade_files import CROSS, write_strategy
from onetape.core.errors import ConfigurationError
from onetape.strategies import evaluate_strategy, load_strategy
from onetape.strategies.freqtrade.informative import TIMEFRAME, merge_informative_pair
from onetape.strategies.testing import higher_of, random_candles, window_difference

HIGHER = """
    @informative("4h")
    def populate_indicators_4h(self, dataframe, metadata):
        dataframe["mean"] = dataframe["close"].rolling(3).mean()
        RETURN
"""
MEAN = 'dataframe["close"].rolling(20).mean()'


def load_written_strategy(tmp_path: Path, returned: str, timeframe: str = "4h"):
    text = CROSS.replace(
        "EXTRA", HIGHER.replace("RETURN", returned).replace('"4h"', f'"{timeframe}"')
    )
    text = text.replace(MEAN, f'dataframe["mean_{timeframe}"]').replace('"5m"', '"1h"')
    return load_strategy(write_strategy(tmp_path, text))


@pytest.mark.parametrize(
    "returned",
    [
        "return dataframe.dropna()",
        "return dataframe.iloc[2:].reset_index(drop=True)",
        'return dataframe.dropna().set_index("date", drop=False)',
    ],
)
def test_candles_that_a_method_drops_are_left_out_by_their_time(tmp_path: Path, returned: str):
    strategy = load_written_strategy(tmp_path, returned)
    candles = random_candles(900, seed=4)
    higher = higher_of(strategy, candles)
    expected = higher["4h"].as_of(pd.Series(higher["4h"].close).rolling(3).mean().to_numpy())
    signals = evaluate_strategy(strategy, candles, higher)
    np.testing.assert_array_equal(signals.indicators["mean_4h"], expected)


def test_a_method_of_the_traded_timeframe_may_drop_candles(tmp_path: Path):
    strategy = load_written_strategy(tmp_path, "return dataframe.dropna()", "1h")
    candles = random_candles(300, seed=4)
    signals = evaluate_strategy(strategy, candles)
    expected = pd.Series(candles.close).rolling(3).mean().to_numpy()
    np.testing.assert_array_equal(signals.indicators["mean_1h"], expected)


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("return dataframe.iloc[::-1]", "must keep its candles in the order of time, each once"),
        ("return dataframe.iloc[[*range(5), 4]]", "must keep its candles in the order of time"),
        ('return dataframe.drop(columns="date")', "must keep its column date"),
        (
            'dataframe["date"] += pd.Timedelta("10min"); return dataframe',
            "must keep the dates of its candles, found 2024",
        ),
    ],
)
def test_a_method_that_returns_other_candles_is_refused(tmp_path: Path, returned: str, text: str):
    imports = "import pandas as pd; "
    strategy = load_written_strategy(tmp_path, f"{imports}{returned}")
    candles = random_candles(400, seed=4)
    with pytest.raises(ConfigurationError, match=f"the frame of populate_indicators_4h {text}"):
        evaluate_strategy(strategy, candles, higher_of(strategy, candles))


def test_traded_candles_in_another_order_are_refused(tmp_path: Path):
    text = CROSS.replace("EXTRA", "").replace(
        "        return dataframe\n", "        return dataframe.iloc[::-1]\n", 1
    )
    strategy = load_strategy(write_strategy(tmp_path, text))
    with pytest.raises(ConfigurationError, match="the frame must keep its candles in the order"):
        evaluate_strategy(strategy, random_candles(300, seed=3))


def test_a_merge_by_another_timeframe_would_know_candles_early_and_is_refused(tmp_path: Path):
    extra = """
    def informative_pairs(self):
        return [(pair, "4h") for pair in self.dp.current_whitelist()]
"""
    text = CROSS.replace("EXTRA", extra).replace('"5m"', '"1h"')
    text = text.replace(
        "import DecimalParameter", "import merge_informative_pair, DecimalParameter"
    )
    merged = (
        'hours = self.dp.get_pair_dataframe(metadata["pair"], "4h")\n'
        "        dataframe = merge_informative_pair(dataframe, hours, OWN, HIGHER)\n"
        '        dataframe["fast"]'
    )
    text = text.replace('dataframe["fast"]', merged, 1)
    candles = random_candles(400, seed=4)
    for own, higher, refusal in (
        ('"1h"', '"4h"', None),
        ('"1h"', '"1h"', "timeframe_inf must be 4h for these candles, found 1h"),
        ('"4h"', '"4h"', "timeframe must be 1h for these candles, found 4h"),
    ):
        named = text.replace("OWN", own).replace("HIGHER", higher)
        name = write_strategy(tmp_path, named, f"own{own[1]}higher{higher[1]}.py")
        strategy = load_strategy(name)
        if refusal is None:
            assert window_difference(name, random_candles(620, seed=4)) is None
            continue
        with pytest.raises(ConfigurationError, match=refusal):
            evaluate_strategy(strategy, candles, higher_of(strategy, candles))


def make_base_and_hours() -> tuple[pd.DataFrame, pd.DataFrame]:
    base = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=9, freq="15min", tz="UTC")})
    hours = pd.date_range("2023-12-31 23:00", periods=3, freq="1h", tz="UTC")
    return base, pd.DataFrame({"date": hours, "close": [1.0, 2.0, 3.0]})


def test_candles_of_a_merge_may_come_in_any_order():
    base, hours = make_base_and_hours()
    merged = merge_informative_pair(base, hours.iloc[::-1], "15m", "1h")
    assert merged["close_1h"].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0]


def test_a_column_that_is_there_already_is_not_replaced():
    base, hours = make_base_and_hours()
    merged = merge_informative_pair(base, hours, "15m", "1h")
    with pytest.raises(ValueError, match="already has a column date_1h"):
        merge_informative_pair(merged, hours, "15m", "1h")


def test_the_merged_frame_is_still_known_by_its_timeframe():
    base, hours = make_base_and_hours()
    base.attrs[TIMEFRAME] = "15m"
    merged = merge_informative_pair(base, hours, "15m", "1h")
    hours = hours.rename(columns={"close": "other"})
    with pytest.raises(ValueError, match="timeframe must be 15m for these candles, found 1h"):
        merge_informative_pair(merged, hours, "1h", "1h")
