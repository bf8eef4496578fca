"""Trading hours of a backtest: the commands of docs/rules.md, the notes, and bad input."""

import re
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store

Run = Callable[..., Any]
DAY, START = 86_400, 1_704_067_200
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def page(repository: Path) -> str:
    """Return the section of docs/rules.md on trading hours."""
    text = (repository / "docs" / "rules.md").read_text(encoding="utf-8")
    return text.partition("\n## Trading hours\n")[2].partition("\n## ")[0]


def test_flags_and_file_of_the_page_give_the_same_trades_within_the_hours(
    page: str, folder: Path, backtest_json: Run
) -> None:
    (line,) = re.findall(r"^    uv run backtester (.*)$", page, re.MULTILINE)
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "hours.yaml").write_text(text, encoding="utf-8")
    by_flags = backtest_json(*shlex.split(line)).document
    by_file = backtest_json("--config", "hours.yaml").document
    assert by_flags["trades"] == by_file["trades"]
    words = "entries in candles that open in 08:00-22:00, mon-fri, Europe/Berlin; exits always"
    assert by_flags["assumptions"]["trading hours"] == words
    entered = [datetime.fromtimestamp(one["entry_timestamp"], BERLIN) for one in by_flags["trades"]]
    assert len(entered) > 5
    assert {moment.weekday() for moment in entered} <= {0, 1, 2, 3, 4}
    assert {moment.hour for moment in entered} <= {*range(8, 22)}
    left = [
        datetime.fromtimestamp(one["exit_timestamp"], BERLIN) for one in by_flags["trades"][:-1]
    ]
    assert any(moment.weekday() > 4 or not 8 <= moment.hour < 22 for moment in left)


def test_without_trading_hours_the_assumptions_have_no_line_of_them(backtest_json: Run) -> None:
    assert "trading hours" not in backtest_json().document["assumptions"]


def test_trading_hours_in_which_no_candle_opens_print_a_note(
    database: Path, backtest_json: Run
) -> None:
    key = SeriesKey("simulator", "BTC/USDT", "1d")
    bars = SimulatedMarket(DEFAULT_SEED).get_candles("BTC/USDT", "1d", START, START + 200 * DAY)
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
    with open_store(database, create=False) as store:
        insert_closed_rows(store, key, rows, source="rest", seen_ms=0)
    flags = (
        "--timeframe",
        "1d",
        "--strategy",
        "sma_cross",
        "--param",
        "fast=5",
        "--param",
        "slow=9",
    )
    note = "nothing was entered: no candle opens in the trading hours 08:00-22:00, UTC"
    closed = backtest_json(*flags, "--trading-hours", "08:00-22:00").document
    assert closed["trades"] == []
    assert note in closed["notes"]
    opened = backtest_json(*flags, "--trading-hours", "22:00-08:00").document
    assert opened["trades"]
    assert opened["trades"] == backtest_json(*flags).document["trades"]
    assert not any("trading hours" in text for text in opened["notes"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trading-hours", "8-22"), "must be HH:MM-HH:MM from 00:00 to 24:00, several"),
        (("--trading-hours", "22:00"), "such as 08:00-22:00 or 08:00-12:00,13:00-17:30, found"),
        (("--trading-days", "weekdays"), "such as mon-fri or sat,sun, found 'weekdays'"),
        (
            ("--trading-days", "mon", "--trading-timezone", "Europe/Berlim"),
            "'Europe/Berlim' is not known; write a name such as UTC or Europe/Berlin",
        ),
        (("--trading-timezone", "Europe/Berlin"), "needs trading_hours or trading_days"),
    ],
)
def test_invalid_trading_hours_are_refused_in_one_line(
    backtester: Run, flags: tuple[str, ...], words: str
) -> None:
    ended = backtester(*flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert words in ended.err


def test_invalid_trading_hours_in_a_file_are_refused_with_their_line(
    folder: Path, backtester: Run
) -> None:
    (folder / "mine.yaml").write_text("account:\n  trading_hours: 8-22\n", encoding="utf-8")
    ended = backtester("--config", "mine.yaml")
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "mine.yaml" in ended.err
    assert "trading_hours must be HH:MM-HH:MM" in ended.err
