"""Bars of a long range that the bias check takes: a sample that depends on the candles, or all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
STRATEGY = ("--exchange", "simulator", "--strategy", "sma_cross")


@pytest.fixture
def check(backtester: Run, database: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that checks the 2,880 stored bars, of which 500 are very many."""
    del database
    monkeypatch.setattr("onetape.strategies.lookahead_check.MAX_BARS", 500)
    return lambda *arguments: backtester("check", *STRATEGY, *arguments)


def test_the_sample_of_a_long_range_is_printed_and_equal_in_every_run(check: Run) -> None:
    ended = check()
    first, second = ended.out.splitlines()
    moment = r"2024-\d\d-\d\d \d\d:00"
    assert re.fullmatch(
        rf"range: {moment} to {moment} UTC, chosen by the candles; all: --all", first
    )
    assert (ended.code, second) == (0, "bias check: passed on 500 of 2,880 bars")
    assert check().out == ended.out


def test_all_bars_are_checked_on_request(check: Run) -> None:
    assert check("--all").out == "bias check: passed, 2,880 bars\n"


def test_the_document_states_the_size_of_the_sample(check: Run) -> None:
    part, whole = (json.loads(check("--json", *more).out) for more in ((), ("--all",)))
    assert (part["bars_checked"], part["bars"]) == (500, 2_880)
    assert part["to"] - part["from"] == 499 * 3_600
    assert (whole["bars_checked"], whole["bars"]) == (2_880, 2_880)


def test_other_candles_give_another_sample(check: Run) -> None:
    assert check("--to", "2024-04-01").out.splitlines()[0] != check().out.splitlines()[0]
