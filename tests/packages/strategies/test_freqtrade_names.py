"""Parts of freqtrade are recognised by any import name, and refused."""

from pathlib import Path

import pytest

from freqtrade_files import CROSS, write_cross, write_strategy
from onetape.core.errors import ConfigurationError
from onetape.strategies import load_strategy
from onetape.strategies.registry import read_stated_settings

_IMPORTS = "from freqtrade.strategy import DecimalParameter, IntParameter, IStrategy, informative\n"
_WITHOUT_BASE = _IMPORTS.replace("IStrategy, ", "")


@pytest.mark.parametrize(
    ("imports", "base"),
    [
        (_IMPORTS.replace("IStrategy", "IStrategy as Base"), "Base"),
        (f"{_WITHOUT_BASE}import freqtrade.strategy as fs\n", "fs.IStrategy"),
        (f"{_WITHOUT_BASE}import freqtrade.strategy\n", "freqtrade.strategy.IStrategy"),
        (f"{_WITHOUT_BASE}from freqtrade import strategy\n", "strategy.IStrategy"),
        (f"{_IMPORTS}Base = IStrategy\n", "Base"),
        (f"{_WITHOUT_BASE}import freqtrade.strategy as fs\nBase = fs.IStrategy\n", "Base"),
        ("from freqtrade.strategy import *\n", "IStrategy"),
    ],
)
def test_the_base_class_is_recognised_by_any_name(tmp_path: Path, imports: str, base: str):
    text = CROSS.replace("EXTRA", "").replace(_IMPORTS, imports)
    name = write_strategy(tmp_path, text.replace("(IStrategy)", f"({base})"))
    assert load_strategy(name).name == "Cross"
    found = read_stated_settings(name)
    assert found is not None
    assert found.values["exits.stop_loss"] == 0.10


def test_a_class_of_the_file_with_the_name_of_the_base_class_is_not_the_base_class(tmp_path: Path):
    text = "# from freqtrade\nclass IStrategy:\n    pass\n\n\nclass Own(IStrategy):\n    pass\n"
    assert read_stated_settings(write_strategy(tmp_path, text)) is None


@pytest.mark.parametrize(
    ("imports", "extra", "text"),
    [
        (
            "import freqtrade.strategy as fs",
            '    @fs.informative("1h", candle_type="mark")\n    def i(self, df, m):\n        pass',
            "line 16: @informative with candle_type",
        ),
        (
            "from freqtrade.strategy import informative as renamed",
            '    @renamed("1h", candle_type="mark")\n    def i(self, df, m):\n        return df',
            "line 16: @informative with candle_type",
        ),
        (
            "import freqtrade.vendor.qtpylib.indicators as qtp",
            "    def help(self, df):\n        return qtp.chopiness(df)",
            "line 17: qtp.chopiness (not written here yet)",
        ),
        (
            "from freqtrade.persistence import Trade as T",
            "    def help(self, df):\n        return T.get_trades([])",
            "line 17: T.get_trades (freqtrade's database)",
        ),
        (
            "import freqtrade.persistence as db",
            "    def help(self, df):\n        return db.Trade.get_trades([])",
            "line 17: db.Trade.get_trades (freqtrade's database)",
        ),
        (
            "import freqtrade.data.metrics",
            "",
            "line 1: import freqtrade.data.metrics (not written here)",
        ),
        (
            "import freqtrade.strategy as fs",
            "    def help(self, df):\n        return fs.stoploss_from_nowhere(df)",
            "line 17: fs.stoploss_from_nowhere (not written here yet)",
        ),
    ],
)
def test_parts_of_freqtrade_are_refused_by_any_name(
    tmp_path: Path, imports: str, extra: str, text: str
):
    content = f"{imports}\n{CROSS.replace('EXTRA', extra)}\nraise RuntimeError('it ran')\n"
    with pytest.raises(ConfigurationError, match="cannot run here") as raised:
        load_strategy(write_strategy(tmp_path, content))
    assert text in str(raised.value)


def test_a_function_of_the_file_is_read_too(tmp_path: Path):
    content = CROSS.replace("EXTRA", "") + "\n\ndef help(df):\n    return qtpylib.chopiness(df)\n"
    with pytest.raises(ConfigurationError, match=r"line 33: qtpylib\.chopiness"):
        load_strategy(write_strategy(tmp_path, content))


def test_candles_of_futures_are_refused_even_if_the_text_does_not_show_it(tmp_path: Path):
    extra = (
        '    renamed = globals()["informative"]\n\n'
        '    @renamed("1h", candle_type="mark")\n    def i(self, df, m):\n        return df'
    )
    with pytest.raises(ConfigurationError, match="only spot candles are there, found mark"):
        load_strategy(write_cross(tmp_path, extra))


@pytest.mark.parametrize("asset", ["BTC/{coin}", "BTC/{}"])
def test_an_asset_of_an_unknown_name_is_refused(tmp_path: Path, asset: str):
    extra = f'    @informative("1h", "{asset}")\n    def i(self, df, m):\n        return df'
    with pytest.raises(ConfigurationError, match="asset may use stake, base and quote alone"):
        load_strategy(write_cross(tmp_path, extra))


def test_names_of_columns_by_the_pair_are_refused(tmp_path: Path):
    extra = (
        '    @informative("1h", fmt="{base}_{column}")\n    def i(self, df, m):\n        return df'
    )
    with pytest.raises(ConfigurationError, match="fmt may use column and timeframe alone"):
        load_strategy(write_cross(tmp_path, extra))


@pytest.mark.parametrize(
    ("lines", "is_refused"),
    [
        ('if metadata["pair"] == "BTC/USDT":\n            return df', True),
        ('pair = metadata["pair"]\n        if pair != "BTC/USDT":\n            return df', True),
        ('if metadata["pair"] in ("BTC/USDT", "ETH/USDT"):\n            return df', True),
        ('if metadata["pair"].startswith("BTC"):\n            return df', True),
        ('if metadata["pair"] not in self.seen:\n            self.seen = {}', False),
        ('print(metadata["pair"], f"{metadata["pair"]}")', False),
    ],
)
def test_a_decision_by_the_name_of_the_pair_is_refused(
    tmp_path: Path, lines: str, is_refused: bool
):
    lines = lines.replace('f"{metadata["pair"]}"', "f\"{metadata['pair']}\"")
    extra = f"    seen = {{}}\n\n    def help(self, df, metadata):\n        {lines}\n"
    name = write_cross(tmp_path, extra)
    if not is_refused:
        assert load_strategy(name).name == "Cross"
        return
    with pytest.raises(ConfigurationError, match=r"line 1[89]: .*does not know its symbol"):
        load_strategy(name)
