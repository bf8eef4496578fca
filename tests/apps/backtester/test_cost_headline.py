"""A result has the return after costs, and next to it that of the same run without costs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onetape.backtest as ot
from onetape.backtest.run_costs import describe_costs
from onetape.backtest.storage.runs import load_run
from onetape.engine import AccountConfig

Run = Callable[..., Any]
SIM = ("--exchange", "simulator", "--no-check", "--trading-rules", "none")
#: Flags that switch all costs off.
FREE = ("--fee", "0", "--slippage", "0", "--spread-bps", "0", "--volume-impact", "0")
COSTS = {
    "the default fee": (),
    "a fee in coins": ("--fee", "0.002", "--fee-currency", "base"),
    "slippage and spread": ("--fee", "0", "--slippage", "3", "--spread-bps", "4"),
    "an impact": ("--volume-impact", "0.1", "--sizing", "equity_share=0.5"),
    "targets with their own fee": (
        *("--maker-fee", "0.0002", "--take-profit", "0.03", "--stop-loss", "0.02"),
    ),
    "targets net of fees": ("--take-profit", "0.03", "--stop-loss", "0.02", "--net-targets"),
}


@pytest.mark.parametrize("what", COSTS)
def test_the_return_without_costs_equals_that_of_a_run_without_costs(
    backtest_json: Run, what: str
) -> None:
    flags = ("--no-check", "--trading-rules", "none", *COSTS[what])
    document = backtest_json(*flags).document
    # Of two equal flags the last one counts.
    free = backtest_json(*flags, *FREE, "--maker-fee", "0").document
    wanted = free["metrics"]["total_return"]
    assert document["return_without_costs"] == pytest.approx(wanted, rel=1e-9)
    assert document["return_without_costs"] > document["metrics"]["total_return"]
    assert (free["return_without_costs"], free["costs"]) == (None, "")


def test_the_line_below_the_heading_has_both_returns_and_the_costs(
    database: Path, backtester: Run
) -> None:
    ended = backtester(*SIM, "--slippage", "2", "--report", "page.html")
    saved = load_run("last").summary
    assert saved.return_without_costs is not None
    after, free = saved.metrics.total_return, saved.return_without_costs
    line = f"{after:+.2%} after costs (fee 0.100%, slippage 2 bps), {free:+.2%} without costs"
    assert ended.out.splitlines()[1] == f"return: {line}"
    assert backtester("show", "last").out.splitlines()[1] == f"return: {line}"
    assert line in Path("page.html").read_text(encoding="utf-8")


def test_an_account_without_costs_has_no_line_about_costs(database: Path, backtester: Run) -> None:
    ended = backtester(*SIM, *FREE, "--no-save")
    assert "costs" not in ended.out


def test_the_repr_of_a_result_has_both_returns(database: Path) -> None:
    candles = ot.load_candles("BTC/USDT", "1h", exchange="simulator", allow_gaps=True)
    run = ot.backtest("rsi", candles, check=False, account=ot.Account(slippage=5))
    free = ot.backtest("rsi", candles, check=False, account=ot.Account(fee=0))
    first, second = run.stats["total_return"], free.stats["total_return"]
    assert (
        f"return {first:+.2%} after costs (fee 0.100%, slippage 5 bps), {second:+.2%} without costs"
    ) in repr(run)
    assert f"return {second:+.2%}, max drawdown" in repr(free)
    frame = ot.backtest("rsi", candles.frame, check=False)
    assert "without costs" in repr(frame)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (AccountConfig(), "fee 0.100%"),
        (AccountConfig(fee_rate=0.0), ""),
        (AccountConfig(fee_rate=0.0, maker_fee_rate=0.0), ""),
        (AccountConfig(maker_fee_rate=0.0), "fee 0.100%, fee of targets 0.000%"),
        (AccountConfig(slippage_bps=2.5), "fee 0.100%, slippage 2.5 bps"),
        (AccountConfig(fee_rate=0.0, spread_bps=1), "spread 1 bps"),
        (AccountConfig(fee_rate=0.0, volume_impact=0.1), "volume impact 10.000%"),
    ],
)  # fmt: skip
def test_the_costs_of_an_account_are_named(rules: AccountConfig, text: str) -> None:
    assert describe_costs(rules) == text
