"""`backtester optimize`: combinations and their order; metrics equal those of backtests."""

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.clock import format_utc
from onetape.optimization.folder import RESULTS
from programs import Program

#: Runs the program; gives code, out, err, and the document of --json.
Run = Callable[..., Any]
Document = dict[str, Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=10,30")

FRAGILE = """
import os, time
from dataclasses import dataclass
from typing import ClassVar
from onetape.core.errors import UsageError
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class Fragile(Strategy):
    name: ClassVar[str] = "fragile"
    period: int = parameter(5, ge=1, le=50)

    def __post_init__(self):
        super().__post_init__()
        if self.period == 4:
            raise UsageError("period must not be 4")

    @property
    def lookback(self):
        return self.period + 1

    def evaluate(self, candles, higher):
        time.sleep(SLEEP)
        if self.period == 7:
            raise RuntimeError("seven is unlucky")
        if self.period == 9:
            os._exit(3)
        average = indicators.sma(candles.close, self.period)
        return Signals(indicators.crosses(candles.close, average, 0.0), {})
"""


def write_fragile_strategy(folder: Path, sleep: str = "0") -> str:
    """Write a strategy that fails for some parameters; return its name for --strategy."""
    path = folder / "fragile.py"
    path.write_text(FRAGILE.replace("SLEEP", sleep))
    return f"{path}:Fragile"


def write_stalling_strategy(folder: Path) -> str:
    """Write one that stalls at a period of 30 until the folder has a file `go on`."""
    may_go_on = f"os.path.exists({str(folder / 'go on')!r})"
    return write_fragile_strategy(folder, f"0.01 if self.period < 30 or {may_go_on} else 600")


def count_trials(found: Document) -> Document:
    """Return the numbers of trials and looks."""
    return {name: count for name, count in found["trials"].items() if name != "repeated"}


def read_result_lines(folder: str | Path) -> list[Document]:
    """Return the results that are kept."""
    return [json.loads(line) for line in (Path(folder) / RESULTS).read_text().splitlines()]


@pytest.mark.parametrize("part", ["in_sample", "out_of_sample"])
def test_the_metrics_of_each_part_equal_a_backtest_of_the_part_bit_for_bit(
    optimize: Run, backtest_json: Run, part: str
) -> None:
    found = optimize(*GRID, "--from", "2024-01-20")
    ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
    for result in found["results"]:
        values = [f"--param={name}={value}" for name, value in result["parameters"].items()]
        alone = backtest_json("-s", "sma_cross", *values, "--from", ends[0], "--to", ends[1])
        assert alone.document["metrics"] == result[part]


HIGHER_TIMEFRAME_STRATEGY = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class Larger(Strategy):
    """Looks at days, and is biased: it uses the mean of all candles it is given."""

    name: ClassVar[str] = "higher"
    higher_timeframes = ("1d",)
    period: int = parameter(5, ge=1, le=50)

    @property
    def lookback(self):
        return self.period + 1

    @property
    def higher_lookback(self):
        return self.period + 1

    def evaluate(self, candles, higher):
        daily = higher["1d"].as_of(indicators.sma(higher["1d"].close, self.period))
        above = (candles.close > daily) & (candles.close < 1.02 * candles.close.mean())
        return Signals(np.where(above, 1, -1).astype(np.int8), {})
'''


@pytest.mark.parametrize("part", ["in_sample", "out_of_sample"])
def test_a_strategy_with_a_higher_timeframe_gets_the_candles_of_a_backtest_of_the_part(
    optimize: Run, backtest_json: Run, tmp_path: Path, part: str
) -> None:
    (tmp_path / "higher.py").write_text(HIGHER_TIMEFRAME_STRATEGY)
    found = optimize("-s", "higher.py", "--param", "period=3,9", "--from", "2024-02-01")
    ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
    for result in found["results"]:
        value = f"--param=period={result['parameters']['period']}"
        alone = backtest_json("-s", "higher.py", value, "--from", ends[0], "--to", ends[1])
        assert alone.document["metrics"] == result[part]
        assert result[part]["trades"] > 0


@pytest.mark.usefixtures("check_all_bars")
def test_an_optimization_prints_the_check_of_its_best_combination(
    optimize: Run, tmp_path: Path
) -> None:
    (tmp_path / "higher.py").write_text(HIGHER_TIMEFRAME_STRATEGY)
    biased = optimize("-s", "higher.py", "--param", "period=3,9")
    assert "DIFFER" in biased["check"]["text"]
    assert "do not trust this result" in biased["check"]["text"]
    clean = optimize(*GRID)
    assert clean["check"]["text"] == "passed, 2,880 bars"
    unchecked = optimize(*GRID, "--no-check")["check"]
    assert unchecked["clean"] is None
    assert f"--param fast={clean['results'][0]['parameters']['fast']}" in unchecked["text"]
    assert unchecked["text"].startswith("not run; run: uv run backtester check")


def test_only_in_sample_metrics_rank_combinations(optimize: Run) -> None:
    found = optimize(*GRID, "--rank", "total_return")
    in_sample = [result["in_sample"]["total_return"] for result in found["results"]]
    out_of_sample = [result["out_of_sample"]["total_return"] for result in found["results"]]
    assert in_sample == sorted(in_sample, reverse=True)
    assert out_of_sample != sorted(out_of_sample, reverse=True)


def test_some_metrics_are_ranked_from_low_to_high(optimize: Run) -> None:
    found = optimize(*GRID, "--rank", "fees")
    fees = [result["in_sample"]["fees"] for result in found["results"]]
    assert (found["best_is"], fees) == ("lowest", sorted(fees))


def test_the_last_30_percent_are_out_of_sample_by_default(optimize: Run) -> None:
    found = optimize(*GRID)
    assert (found["in_sample"]["candles"], found["out_of_sample"]["candles"]) == (2016, 864)
    assert found["in_sample"]["to"] == found["out_of_sample"]["from"]


def test_invalid_combinations_are_counted_and_left_out(optimize: Run) -> None:
    found = optimize(*GRID)
    pairs = [(one["parameters"]["fast"], one["parameters"]["slow"]) for one in found["results"]]
    assert (found["combinations"], found["invalid"]) == (4, 2)
    assert sorted(pairs) == [(5, 10), (5, 30), (10, 30), (15, 30)]


def test_a_combination_that_raises_is_reported_and_the_others_go_on(
    backtester: Run, database: Path, tmp_path: Path
) -> None:
    del database
    wanted = ("--strategy", write_fragile_strategy(tmp_path), "--param", "period=3:10")
    found = json.loads(backtester("optimize", "--exchange", "simulator", "--json", *wanted).out)
    failed = {one["parameters"]["period"]: one["error"] for one in found["failed"]}
    assert sorted(failed) == [7, 9]
    assert "seven is unlucky" in failed[7]
    assert "killed" in failed[9]
    assert [found["combinations"], found["invalid"], len(found["results"])] == [7, 1, 5]


def test_a_failure_prints_one_line_with_its_combination(
    backtester: Run, database: Path, tmp_path: Path
) -> None:
    del database
    strategy = write_fragile_strategy(tmp_path)
    ended = backtester(
        "optimize", "--exchange", "simulator", "--strategy", strategy, "--param", "period=6,7"
    )
    assert (ended.code, ended.err.count("\n")) == (0, 1)
    assert ended.err.startswith("backtester: period 7: strategy fragile failed on the ")


def test_a_second_start_evaluates_nothing_again(optimize: Run) -> None:
    first, second = optimize(*GRID), optimize(*GRID, "--rank", "trades")
    assert count_trials(first) == {"here": 4, "earlier": 0, "market": 4, "strategy": 4, "looks": 1}
    assert count_trials(second) == {"here": 4, "earlier": 4, "market": 4, "strategy": 4, "looks": 2}
    assert len(read_result_lines(second["folder"])) == 4


def test_all_trials_ever_made_are_counted(optimize: Run) -> None:
    optimize(*GRID)
    optimize(*GRID, "--fee", "0.002")
    found = optimize("--strategy", "sma_cross", "--param", "fast=5,6", "--param", "slow=30")
    assert count_trials(found) == {"here": 2, "earlier": 1, "market": 9, "strategy": 9, "looks": 3}
    shutil.rmtree("data/optimizations")
    other = optimize("--strategy", "rsi", "--param", "period=7,9")
    assert count_trials(other) == {"here": 2, "earlier": 0, "market": 11, "strategy": 2, "looks": 4}


def test_a_combination_with_a_half_written_line_is_evaluated_again(optimize: Run) -> None:
    first = optimize(*GRID)
    path = Path(first["folder"]) / RESULTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    second = optimize(*GRID)
    assert second["trials"]["earlier"] == 3
    assert second["results"] == first["results"]
    # The half line is gone: nothing was appended to it.
    assert len(read_result_lines(first["folder"])) == 4


def test_a_killed_optimization_is_resumed(optimize: Run, database: Path, tmp_path: Path) -> None:
    del database
    wanted = ("--strategy", write_stalling_strategy(tmp_path), "--param", "period=10:49")
    with Program(
        "backtester", "optimize", "--exchange", "simulator", *wanted, folder=tmp_path
    ) as one:
        kept = tmp_path / "data/optimizations"
        deadline = time.monotonic() + 180
        while sum(len(read_result_lines(path.parent)) for path in kept.glob(f"*/{RESULTS}")) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        one.send(signal.SIGKILL)
        one.ends()
    (tmp_path / "go on").touch()
    found = optimize(*wanted, "--no-check")
    periods = sorted(line["parameters"]["period"] for line in read_result_lines(found["folder"]))
    assert 5 <= found["trials"]["earlier"] < 40
    assert periods == list(range(10, 50))


def test_a_second_optimization_in_the_same_folder_is_refused(
    optimize: Run, backtester: Run
) -> None:
    path = Path(optimize(*GRID)["folder"]) / RESULTS
    with path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = backtester("optimize", "--exchange", "simulator", *GRID)
    assert ended.code == 3
    assert "another optimization is running" in ended.err


def test_changed_code_is_evaluated_again(optimize: Run, tmp_path: Path) -> None:
    wanted = ("--strategy", write_fragile_strategy(tmp_path), "--param", "period=5,6")
    first = optimize(*wanted)
    path = tmp_path / "fragile.py"
    path.write_text(path.read_text() + "# changed\n")
    second = optimize(*wanted)
    assert first["folder"] != second["folder"]
    assert count_trials(second) == {"here": 2, "earlier": 0, "market": 4, "strategy": 4, "looks": 2}


def test_a_random_search_is_repeatable_and_a_prefix_of_a_longer_one(
    optimize: Run,
) -> None:
    wanted = (
        "--strategy",
        "sma_cross",
        "--param",
        "slow=20:60",
        "--param",
        "fast=2:50",
        "--seed",
        "7",
    )
    short, long = (
        optimize(*wanted, "--sampler", "random", "--trials", count) for count in ("4", "8")
    )
    assert (short["sampler"], short["seed"]) == ("random", 7)
    assert count_trials(long) == {"here": 8, "earlier": 4, "market": 8, "strategy": 8, "looks": 2}


def test_the_printed_command_runs_the_best_combination(optimize: Run, backtest_json: Run) -> None:
    found = optimize(*GRID, "--fee", "0.002")
    words = found["command"].split()
    assert words[:3] == ["uv", "run", "backtester"]
    best = backtest_json(*words[3:]).document
    assert best["parameters"] == found["results"][0]["parameters"]
    assert "0.200%" in json.dumps(best["assumptions"])


@pytest.mark.usefixtures("check_all_bars")
def test_the_text_has_both_parts_the_rank_correlation_and_the_command_to_run(
    backtester: Run, database: Path
) -> None:
    del database
    out = backtester("optimize", "--exchange", "simulator", *GRID).out
    for words in (
        "sma_cross on simulator BTC/USDT 1h: 4 combinations (grid, 2 invalid left out)",
        "out-of-sample: 2024-03-25 to 2024-04-30 UTC, 864 candles",
        "trials: 4 trials here, 4 on simulator BTC/USDT in all, 4 of them of sma_cross; looks at",
        "rank correlation of in-sample and out-of-sample: ",
        "check of the best: passed, 2,880 bars",
        "run it: uv run backtester --strategy sma_cross --param fast=",
    ):
        assert words in out


#: Of RSI: 3 trade 20 times or more in the in-sample part, the others hardly.
PERIODS = ("--strategy", "rsi", "--param", "period=2,5,7,30,60", "--trading-rules", "none")


def test_combinations_with_few_trades_are_listed_last(optimize: Run, backtester: Run) -> None:
    found = optimize(*PERIODS)
    trades = [one["in_sample"]["trades"] for one in found["results"]]
    ranked = [one["ranked"] for one in found["results"]]
    assert ranked == sorted(ranked, reverse=True) == [count >= 20 for count in trades]
    assert 0 < sum(ranked) < len(ranked)
    sharpes = [one["in_sample"]["sharpe"] for one in found["results"]]
    assert max(sharpes[sum(ranked) :]) > sharpes[0]
    assert found["rank_stability"]["ranked"] == sum(ranked)
    text = backtester("optimize", "--exchange", "simulator", *PERIODS).out
    assert "highest first, with at least 20 trades (--min-trades)" in text
    places = [line.split()[0] for line in text.splitlines()[7:12]]
    assert places == ["1", "2", "3", "few", "few"]
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert page.count("<td>few</td>") == 2
    assert f'"ranked":{sum(ranked)}' in page


def test_an_optimization_in_which_no_combination_trades_enough_has_no_best(
    optimize: Run, backtester: Run
) -> None:
    flags = (*PERIODS, "--min-trades", "5000")
    found = optimize(*flags)
    assert found["command"] is None
    assert found["rank_stability"]["rank_correlation"] is None
    text = backtester("optimize", "--exchange", "simulator", *flags).out
    assert "best: none, because no combination has 5,000 trades in the in-sample part" in text
    assert "run it:" not in text


def test_a_rank_correlation_over_too_few_is_left_out_with_the_reason(
    optimize: Run, backtester: Run
) -> None:
    # The longest of the three that are ranked.
    least = optimize(*PERIODS)["results"]
    counts = sorted(one["in_sample"]["trades"] for one in least)
    flags = (*PERIODS, "--min-trades", str(counts[-2]))
    text = backtester("optimize", "--exchange", "simulator", *flags).out
    assert (
        "rank correlation of in-sample and out-of-sample: left out, over 2 combinations with"
        in text
    )


def test_without_a_minimum_number_of_trades_all_combinations_are_ranked(
    optimize: Run, backtester: Run
) -> None:
    flags = (*PERIODS, "--min-trades", "0")
    assert all(one["ranked"] for one in optimize(*flags)["results"])
    text = backtester("optimize", "--exchange", "simulator", *flags).out
    assert "--min-trades" not in text
    assert "combinations (Spearman: 1 same order" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rank", "sharp"), "--rank 'sharp' is not a metric; did you mean 'sharpe'?"),
        (("--out-of-sample", "1"), "--out-of-sample must be from 0.05 to 0.9, found 1"),
        (("--param", "slow=0:5"), "slow must be 2 to 5000, found '0'"),
        (("--param", "slwo=5"), "no parameter 'slwo'; did you mean 'slow'?"),
        (
            ("--param", "slow=50"),
            "nothing to optimize: give a parameter of sma_cross several values",
        ),
        (("--param", "slow=50:40"), "slow must be a range that goes up"),
        (("--param", "slow=a,b"), "slow must be a whole number, or several as 20,50,100"),
        (
            ("--param", "fast=90:99", "--param", "slow=50"),
            "no combination can be tried (10 refused)",
        ),
        (("--symbool", "X"), "No such option: --symbool"),
        (("--param", "slow=50,60", "--timeframe-detail", "7m"), "must divide the timeframe 1h"),
        (
            ("--param", "slow=50,60", "--symbol", "BTC/USDT", "--symbol", "ETH/USDT"),
            "this takes one symbol, found BTC/USDT, ETH/USDT",
        ),
    ],
)
def test_an_invalid_optimization_is_refused_in_one_line(
    backtester: Run, database: Path, arguments: tuple[str, ...], words: str
) -> None:
    del database
    ended = backtester("optimize", "--exchange", "simulator", "-s", "sma_cross", *arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert words in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_an_optimization_with_its_exit_code_and_the_command_to_resume(
    optimize: Run, database: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    before = list_children(os.getpid())
    del database
    wanted = ("--strategy", write_stalling_strategy(tmp_path), "--param", "period=10:49")
    with Program(
        "backtester", "optimize", "--exchange", "simulator", *wanted, folder=tmp_path
    ) as one:
        kept = tmp_path / "data/optimizations"
        deadline = time.monotonic() + 180
        while not any(path.stat().st_size for path in kept.glob(f"*/{RESULTS}")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        one.send(number)
        assert one.ends() == code
        printed = "backtester: stopped; to continue, run the same command again"
        assert (one.lines, one.errors) == ([], [printed])
    assert list_children(os.getpid()) == before
    (tmp_path / "go on").touch()
    # The check would evaluate this slow strategy on 200 windows.
    assert optimize(*wanted, "--no-check")["trials"]["earlier"] > 0


def list_children(process_id: int) -> str:
    """Return the children of a process that have not been waited for."""
    return Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
