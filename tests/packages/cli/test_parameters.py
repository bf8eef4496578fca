"""Flags of strategy, account and exits become the settings that both programs have."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from backtester.settings import BacktesterSettings
from onetape.cli.parameters import SIZINGS, trading_flags
from onetape.cli.settings import AccountSettings, ExitSettings, load_settings
from onetape.core.errors import UsageError
from trader.settings import TraderSettings

GIVEN: dict[str, Any] = {
    "strategy": "macd",
    "param": ["fast=5", "slow=9"],
    "cash": 500.0,
    "fee": 0.002,
    "maker_fee": 0.001,
    "fee_coin": "received",
    "slippage": 7.0,
    "spread_bps": 3.0,
    "volume_impact": 0.01,
    "cool_down": 3,
    "reentry": "while_signal",
    "sizing": "equity_share=0.25",
    "stop_loss": 0.05,
    "take_profit": None,
    "target": ["0=0.02", "24=0.005"],
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
    assert (account.cool_down_bars, account.reentry) == (3, "while_signal")
    assert (account.maker_fee_rate, account.fee_coin) == (0.001, "received")
    assert (account.spread_bps, account.volume_impact) == (3.0, 0.01)
    assert exits.stop_loss == 0.05
    assert exits.target_table == {0: 0.02, 24: 0.005}
    assert (exits.trailing_stop, exits.time_stop_bars) == (0.04, 12)


@pytest.mark.parametrize("program", [BacktesterSettings, TraderSettings])
def test_no_flags_leave_the_defaults(program: Any) -> None:
    nothing: dict[str, Any] = dict.fromkeys(GIVEN)
    flags = trading_flags(nothing)
    assert load_settings(program, "program", None, flags) == program()


@pytest.mark.parametrize("name", ["foo=1", "all_in=1", "foo", "quote_amuont=5"])
def test_a_sizing_that_is_none_is_answered_with_all_kinds_and_their_form(name: str) -> None:
    with pytest.raises(UsageError, match=r"^--sizing '.*' was not understood; write all_in, or a"):
        trading_flags({**GIVEN, "sizing": name})


def test_the_kinds_of_sizing_are_settings_that_say_so() -> None:
    settings = load_settings(BacktesterSettings, "program", None, {"account": {"sizing": "all_in"}})
    assert {name for name in SIZINGS if hasattr(settings.account, name)} == set(SIZINGS)


@pytest.mark.parametrize("program", ["backtester", "trader"])
def test_every_rule_of_the_account_stands_in_the_table_with_its_flag(
    repository: Path, program: str
) -> None:
    page = (repository / "docs" / "rules.md").read_text()
    of_keys = "\n".join(line for line in page.splitlines() if line.count("|") == 6)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", of_keys, re.MULTILINE))
    assert {*AccountSettings.__struct_fields__, *ExitSettings.__struct_fields__} == {*rows}
    main = __import__(f"{program}.main", fromlist=["app"])
    known = {
        name for parameter in typer.main.get_command(main.app).params for name in parameter.opts
    }
    named = {flag for row in rows.values() for flag in re.findall(r"`(--[a-z-]+)", row)}
    assert named <= known
    # What only makes sense with another one is set in the file.
    without = [key for key, row in rows.items() if "`--" not in row]
    assert without == ["volatility_bars"]
