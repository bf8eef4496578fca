"""Flags are generated from the declared settings and set them."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from backfiller.main import app as backfiller
from backfiller.settings import BackfillerSettings
from backtester.main import app as backtester
from backtester.settings import BacktesterSettings
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.flags import format_default
from onetape.cli.loading import load_settings, make_settings
from onetape.core.errors import UsageError
from onetape.core.setting import collect_settings, get_setting_value
from onetape.engine.account_config import AccountConfig
from trader.main import app as trader
from trader.settings import TraderSettings

COUNTS = "trade_limit=4,lookback_period_candles=24,stop_duration_candles=12"
GIVEN: dict[str, Any] = {
    "strategy": "macd",
    "param": ["fast=5", "slow=9"],
    "cash": 500.0,
    "fee": 0.002,
    "maker_fee": 0.001,
    "fee_currency": "base",
    "slippage": 7.0,
    "spread_bps": 3.0,
    "volume_impact": 0.01,
    "max_volume_share": 0.02,
    "cooldown": 3,
    "reentry": "while_signal",
    "trading_hours": "08:00-22:00",
    "trading_days": "mon-fri",
    "trading_timezone": "Europe/Berlin",
    "stoploss_guard": COUNTS,
    "drawdown_pause": f"{COUNTS},max_allowed_drawdown=0.2",
    "low_profit_pairs": f"{COUNTS},required_profit=0.01",
    "sizing": "equity_share=0.25",
    "stop_loss": 0.05,
    "take_profit": None,
    "roi_table": ["0=2%", "24h=0.5%"],
    "trailing_stop": 0.04,
    "time_stop": 12,
}
PROGRAMS = {
    "backfiller": (backfiller, BackfillerSettings),
    "backtester": (backtester, BacktesterSettings),
    "trader": (trader, TraderSettings),
}


@pytest.mark.parametrize("program", [BacktesterSettings, TraderSettings])
def test_every_flag_sets_its_setting_in_backtester_and_trader(program: Any) -> None:
    loaded = load_settings(program, "program", None, collect_flag_values(program, GIVEN), {})
    found = loaded.settings
    values = {one.key: get_setting_value(found, one) for one in collect_settings(program).values()}
    account, exits = found.account, found.account.exits
    assert values["account.cash"] == 500
    assert found.strategy.name == "macd"
    assert found.strategy.parameters == {"fast": "5", "slow": "9"}
    assert (account.fee_rate, account.slippage_bps) == (0.002, 7.0)
    assert (account.sizing, account.equity_share) == ("equity_share", 0.25)
    assert (account.cooldown_bars, account.reentry) == (3, "while_signal")
    assert (account.trading_hours, account.trading_days) == ("08:00-22:00", "mon-fri")
    assert account.trading_timezone == "Europe/Berlin"
    assert account.stoploss_guard == COUNTS
    assert [guard.bound for guard in account.entry_guards] == [0.0, 0.2, 0.01]
    assert (account.maker_fee_rate, account.fee_currency) == (0.001, "base")
    assert (account.spread_bps, account.volume_impact) == (3.0, 0.01)
    assert account.max_volume_share == 0.02
    assert exits.stop_loss == 0.05
    assert exits.target_table == {0: 0.02, 24: 0.005}
    assert (exits.trailing_stop, exits.time_stop_bars) == (0.04, 12)


@pytest.mark.parametrize("program", [BacktesterSettings, TraderSettings])
def test_without_flags_all_settings_have_their_defaults(program: Any) -> None:
    flags = collect_flag_values(program, dict.fromkeys(GIVEN))
    assert load_settings(program, "program", None, flags, {}).settings == program()


@pytest.mark.parametrize("name", ["foo=1", "all_in=1", "foo", "quote_amuont=5"])
def test_an_unknown_sizing_is_refused_with_all_kinds_and_their_form(name: str) -> None:
    with pytest.raises(UsageError, match=r"^--sizing '.*' was not understood; write all_in, or a"):
        collect_flag_values(BacktesterSettings, {**GIVEN, "sizing": name})


@pytest.mark.parametrize(
    ("param", "words"),
    [
        (["period"], "--param 'period' was not understood; write name=value, as period=10"),
        ([" =1"], "--param ' =1' was not understood; write name=value, as period=10"),
        (["a=1", "a=2"], "--param a is given twice, as 1 and as 2; leave one out"),
    ],
)
def test_a_param_flag_needs_a_name_and_a_value(param: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        collect_flag_values(BacktesterSettings, {"param": param})
    assert str(caught.value) == words


def test_the_value_of_a_parameter_begins_behind_the_first_equals_sign() -> None:
    tree = collect_flag_values(
        BacktesterSettings, {"param": ["period=10", " buy = 30 ", "a=b=c", "empty="]}
    )
    values = {"period": "10", "buy": "30", "a": "b=c", "empty": ""}
    assert tree == {"strategy.parameters": values}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_flag_of_a_setting_is_a_flag_of_the_program(name: str) -> None:
    app, model = PROGRAMS[name]
    known = {opt for parameter in typer.main.get_command(app).params for opt in parameter.opts}
    declared = collect_settings(model).values()
    assert {one.flag for one in declared if one.flag} <= known
    # What only makes sense with another one, or guards the program, is set in the file.
    without = {one.key for one in declared if not one.flag and not one.setting.number_of}
    guards = {
        "mode",
        "stale_after_seconds",
        "max_signal_age_seconds",
        "ticker_days",
        "entry_wait_seconds",
        "symbols",
        "strategy_timeout_seconds",
        "strategy_memory_mb",
        "monitoring.alert_command",
        "monitoring.alert_timeout_seconds",
        "monitoring.heartbeat_file",
        "monitoring.heartbeat_url",
        "monitoring.heartbeat_seconds",
    }
    guards |= {key for key in without if key.startswith("risk.")}
    assert without <= {"account.volatility_bars", *guards}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_default_settings_file_of_a_program_has_every_setting_at_its_default(
    name: str, repository: Path
) -> None:
    _, model = PROGRAMS[name]
    file = repository / "config" / f"{name}.yaml"
    settings: msgspec.Struct = load_settings(model, name, file, {}, {}).settings
    others = {
        key: one.file_value
        for key, one in collect_settings(model).items()
        if one.setting.file_default is not None
    }
    assert settings == make_settings(model, others)
    keys = re.findall(r"^ *(\w+):", file.read_text(), re.MULTILINE)
    parts = [part for key in collect_settings(model) for part in key.split(".")]
    assert {*keys} == {*parts}


@pytest.mark.parametrize("name", ["backtester", "trader"])
def test_market_orders_lose_2_bps_in_the_file_of_a_program_and_nothing_in_python(
    name: str, repository: Path
) -> None:
    _, model = PROGRAMS[name]
    file = repository / "config" / f"{name}.yaml"
    settings: Any = load_settings(model, name, file, {}, {}).settings
    assert settings.account.slippage_bps == 2
    assert AccountConfig().slippage_bps == 0


def test_the_help_of_a_flag_has_the_default_of_the_file_and_that_without_one() -> None:
    declared = collect_settings(BacktesterSettings)["account.slippage_bps"]
    assert format_default(declared) == "2 in config/*.yaml, otherwise 0"


def test_every_account_setting_is_in_the_docs_table_with_its_flag(repository: Path) -> None:
    page = (repository / "docs" / "rules.md").read_text()
    declared = collect_settings(AccountConfig)
    rows = re.findall(r"^\| `(\w+)` \|.*\|$", page, re.MULTILINE)
    assert {one.name for one in declared.values()} <= {*rows}
