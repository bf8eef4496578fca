"""`backtester check`, its line in every backtest, and higher timeframes, in the terminal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biased_strategies import BIASED_STRATEGIES, FAILING, make_strategy_source
from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.store.candles import insert_columns
from onetape.store.database import open_store
from onetape.strategies import sampled_check

Run = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("check_sampled_bars")
SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, indicators


@dataclass(frozen=True)
class Own(Strategy):
    name: ClassVar[str] = "own"
    higher_timeframes = {higher}

    @property
    def lookback(self):
        return 20

    def evaluate(self, candles, higher):
        line = {line}
        signal = np.nan_to_num(np.sign(candles.close - line)).astype(np.int8)
        return Signals(signal, {{"line": line}})
"""
BIASED = "np.append(candles.close[1:], 0.0)"
SHORT = "indicators.sma(candles.close, 160)"
DAILY = "higher['1d'].as_of(indicators.sma(higher['1d'].close, 3))"
PEEKING = (
    "higher['1d'].close[np.searchsorted(higher['1d'].timestamp, candles.timestamp, 'right') - 1]"
)


@pytest.fixture
def write_own_strategy(folder: Path) -> Callable[..., str]:
    """Return a function that writes user/strategies/own.py and returns its name."""

    def write(line: str, higher: tuple[str, ...] = ()) -> str:
        path = folder / "user" / "strategies" / "own.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE.format(line=line, higher=higher), encoding="utf-8")
        return "own"

    return write


@pytest.fixture
def check(backtester: Run, database: Path) -> Run:
    """Return a function that checks a strategy on the simulator's candles."""
    del database

    def run(*arguments: str) -> Any:
        return backtester("check", "--exchange", "simulator", *arguments)

    return run


def test_the_check_of_a_clean_strategy_prints_one_line(check: Run) -> None:
    ended = check("--strategy", "sma_cross", "--param", "slow=30", "--from", "2024-02-01")
    assert (ended.code, ended.out, ended.err) == (0, "bias check: passed, 2,136 bars\n", "")


def test_look_ahead_exits_with_6_and_names_the_first_bar(
    check: Run, write_own_strategy: Callable[..., str]
) -> None:
    ended = check("--strategy", write_own_strategy(BIASED))
    assert ended.code == 6
    assert ended.out.startswith("bias check: ")
    assert "bars differ, first 2024-01-01 0" in ended.out
    assert "later candles change the past" in ended.out
    assert ended.err.startswith("backtester: strategy own on simulator BTC/USDT 1h: look-ahead on ")
    assert "shift(-1)" in ended.err


def test_a_short_lookback_is_reported_with_the_smallest_that_agrees(
    check: Run, write_own_strategy: Callable[..., str]
) -> None:
    ended = check("--strategy", write_own_strategy(SHORT))
    assert ended.code == 6
    assert "smallest lookback that agrees: 160 (now 100)\n" in ended.out
    assert "warm-up" in ended.err


def test_a_check_with_json_prints_one_document(
    check: Run, write_own_strategy: Callable[..., str]
) -> None:
    ended = check("--strategy", write_own_strategy(SHORT), "--json")
    document = json.loads(ended.out)
    assert (ended.code, document["clean"]) == (6, False)
    assert document["smallest"] == {"lookback": 160}
    assert document["first"]["kind"] == "warm-up"
    assert document["bars"] == document["bars_checked"] == 2_880


def test_a_backtest_of_a_long_range_prints_the_result_of_a_sampled_check(
    backtest_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled_check, "WHOLE_BARS", 2_879)
    found = backtest_json("--param", "period=9").document["check"]
    assert (found["clean"], found["bars_checked"], found["bars"]) == (True, 200, 2_880)
    assert found["text"] == (
        "passed on a sample of 200 of 2,880 bars; all: uv run backtester check --exchange "
        "simulator --strategy rsi --param period=9"
    )


@pytest.mark.usefixtures("check_all_bars")
def test_every_backtest_prints_the_result_of_its_check(
    backtest_json: Run, write_own_strategy: Callable[..., str]
) -> None:
    assert backtest_json("--param", "period=9").document["check"] == {
        "text": "passed, 2,880 bars",
        "clean": True,
        "bars_checked": 2_880,
        "bars": 2_880,
        "differing": 0,
        "first_bad_bar": None,
        "kind": None,
    }
    biased = backtest_json("--strategy", write_own_strategy(BIASED)).document["check"]
    assert (biased["clean"], biased["kind"]) == (False, "look-ahead")
    assert biased["differing"] > 0
    assert f"DIFFER, first {format_utc(biased['first_bad_bar'])} UTC" in biased["text"]
    assert "(look-ahead): do not trust this result" in biased["text"]


def test_an_unchecked_backtest_is_printed_as_unchecked(backtest_json: Run) -> None:
    printed = backtest_json("--no-check").document["check"]
    assert (printed["clean"], printed["bars_checked"], printed["first_bad_bar"]) == (None, 0, None)
    assert printed["text"] == (
        "not run; run: uv run backtester check --exchange simulator --strategy rsi"
    )


@pytest.mark.usefixtures("check_all_bars")
def test_a_check_of_several_symbols_checks_each_of_them(
    backtest_json: Run, write_own_strategy: Callable[..., str], database: Path
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume, closed, source) SELECT exchange, 'ETH/USDT', timeframe, timestamp, "
            "open, high, low, close, volume, closed, source FROM ohlcv_data"
        )
    flags = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    clean = backtest_json(*flags).document["check"]
    assert (clean["clean"], clean["bars_checked"], clean["bars"]) == (True, 5_760, 5_760)
    assert clean["text"].count("passed, 2,880 bars") == 2
    biased = backtest_json(*flags, "--strategy", write_own_strategy(BIASED)).document["check"]
    assert (biased["clean"], biased["kind"]) == (False, "look-ahead")
    assert backtest_json(*flags, "--no-check").document["check"]["clean"] is None


def test_a_check_refuses_what_a_backtest_refuses(check: Run) -> None:
    ended = check("--from", "2030-01-01")
    assert (ended.code, ended.out) == (4, "")
    assert "nothing is stored of simulator BTC/USDT 1h from 2030-01-01" in ended.err


def test_an_unknown_flag_of_check_is_named(check: Run) -> None:
    ended = check("--stratgy", "rsi")
    assert ended.code == 2
    assert "No such option: --stratgy" in ended.err


def test_higher_timeframe_candles_are_built_from_stored_candles_and_the_result_states_this(
    backtest_json: Run, check: Run, write_own_strategy: Callable[..., str]
) -> None:
    document = backtest_json(
        "--strategy", write_own_strategy(DAILY, ("1d",)), "--from", "2024-02-01"
    ).document
    assert document["assumptions"]["1d candles"] == (
        "0 stored, 120 built from a lower timeframe; each is used once it has closed"
    )
    assert document["trades"]
    assert check("--strategy", "own").code == 0


def test_stored_candles_of_the_higher_timeframe_are_used_unchanged(
    backtest_json: Run, write_own_strategy: Callable[..., str], database: Path, candles: Candles
) -> None:
    built = backtest_json("--strategy", write_own_strategy(DAILY, ("1d",))).document
    with open_store(database, create=False) as store:
        days = resample(candles, Timeframe.parse("1h"), Timeframe.parse("1d"))
        insert_columns(
            store, SeriesKey("simulator", "BTC/USDT", "1d"), days[:100], source="rest", seen_ms=1
        )
    stored = backtest_json("--strategy", "own").document
    assert stored["assumptions"]["1d candles"].startswith("100 stored, 20 built")
    assert stored["trades"] == built["trades"]


def test_a_day_that_has_not_closed_is_seen_by_the_check(
    check: Run, write_own_strategy: Callable[..., str]
) -> None:
    ended = check(
        "--strategy",
        write_own_strategy(f"{PEEKING} if len(higher['1d']) else candles.close", ("1d",)),
    )
    assert ended.code == 6
    assert "look-ahead" in ended.err


def test_a_timeframe_that_is_not_higher_is_refused(
    backtest_json: Run, write_own_strategy: Callable[..., str]
) -> None:
    ended = backtest_json("--strategy", write_own_strategy("candles.close", ("15m",)))
    assert ended.code == 2
    assert "strategy own needs 15m candles: 15m candles are not made of whole 1h" in ended.err


def delete_hour_30(database: Path, candles: Candles) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        hour = int(candles.timestamp[30])
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp = ?", (hour,))


def test_a_day_that_is_missing_in_the_warm_up_is_printed(
    backtest_json: Run, write_own_strategy: Callable[..., str], database: Path, candles: Candles
) -> None:
    delete_hour_30(database, candles)
    notes = backtest_json(
        "--strategy", write_own_strategy(DAILY, ("1d",)), "--from", "2024-01-10"
    ).document["notes"]
    assert any("1d candles missing, first from 2023-" in note for note in notes)


def test_a_day_over_an_unexplained_gap_is_not_built(
    backtest_json: Run, write_own_strategy: Callable[..., str], database: Path, candles: Candles
) -> None:
    delete_hour_30(database, candles)
    document = backtest_json(
        "--strategy", write_own_strategy(DAILY, ("1d",)), "--allow-gaps"
    ).document
    assert document["assumptions"]["1d candles"].startswith("0 stored, 119 built")


@pytest.fixture
def write_biased_strategy(folder: Path) -> Callable[[str], str]:
    """Return a function that writes a biased strategy, and returns its name."""

    def write(body: str) -> str:
        path = folder / "user" / "strategies" / "biased.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make_strategy_source(body), encoding="utf-8")
        return "biased"

    return write


#: One of each kind; tests/packages/strategies/test_biased_strategies.py has all of them.
SOME_BIASES = (
    "look-ahead in the first bars",
    "NumPy's random numbers",
    "the second",
    "state of its module",
    "a short warm-up",
)


@pytest.mark.parametrize("how", SOME_BIASES)
def test_a_backtest_and_a_full_check_report_look_ahead_by_the_same_name(
    backtest_json: Run, check: Run, write_biased_strategy: Callable[[str], str], how: str
) -> None:
    body, kind = BIASED_STRATEGIES[how]
    name = write_biased_strategy(body)
    found = backtest_json("--strategy", name, "--fee", "0").document["check"]
    assert (found["clean"], found["kind"]) == (False, kind)
    assert f"({kind})" in found["text"]
    ended = check("--strategy", name)
    assert ended.code == 6
    assert f"{kind}: " in ended.out
    assert f": {kind} on " in ended.err


def test_a_check_reports_a_failure_and_the_look_ahead_behind_it(
    check: Run, write_biased_strategy: Callable[[str], str]
) -> None:
    ended = check("--strategy", write_biased_strategy(FAILING))
    assert ended.code == 6
    assert "30 of 2,880 bars fail, first 2024-01-01 00:00 UTC: fails: " in ended.out
    assert "later candles change the past" in ended.out
    assert "fails on 30 bars" in ended.err
    assert ", and look-ahead on " in ended.err
