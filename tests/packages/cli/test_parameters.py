"""Flags of strategy, account and exits become the settings that both programs have."""

from typing import Any

import pytest

from backtester.settings import BacktesterSettings
from onetape.cli.parameters import trading_flags
from onetape.cli.settings import load_settings
from trader.settings import TraderSettings

GIVEN: dict[str, Any] = {
    "strategy": "macd",
    "param": ["fast=5", "slow=9"],
    "cash": 500.0,
    "fee": 0.002,
    "slippage": 7.0,
    "cool_down": 3,
    "sizing": "equity_share=0.25",
    "stop_loss": 0.05,
    "take_profit": 0.1,
    "trailing_stop": 0.04,
    "time_stop": 12,
}


@pytest.mark.parametrize("program", [BacktesterSettings, TraderSettings])
def test_every_flag_arrives_in_the_settings_of_both_programs(program: Any) -> None:
    found = load_settings(program, "program", None, trading_flags(GIVEN))
    account, exits = found.account, found.exits
    assert found.strategy.name == "macd"
    assert found.strategy.parameters == {"fast": "5", "slow": "9"}
    assert (account.cash, account.fee_rate, account.slippage_bps) == (500.0, 0.002, 7.0)
    assert (account.sizing, account.equity_share) == ("equity_share", 0.25)
    assert account.cool_down_bars == 3
    assert (exits.stop_loss, exits.take_profit) == (0.05, 0.1)
    assert (exits.trailing_stop, exits.time_stop_bars) == (0.04, 12)


@pytest.mark.parametrize("program", [BacktesterSettings, TraderSettings])
def test_no_flags_leave_the_defaults(program: Any) -> None:
    nothing: dict[str, Any] = dict.fromkeys(GIVEN)
    flags = trading_flags(nothing)
    assert load_settings(program, "program", None, flags) == program()
