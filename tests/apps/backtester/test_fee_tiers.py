"""`--fee-tier` of a backtest takes the fees of a tier of the exchange."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onetape.backtest as ot
from backtester.settings import BacktesterSettings
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.loading import load_settings
from onetape.core.errors import ConfigurationError, UsageError
from trader.settings import TraderSettings

Run = Callable[..., Any]
RULES = ("-s", "sma_cross", "--take-profit", "0.02", "--no-check")


@pytest.mark.parametrize("model", [BacktesterSettings, TraderSettings])
def test_both_programs_take_maker_and_taker_fee_of_the_tier(model: Any) -> None:
    exchange = ["kraken"] if model is TraderSettings else "kraken"
    flags = collect_flag_values(model, {"exchange": exchange, "fee_tier": "60000"})
    account = load_settings(model, "program", None, flags, {}).settings.account
    assert (account.fee_rate, account.maker_fee_rate) == (0.0024, 0.0014)
    assert account.fee_tier == "60000"


def test_a_result_equals_that_of_the_two_fees(backtest_json: Run) -> None:
    by_tier = backtest_json(*RULES, "--fee-tier", "vip2").document
    by_fees = backtest_json(*RULES, "--fee", "0.001", "--maker-fee", "0.0008").document
    assert by_tier["metrics"] == by_fees["metrics"]
    assert by_tier["metrics"] != backtest_json(*RULES).document["metrics"]


def test_a_result_names_the_tier_and_its_fees(database: Path, backtester: Run) -> None:
    del database
    ended = backtester("--exchange", "simulator", *RULES, "--fee-tier", "vip1", "--no-save")
    assert "0.100%, 0.090% at a target, in quote currency (fee tier vip1)" in ended.out


def test_a_saved_run_keeps_the_fees_of_its_tier(save_run: Run, backtester: Run) -> None:
    run = save_run(*RULES, "--fee-tier", "vip1")
    ended = backtester("explain", "--run", run.name, "--at", "2024-02-01T00:00")
    assert ended.code == 0, ended.err
    assert "changed since" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("flag", "name"), [("--fee", "fee_rate"), ("--maker-fee", "maker_fee_rate")]
)
def test_a_fee_next_to_a_tier_is_refused(
    database: Path, backtester: Run, flag: str, name: str
) -> None:
    del database
    ended = backtester("--exchange", "simulator", "--fee-tier", "vip1", flag, "0.001")
    assert (ended.code, ended.out) == (2, "")
    assert f"{name} must be left out with fee_tier vip1, which states both fees" in ended.err
    assert ended.err.count("\n") == 1


def test_fees_of_a_file_next_to_a_tier_are_refused_unless_they_are_the_defaults(
    tmp_path: Path,
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("exchange: kraken\naccount: {fee_tier: 0, fee_rate: 0.001}\n")
    account = load_settings(BacktesterSettings, "backtester", file, {}, {}).settings.account
    assert account.fee_rate == 0.0026
    file.write_text("exchange: kraken\naccount: {fee_tier: 0, fee_rate: 0.002}\n")
    with pytest.raises(ConfigurationError, match=r"own\.yaml:2: .*fee_rate must be left out"):
        load_settings(BacktesterSettings, "backtester", file, {}, {})


@pytest.mark.parametrize("tier", ["vip9", "okx"])
def test_an_unknown_tier_is_one_line_with_the_known_ones(
    database: Path, backtester: Run, tier: str
) -> None:
    del database
    ended = backtester("--exchange", "simulator", "--fee-tier", tier)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert f"found {tier!r}" in ended.err
    assert "vip0, vip1, vip2" in ended.err


def test_python_takes_a_tier_of_the_exchange_of_stored_candles(database: Path) -> None:
    del database
    candles = ot.load_candles("BTC/USDT", "1h", exchange="simulator", allow_gaps=True)
    tier = ot.backtest("rsi", candles, check=False, account=ot.Account(fee_tier="vip2"))
    fees = ot.Account(fee=0.001, maker_fee=0.0008)
    same = ot.backtest("rsi", candles, check=False, account=fees)
    assert tier.summary.metrics == same.summary.metrics
    assert tier.config.account.maker_fee_rate == 0.0008


def test_python_refuses_a_fee_next_to_a_tier(database: Path) -> None:
    del database
    candles = ot.load_candles("BTC/USDT", "1h", exchange="simulator", allow_gaps=True)
    with pytest.raises(UsageError, match="fee_rate must be left out with fee_tier"):
        ot.backtest("rsi", candles, account=ot.Account(fee_tier="vip2", fee=0.001))
