"""Settings of a freqtrade file in a form that cannot be read are refused, not ignored."""

from pathlib import Path

import pytest

from freqtrade_files import CROSS, write_cross, write_strategy
from onetape.core.errors import ConfigurationError
from onetape.strategies import load_strategy


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("    stoploss, trailing_stop = -0.1, True", "line 15: stoploss (write it as NAME"),
        ("    if True:\n        stoploss = -0.1", "line 16: stoploss (write it as NAME"),
        (
            "    if True:\n        def custom_exit(self, **kwargs):\n            return True",
            "line 16: custom_exit (write it as NAME",
        ),
        ("    async def custom_exit(self):\n        return True", "line 15: custom_exit (write"),
        ("    from other import custom_exit", "line 15: custom_exit (write it as NAME"),
        ("    custom_exit = print", "line 15: custom_exit (code per order or position)"),
        (
            "    def __init__(self, config):\n        self.stoploss = -0.1",
            "line 16: self.stoploss = ... (write it as NAME",
        ),
        (
            "    def bend(self):\n        setattr(self, 'minimal_roi', {})",
            "line 16: setattr of minimal_roi (write it as NAME",
        ),
    ],
)
def test_a_setting_in_a_form_that_cannot_be_read_is_refused(tmp_path: Path, extra: str, text: str):
    name = write_strategy(
        tmp_path, CROSS.replace("EXTRA", extra) + "\nraise RuntimeError('it ran')\n"
    )
    with pytest.raises(ConfigurationError, match="cannot run here") as raised:
        load_strategy(name)
    assert text in str(raised.value)


@pytest.mark.parametrize("base", ["Mixin, IStrategy", "IStrategy, mixins.Mixin"])
def test_a_base_class_of_another_file_is_refused_before_it_runs(tmp_path: Path, base: str):
    (tmp_path / "mixins.py").write_text("raise RuntimeError('it ran')\n")
    text = CROSS.replace("EXTRA", "").replace("(IStrategy)", f"({base})")
    name = write_strategy(tmp_path, f"import mixins\nfrom mixins import Mixin\n{text}")
    with pytest.raises(ConfigurationError, match=r"Mixin \(a base class that is not in this file"):
        load_strategy(name)


def test_a_base_class_of_the_same_file_is_read(tmp_path: Path):
    text = CROSS.replace("EXTRA", "").replace(
        "class Cross(", "class Mixin:\n    PLACE\n\n\nclass Cross(Mixin, "
    )
    loaded = load_strategy(
        f"{write_strategy(tmp_path, text.replace('PLACE', 'max_open_trades = 3'))}:Cross"
    )
    assert loaded.name == "Cross"
    with pytest.raises(ConfigurationError, match="can_short"):
        load_strategy(
            f"{write_strategy(tmp_path, text.replace('PLACE', 'can_short = True'))}:Cross"
        )


@pytest.mark.parametrize(
    ("after", "names"),
    [
        ("Cross.stoploss = -0.2", "stoploss"),
        ("setattr(Cross, 'trailing' + '_stop', True)", "trailing_stop"),
        ("Cross.can_short = True", "can_short"),
        ("Cross.custom_exit = lambda self: True", "custom_exit"),
        ("Cross.custom_entry_price = lambda self: 1", "custom_entry_price"),
        ("Cross.minimal_roi.clear(); del Cross.stoploss", "stoploss, minimal_roi"),
        (
            "Cross.protections = property(lambda self: [{'method': 'LowProfitPairs'}])",
            "protections",
        ),
    ],
)
def test_values_that_differ_after_loading_are_refused_by_name(
    tmp_path: Path, after: str, names: str
):
    extra = "    def custom_entry_price(self, **kwargs):\n        pass\n"
    name = write_strategy(tmp_path, CROSS.replace("EXTRA", extra) + f"\n\n{after}\n")
    with pytest.raises(ConfigurationError, match=f"class Cross has another {names} once it is"):
        load_strategy(name)


def test_a_setting_that_is_a_property_is_refused(tmp_path: Path):
    extra = "    @property\n    def max_open_trades(self):\n        return 3\n"
    with pytest.raises(ConfigurationError, match="has another max_open_trades once it is loaded"):
        load_strategy(write_cross(tmp_path, extra))


@pytest.mark.parametrize(
    "extra",
    [
        "    trailing_stop = False\n    trailing_stop_positive = abs(-0.1)",
        '    protections = ({"method": "CooldownPeriod", "stop_duration": 5},)',
        "    @property\n    def protections(self):\n"
        '        return [{"method": "CooldownPeriod", "stop_duration": 5}]',
        "    def custom_exit(self, **kwargs):\n        pass",
        "    def __init__(self, config):\n        super().__init__(config)\n        self.count = 0",
        "    limit = 3\n    max_open_trades = limit * 2",
    ],
)
def test_a_class_whose_loaded_values_equal_its_text_runs(tmp_path: Path, extra: str):
    assert load_strategy(write_cross(tmp_path, extra)).name == "Cross"
