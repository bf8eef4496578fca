"""Entry guards of a backtest: the commands of docs/rules.md, assumptions, notes and bad input."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
HOUR = 3_600
COUNTS = "trade_limit=1,lookback_period_candles=9,stop_duration_candles=99"


@pytest.fixture
def page(repository: Path) -> str:
    """Return the section of docs/rules.md on entry guards."""
    text = (repository / "docs" / "rules.md").read_text(encoding="utf-8")
    return text.partition("\n## Entry guards\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            0,
            "stoploss guard: 2 or more stops with a profit under 0.00% within 48 candles pause all "
            "entries for 24 candles",
        ),
        (
            1,
            "drawdown pause: a drawdown of summed profit ratios above 5.00% in 3 or more trades "
            "within 96 candles pause all entries for 24 candles",
        ),
        (
            2,
            "low-profit pairs: a summed profit ratio under 1.00% of 2 or more trades of one symbol "
            "within 72 candles pause its entries for 48 candles",
        ),
    ],
)
def test_flag_and_file_of_the_page_give_equal_trades_and_no_entry_in_a_pause(
    page: str, folder: Path, backtest_json: Run, number: int, words: str
) -> None:
    lines = re.findall(r"^    uv run backtester (.*)$", page, re.MULTILINE)
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    account, *guards = text.splitlines()
    (folder / "guards.yaml").write_text(
        f"{account}\n{guards[number]}\nexits:\n  stop_loss: 0.02\n", encoding="utf-8"
    )
    by_flags = backtest_json(*shlex.split(lines[number])).document
    by_file = backtest_json("--config", "guards.yaml").document
    assert len(lines) == len(guards) == 3
    assert by_flags["trades"] == by_file["trades"]
    assert by_flags["assumptions"]["entry guards"] == words
    title = words.partition(":")[0]
    (note,) = [one for one in by_flags["notes"] if one.startswith(f"{title}: entries paused after")]
    assert re.search(
        r"after \d+ exits?, the first in the candle of 2024-\d\d-\d\d \d\d:00 UTC", note
    )
    free = backtest_json("--stop-loss", "0.02").document
    assert 0 < len(by_flags["trades"]) < len(free["trades"])
    assert "entry guards" not in free["assumptions"]


def test_after_each_stop_nothing_is_entered_for_the_stated_candles(backtest_json: Run) -> None:
    found = backtest_json("--stop-loss", "0.01", "--stoploss-guard", COUNTS).document["trades"]
    stops = [one for one in found if one["exit_kind"] == "stop_loss"]
    assert len(stops) > 1
    for stop in stops:
        end = stop["exit_timestamp"] + 100 * HOUR
        assert not any(stop["exit_timestamp"] < one["entry_timestamp"] < end for one in found)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--stoploss-guard", "4"), "must be NAME=NUMBER joined by commas, such as trade_limit=4,"),
        (
            ("--stoploss-guard", "trade_limit=4"),
            "needs lookback_period_candles, stop_duration_",
        ),
        (("--drawdown-pause", COUNTS), "needs max_allowed_drawdown too"),
        (
            ("--low-profit-pairs", f"{COUNTS},required_profit=much"),
            "required_profit of low_profit_pairs must be a number from -1,000 to 1,000",
        ),
    ],
)
def test_invalid_guards_are_refused_in_one_line(
    backtester: Run, flags: tuple[str, ...], words: str
) -> None:
    ended = backtester(*flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert words in ended.err


def test_invalid_guards_in_a_file_are_refused_with_their_line(
    folder: Path, backtester: Run
) -> None:
    (folder / "mine.yaml").write_text("account:\n  stoploss_guard: 4\n", encoding="utf-8")
    ended = backtester("--config", "mine.yaml")
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "mine.yaml" in ended.err
    assert "stoploss_guard" in ended.err
