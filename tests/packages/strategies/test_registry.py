"""Strategies by name and from users' files, and errors of invalid files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError, DataError, OnetapeError, UsageError
from onetape.strategies import (
    collect_parameters,
    compute_strategy_digest,
    evaluate_strategy,
    list_strategy_names,
    load_strategy,
)

OWN = '''
from dataclasses import dataclass
from typing import ClassVar

from onetape.strategies import Signals, Strategy, indicators, parameter


@dataclass(frozen=True)
class Mine(Strategy):
    """Buys above an average."""

    name: ClassVar[str] = "mine"
    period: int = parameter(5, ge=2, le=500, help="Bars of the average.")

    @property
    def lookback(self) -> int:
        return self.period + 1

    def evaluate(self, candles, higher):
        average = indicators.sma(candles.close, self.period)
        signal = indicators.crosses(candles.close, average, candles.close * indicators.NOISE)
        return Signals(signal, {"average": average}, overlays=frozenset({"average"}))
'''


@pytest.fixture
def user(tmp_path: Path) -> Path:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mine.py").write_text(OWN)
    return tmp_path


@pytest.fixture
def candles() -> Candles:
    close = 100.0 + np.sin(np.arange(100.0))
    timestamp = np.arange(100, dtype=np.int64) * 3_600
    return Candles.from_columns(timestamp, close, close, close, close, close)


def write_broken_strategy(user: Path, old: str, new: str) -> str:
    path = user / "strategies" / "mine.py"
    path.write_text(OWN.replace(old, new))
    return f"{path}:Mine"


def test_names_are_those_of_built_in_strategies_and_users_files(user: Path):
    built_in = ("bollinger", "buy_and_hold", "donchian", "ema_cross", "macd", "rsi", "sma_cross")
    (user / "strategies" / "test_mine.py").write_text("")
    assert list_strategy_names(user) == (*built_in, "mine")


def test_a_users_file_works_by_name_and_by_path(user: Path, candles: Candles):
    path = user / "strategies" / "mine.py"
    named = load_strategy("mine", {"period": "7"}, user)
    by_class = load_strategy(f"{path}:Mine", {"period": 7})
    assert evaluate_strategy(named, candles).signal.any()
    assert repr(named) == repr(by_class) == repr(load_strategy(str(path), {"period": 7}))


def test_a_file_that_is_not_requested_does_not_run(user: Path):
    (user / "strategies" / "other.py").write_text("raise SystemExit('ran')")
    load_strategy("mine", {}, user)
    assert "other" in list_strategy_names(user)


def test_a_second_save_within_the_same_second_is_loaded(user: Path):
    first = load_strategy("mine", {}, user)
    before = compute_strategy_digest(first)
    second = load_strategy(write_broken_strategy(user, "parameter(5,", "parameter(6,"), {})
    assert collect_parameters(second)[0].default == 6
    assert compute_strategy_digest(second) != before


def test_two_loads_have_the_same_sha256_digest():
    one, other = (compute_strategy_digest(load_strategy("rsi", {"period": n})) for n in (5, 6))
    assert one == other
    assert len(bytes.fromhex(one)) == 32


def test_parameters_have_type_default_bounds_and_help():
    period = collect_parameters(load_strategy("rsi"))[0]
    assert (period.name, period.type, period.default) == ("period", int, 14)
    assert (period.allowed, period.help) == ("2 to 500", "Bars of Wilder's averages.")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rsj", "strategy 'rsj' does not exist; did you mean 'rsi'? (there are: bollinger,"),
        ("../mine", "does not exist"),
        ("nowhere.py:Mine", "strategy file nowhere.py does not exist"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(user: Path, name: str, text: str):
    with pytest.raises(UsageError) as caught:
        load_strategy(name, {}, user)
    assert text in str(caught.value)


def test_an_unknown_class_name_is_refused_with_those_in_the_file(user: Path):
    with pytest.raises(UsageError, match=r"no strategy class 'Mime'; did you mean 'Mine'\?"):
        load_strategy(f"{user / 'strategies' / 'mine.py'}:Mime", {})


def test_a_users_file_with_the_name_of_a_built_in_strategy_is_refused(user: Path):
    (user / "strategies" / "rsi.py").write_text(OWN)
    with pytest.raises(UsageError, match="'rsi' is built in and also"):
        load_strategy("rsi", {}, user)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("class Mine(Strategy):", "class Mine(Strategy:", "mine.py, line 9: SyntaxError"),
        ("from typing", "import nothing_here\nfrom typing", "mine.py, line 3: ModuleNotFound"),
        (
            "from typing",
            "import talib_no\nfrom typing",
            "`uv pip install talib_no` (in an image: docs/packages.md), or correct the import",
        ),
        ("from typing", "import onetape.nothing\nfrom typing", "'onetape.nothing'; fix the file"),
        ("@dataclass(frozen=True)", "", "write @dataclass(frozen=True) above the class"),
        ('    name: ClassVar[str] = "mine"\n', "", 'write name: ClassVar[str] = "mine" into it'),
        ("def lookback", "def look", "it must define lookback"),
        ("period: int = p", "period: list = p", "parameter period has type"),
        ("parameter(5, ge=2, le=500, help", "None  # ", "period must be a whole number"),
    ],
)
def test_an_unusable_file_is_reported_with_place_and_remedy(
    user: Path, old: str, new: str, text: str
):
    with pytest.raises(OnetapeError) as caught:
        load_strategy(write_broken_strategy(user, old, new), {})
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("new", "text"),
    [
        ("1 / 0", "failed on the 100 candles up to 1970-01-05 03:00: ZeroDivisionError"),
        ("return None", "strategy mine returned NoneType; return Signals(...)"),
        ("return Signals(candles.close[1:], {})", "signals of shape (99,) for 100 candles"),
        ("return Signals(candles.close * float('nan'), {})", "signal nan on the candle 1970-01-01"),
        (
            "return Signals((candles.close > 100) * 2, {})",
            "signal 2 on the candle 1970-01-01 01:00",
        ),
        ("return Signals(candles.close > 100, {})", "signals of type bool"),
        ("return Signals(['BUY'] * 100, {})", "signals of type <U3"),
        (
            "return Signals(candles.timestamp * 0, {'x': candles.close[:5]})",
            "indicator 'x' of shape (5,) for 100 candles",
        ),
    ],
)
def test_an_invalid_signal_of_a_strategy_is_refused_by_name_and_bar(
    user: Path, candles: Candles, new: str, text: str
):
    strategy = load_strategy(
        write_broken_strategy(user, "average = ", f"{new}\n        average = "), {}
    )
    with pytest.raises(ConfigurationError) as caught:
        evaluate_strategy(strategy, candles)
    assert text in str(caught.value)


def test_a_failure_names_the_line_of_the_users_file(user: Path, candles: Candles):
    strategy = load_strategy(
        write_broken_strategy(user, "average = ", "[][1]\n        average = "), {}
    )
    with pytest.raises(ConfigurationError, match=r"mine\.py, line 20\); fix it there"):
        evaluate_strategy(strategy, candles)


def test_whole_signals_of_another_type_become_int8(user: Path, candles: Candles):
    strategy = load_strategy(
        write_broken_strategy(user, "Signals(signal,", "Signals(signal * 1.0,"), {}
    )
    assert evaluate_strategy(strategy, candles).signal.dtype == np.int8


def test_a_stored_price_that_is_not_a_number_is_reported_with_its_candle(candles: Candles):
    candles.close[7] = np.nan
    with pytest.raises(DataError, match="candle 1970-01-01 07:00 UTC: its close is not a number"):
        evaluate_strategy(load_strategy("rsi"), candles)


def test_no_candles_are_an_error_that_names_the_backfiller():
    with pytest.raises(DataError, match="backfill"):
        evaluate_strategy(load_strategy("rsi"), Candles.make_empty())


def test_the_public_package_imports_no_heavy_module():
    code = (
        "import sys, onetape.strategies, onetape.engine; "
        "print([m for m in ('pandas', 'talib', 'numba', 'ccxt', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
