"""`backtester optimize --param exits.stop_loss=...`: settings of account and exits are tried."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.clock import format_utc

Run = Callable[..., Any]
Document = dict[str, Any]
STRATEGY = ("-s", "sma_cross", "--param", "fast=5", "--param", "slow=20")
ALL = ("--min-trades", "0")
#: Two stoploss guards.
GUARD = "trade_limit=1,lookback_period_candles=48,stop_duration_candles=24"
LONG_GUARD = "trade_limit=2,lookback_period_candles=240,stop_duration_candles=120"
#: Settings that are tried, and the flags of a backtest with the first and the second value.
TRIED = {
    "exits.stop_loss=0.01,0.03": (("--stop-loss", "0.01"), ("--stop-loss", "0.03")),
    "exits.take_profit=0.01:0.03:0.02": (("--take-profit", "0.01"), ("--take-profit", "0.03")),
    "exits.time_stop_bars=5:9:4": (("--time-stop", "5"), ("--time-stop", "9")),
    "exits.target_table=0=2%,24h=0.5%|0=1%": (
        ("--roi-table", "0=2%,24h=0.5%"),
        ("--roi-table", "0=1%"),
    ),
    "account.sizing=equity_share=0.5,volatility_target=0.2": (
        ("--sizing", "equity_share=0.5"),
        ("--sizing", "volatility_target=0.2"),
    ),
    "account.cooldown_bars=0,12": (("--cooldown", "0"), ("--cooldown", "12")),
    "account.reentry=new_signal,while_signal": (
        ("--reentry", "new_signal"),
        ("--reentry", "while_signal"),
    ),
    "account.trading_hours=08:00-12:00,14:00-22:00|00:00-06:00": (
        ("--trading-hours", "08:00-12:00,14:00-22:00"),
        ("--trading-hours", "00:00-06:00"),
    ),
    f"account.stoploss_guard={GUARD}|{LONG_GUARD}": (
        ("--stoploss-guard", GUARD),
        ("--stoploss-guard", LONG_GUARD),
    ),
}


@pytest.fixture
def refused(backtester: Run, database: Path) -> Callable[..., str]:
    """Return a function that optimizes with arguments that are refused; it returns the line."""
    del database

    def run(*arguments: str) -> str:
        ended = backtester("optimize", "--exchange", "simulator", *STRATEGY, *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        return ended.err

    return run


@pytest.mark.parametrize("text", TRIED)
def test_both_parts_equal_backtests_with_the_same_flags_bit_for_bit(
    optimize: Run, backtest_json: Run, text: str
) -> None:
    stop = () if text.startswith("exits.stop_loss") else ("--stop-loss", "0.02")
    found = optimize(*STRATEGY, *ALL, *stop, "--param", text, "--from", "2024-01-20")
    name = text.partition("=")[0]
    results = found["results"]
    assert len(results) == 2
    values = {str(result["parameters"][name]) for result in results}
    assert values == {flags[1] for flags in TRIED[text]}
    for flags in TRIED[text]:
        [result] = [one for one in results if str(one["parameters"][name]) == flags[1]]
        for part in ("in_sample", "out_of_sample"):
            ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
            alone = backtest_json(*STRATEGY, *stop, *flags, "--from", ends[0], "--to", ends[1])
            assert alone.document["metrics"] == result[part]


def test_the_command_and_the_saved_run_of_the_best_have_its_settings(
    optimize: Run, backtest_json: Run
) -> None:
    tried = ("--param", "exits.stop_loss=0.01,0.03", "--param", "exits.net_targets=yes")
    sizing = ("--param", "account.sizing=equity_share=0.25,equity_share=0.5")
    target = ("--take-profit", "0.05")
    found = optimize(*STRATEGY, *ALL, *tried, *sizing, *target)
    words = shlex.split(found["command"])[3:]
    best = found["results"][0]["parameters"]
    assert ["--sizing", best["account.sizing"], "--net-targets"] == [
        words[words.index("--sizing")], words[words.index("--sizing") + 1], "--net-targets"
    ]  # fmt: skip
    typed = backtest_json(*words).document
    run = Path(found["folder"]).name
    taken = backtest_json_with_note(backtest_json, "--params-from", run, *target)
    assert taken["metrics"] == typed["metrics"]
    all_in = ("--sizing", "all_in")
    replaced = backtest_json_with_note(backtest_json, "--params-from", run, *target, *all_in)
    assert replaced["metrics"] == backtest_json(*words, *all_in).document["metrics"]


def backtest_json_with_note(backtest_json: Run, *arguments: str) -> Document:
    """Return the document of a backtest that notes on stderr where its parameters come from."""
    ended = backtest_json(*arguments)
    assert (ended.code, ended.err.count("exits.stop_loss=")) == (0, 1), ended.err
    return json.loads(ended.out)


def test_a_constraint_may_compare_settings_and_parameters(optimize: Run) -> None:
    stops = ("--param", "exits.stop_loss=0.01,0.02", "--param", "exits.take_profit=0.015,0.03")
    found = optimize(*STRATEGY, *ALL, *stops, "--constraint", "exits.take_profit > exits.stop_loss")
    pairs = [tuple(one["parameters"].values())[2:] for one in found["results"]]
    assert sorted(pairs) == [(0.01, 0.015), (0.01, 0.03), (0.02, 0.03)]
    assert found["invalid"] == 1


def test_contradictory_settings_are_counted_as_invalid_combinations(optimize: Run) -> None:
    kinds = ("--param", "account.sizing=all_in,risk_per_trade=0.01")
    found = optimize(*STRATEGY, *ALL, *kinds)
    assert [one["parameters"]["account.sizing"] for one in found["results"]] == ["all_in"]
    assert found["invalid"] == 1


def test_numbers_of_a_guard_are_tried_one_by_one_and_the_account_has_the_others(
    optimize: Run, backtest_json: Run
) -> None:
    stop = ("--stop-loss", "0.02", "--stoploss-guard", GUARD)
    tried = ("--param", "account.stoploss_guard.stop_duration_candles=24:96:72")
    found = optimize(*STRATEGY, *ALL, *stop, *tried, "--from", "2024-01-20")
    ends = [format_utc(found["in_sample"][end]).replace(" ", "T") for end in ("from", "to")]
    metrics = {
        one["parameters"]["account.stoploss_guard.stop_duration_candles"]: one["in_sample"]
        for one in found["results"]
    }
    assert [*sorted(metrics)] == [24, 96]
    assert metrics[24] != metrics[96]
    for duration, in_sample in metrics.items():
        guard = GUARD.replace("stop_duration_candles=24", f"stop_duration_candles={duration}")
        flags = ("--stop-loss", "0.02", "--stoploss-guard", guard)
        alone = backtest_json(*STRATEGY, *flags, "--from", ends[0], "--to", ends[1])
        assert alone.document["metrics"] == in_sample


def test_the_command_of_the_best_has_the_whole_guard(optimize: Run, backtest_json: Run) -> None:
    numbers = ("trade_limit=2,3", "lookback_period_candles=96", "stop_duration_candles=24")
    bound = "max_allowed_drawdown=0.01"
    given = [f"account.drawdown_pause.{one}" for one in (*numbers, bound)]
    params = [word for one in given for word in ("--param", one)]
    found = optimize(*STRATEGY, *ALL, *params)
    limit = found["results"][0]["parameters"]["account.drawdown_pause.trade_limit"]
    words = shlex.split(found["command"])[3:]
    guard = words[words.index("--drawdown-pause") + 1]
    assert guard == f"trade_limit={limit},{numbers[1]},{numbers[2]},{bound}"
    taken = backtest_json("--params-from", Path(found["folder"]).name)
    assert json.loads(taken.out)["metrics"] == backtest_json(*words).document["metrics"]


def test_an_account_without_the_guard_may_be_tried(optimize: Run, backtest_json: Run) -> None:
    tried = ("--param", f"account.stoploss_guard=none|{LONG_GUARD}")
    stop = ("--stop-loss", "0.02")
    found = optimize(*STRATEGY, *ALL, *stop, *tried, "--from", "2024-01-20")
    ends = [format_utc(found["in_sample"][end]).replace(" ", "T") for end in ("from", "to")]
    [without] = [
        one["in_sample"]
        for one in found["results"]
        if one["parameters"]["account.stoploss_guard"] == "none"
    ]
    alone = backtest_json(*STRATEGY, *stop, "--from", ends[0], "--to", ends[1])
    assert alone.document["metrics"] == without


def test_a_constraint_may_name_numbers_of_a_guard(optimize: Run) -> None:
    guard = "account.stoploss_guard"
    tried = ("--stoploss-guard", GUARD, "--param", f"{guard}.lookback_period_candles=24,48")
    durations = ("--param", f"{guard}.stop_duration_candles=24,48")
    rule = f"{guard}.stop_duration_candles < {guard}.lookback_period_candles"
    found = optimize(*STRATEGY, *ALL, *tried, *durations, "--constraint", rule)
    assert (len(found["results"]), found["invalid"]) == (1, 3)


def test_a_random_search_draws_any_value_of_a_range(optimize: Run) -> None:
    draws = ("--sampler", "random", "--trials", "6", "--param", "exits.stop_loss=0.01:0.1")
    found = optimize(*STRATEGY, *ALL, *draws)
    stops = {one["parameters"]["exits.stop_loss"] for one in found["results"]}
    assert len(stops) == 6
    assert all(0.01 <= stop <= 0.1 for stop in stops)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exits.stop_loss=0.02,2", ("exits.stop_loss must be above 0 and under 1", "found 2")),
        ("exits.stop_los=0.02", ("exits.stop_los cannot be tried", "did you mean")),
        ("account.fee_rate=0,0.001", ("account.fee_rate cannot be tried",)),
        ("account.sizing=all_in=3,all_in", ("sizing must be", "'all_in=3'")),
        ("account.sizing=equity_share=2,all_in", ("equity_share must be", "found 2")),
        ("account.reentry=always,new_signal", ("account.reentry must be one of", "'always'")),
        ("exits.target_table=0.02|0.03", ("target_table must be written like", "'0.02'")),
        ("exits.time_stop_bars=1.5,2", ("exits.time_stop_bars must be a whole number", "'1.5'")),
        ("account.trading_hours=8-12|9-13", ("trading_hours",)),
        (
            "account.stoploss_guard=trade_limit=2|trade_limit=3",
            ("account.stoploss_guard needs lookback_period_candles, stop_duration_candles too",),
        ),
        (
            "account.stoploss_guard.trade_limit=2:6:2",
            (
                "account.stoploss_guard needs lookback_period_candles, stop_duration_candles too",
                "--stoploss-guard",
            ),
        ),
        (
            "account.stoploss_guard.trade_limits=2",
            ("account.stoploss_guard has no number 'trade_limits'", "did you mean 'trade_limit'?"),
        ),
    ],
)
def test_an_invalid_search_space_prints_one_line(
    refused: Callable[..., str], text: str, words: tuple[str, ...]
) -> None:
    line = refused("--param", text)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("account.stoploss_guard.trade_limit=0,2", ("trade_limit must be", "found '0'")),
        ("account.stoploss_guard.trade_limit=1.5", ("must be a whole number", "'1.5'")),
        ("account.stoploss_guard.only_per_pair=2", ("only_per_pair must be yes or no", "'2'")),
        ("account.stoploss_guard=none|" + LONG_GUARD, ("none cannot be tried", GUARD)),
    ],
)
def test_what_cannot_be_tried_of_a_guard_is_one_line(
    refused: Callable[..., str], text: str, words: tuple[str, ...]
) -> None:
    line = refused("--stoploss-guard", GUARD, "--param", text)
    assert all(word in line for word in words), line


def test_a_guard_is_given_as_a_whole_or_by_its_numbers(refused: Callable[..., str]) -> None:
    whole = ("--param", f"account.stoploss_guard={GUARD}|{LONG_GUARD}")
    line = refused(*whole, "--param", "account.stoploss_guard.trade_limit=2,3")
    assert "account.stoploss_guard.trade_limit are both given" in line


def test_a_walk_forward_refuses_settings_of_the_account(refused: Callable[..., str]) -> None:
    line = refused("--walk-forward", "40d/20d", "--param", "exits.stop_loss=0.01,0.02")
    assert "exits.stop_loss is a setting of the account" in line
