"""Columns of a higher timeframe are aligned by time, and known only once their candle closed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freqtrade_files import CROSS, write_strategy
from onetape.core.errors import ConfigurationError
from onetape.core.timeframes import Timeframe
from onetape.strategies import Market, align_higher_candles, evaluate_strategy, load_strategy
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


OTHER_PAIRS = """
    @informative("1h")
    def populate_indicators_1h(self, dataframe, metadata):
        dataframe["mean"] = dataframe["close"].rolling(3).mean()
        return dataframe

    @informative("4h", "BTC/{stake}")
    def populate_indicators_btc(self, dataframe, metadata):
        assert metadata == {"pair": "BTC/USDT", "timeframe": "4h"}
        dataframe["mean"] = dataframe["close"].rolling(3).mean()
        return dataframe

    @informative("1h", "{base}/BTC", "{column}_{BASE}_of_{asset}")
    def populate_indicators_ratio(self, dataframe, metadata):
        dataframe["mean"] = dataframe["close"].rolling(5).mean()
        return dataframe
"""


def test_columns_of_other_pairs_are_known_once_their_candle_has_closed(tmp_path: Path):
    mean = 'dataframe["close"].rolling(20).mean()'
    text = CROSS.replace("EXTRA", OTHER_PAIRS).replace(mean, 'dataframe["btc_usdt_mean_4h"]')
    name = write_strategy(tmp_path, text.replace('"5m"', '"1h"'))
    strategy = load_strategy(name)
    markets = (Market("BTC/{quote}", "4h"), Market("{base}/BTC", "1h"))
    assert (strategy.higher_timeframes, strategy.informative) == ((), markets)
    candles = random_candles(900, seed=4)
    higher = higher_of(strategy, candles, symbol="ETH/USDT")
    found = evaluate_strategy(strategy, candles, higher).indicators
    for label, candles_of, column, count in (
        ("BTC/{quote} 4h", "BTC/USDT", "btc_usdt_mean_4h", 3),
        ("{base}/BTC 1h", "ETH/BTC", "mean_ETH_of_ETH/BTC", 5),
    ):
        assert higher[label].symbol == candles_of
        means = pd.Series(higher[label].close).rolling(count).mean().to_numpy()
        np.testing.assert_array_equal(found[column], higher[label].as_of(means))
    own = pd.Series(candles.close).rolling(3).mean().to_numpy()
    np.testing.assert_array_equal(found["mean_1h"], own)
    assert window_difference(name, random_candles(1_100, seed=4)) is None


PAIRS = """
    def informative_pairs(self):
        return [("BTC/USDT", "4h"), *[(pair, "4h") for pair in self.dp.current_whitelist()]]
"""


def test_pairs_of_the_data_provider_are_those_that_the_strategy_returns(tmp_path: Path):
    merged = (
        'btc = self.dp.get_pair_dataframe("BTC/USDT", "4h")\n'
        '        btc["other"] = btc["close"]\n'
        "        dataframe = merge_informative_pair(\n"
        '            dataframe, btc[["date", "other"]], "1h", "4h"\n'
        "        )\n"
        '        dataframe["fast"]'
    )
    text = CROSS.replace("EXTRA", PAIRS).replace('"5m"', '"1h"')
    text = text.replace('dataframe["fast"]', merged, 1)
    text = text.replace(
        "import DecimalParameter", "import merge_informative_pair, DecimalParameter"
    )
    strategy = load_strategy(write_strategy(tmp_path, text))
    assert strategy.higher_timeframes == ("4h",)
    assert strategy.informative == (Market("BTC/USDT", "4h"),)
    candles = random_candles(400, seed=4)
    higher = higher_of(strategy, candles)
    found = evaluate_strategy(strategy, candles, higher).indicators["other_4h"]
    leader = higher["BTC/USDT 4h"]
    np.testing.assert_array_equal(found, leader.as_of(leader.close))


def test_a_frame_of_another_pair_in_the_traded_timeframe_has_the_same_rows(tmp_path: Path):
    pairs = PAIRS.replace('[("BTC/USDT", "4h"), *', '[("BTC/USDT", "1h"), *')
    read = (
        'dataframe["btc"] = self.dp.get_pair_dataframe("BTC/USDT", "1h")["close"]\n'
        '        dataframe["fast"]'
    )
    text = CROSS.replace("EXTRA", pairs).replace('"5m"', '"1h"')
    strategy = load_strategy(write_strategy(tmp_path, text.replace('dataframe["fast"]', read, 1)))
    hour, known = Timeframe.parse("1h"), random_candles(500, seed=4)
    candles, other = known[100:], random_candles(500, seed=5)
    # The other market has 100 candles from before the first traded one.
    leader = align_higher_candles(candles, hour, other, hour, "BTC/USDT")
    higher = {**higher_of(strategy, candles), "BTC/USDT 1h": leader}
    found = evaluate_strategy(strategy, candles, higher).indicators["btc"]
    np.testing.assert_array_equal(found, other.close[100:])


def test_a_pair_that_the_strategy_does_not_return_has_no_candles(tmp_path: Path):
    text = CROSS.replace("EXTRA", PAIRS).replace('"5m"', '"1h"')
    read = 'self.dp.get_pair_dataframe("SOL/USDT", "4h")\n        dataframe["fast"]'
    strategy = load_strategy(write_strategy(tmp_path, text.replace('dataframe["fast"]', read, 1)))
    candles = random_candles(400, seed=4)
    refusal = r"informative_pairs\(\) must return \('SOL/USDT', '4h'\)"
    with pytest.raises(ConfigurationError, match=refusal):
        evaluate_strategy(strategy, candles, higher_of(strategy, candles))


def test_a_column_that_is_named_by_an_unknown_part_is_refused(tmp_path: Path):
    extra = (
        '    @informative("1h", "BTC/{stake}", "{pair}_{column}")\n'
        "    def i(self, df, m):\n        return df"
    )
    known = "fmt may use column, timeframe, asset, base and quote alone"
    with pytest.raises(ConfigurationError, match=known):
        load_strategy(write_strategy(tmp_path, CROSS.replace("EXTRA", extra)))
