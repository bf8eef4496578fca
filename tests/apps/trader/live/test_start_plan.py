"""A start with an open position or order manages all of them, whatever settings changed."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from onetape.cli.common_settings import StrategySettings
from onetape.core.errors import OnetapeError
from onetape.engine.exit_config import ExitConfig
from traded_accounts import TradedAccount
from trader.evaluator.processes import StrategyHelper
from trader.evaluator.results import StrategyEvaluator
from trader.live.start_plan import StartPlan, format_unattended_lines, plan_start
from trader.settings import SymbolSettings, TraderSettings
from trader.start_strategies import StrategyLoader
from trader.traded_symbols import parse_traded_symbols

BOTH = "live binance BTC/USDT,ETH/USDT 1h"
BITCOIN = "live binance BTC/USDT 1h"
LIVE = TraderSettings(mode="live")


@pytest.fixture
def account_of_two_symbols(tmp_path: Path) -> Iterator[TradedAccount]:
    """Yield the ETH/USDT half of an account of two symbols; it trades by sma_cross."""
    db = tmp_path / "x.db"
    with (
        TradedAccount(db, BOTH, mode="live"),
        TradedAccount(
            db, BOTH, mode="live", symbol="ETH/USDT", strategy="sma_cross", parameters={"fast": 9}
        ) as ether,
    ):
        yield ether


def make_plan(account: TradedAccount, settings: TraderSettings) -> StartPlan:
    return plan_start(account.store, settings, parse_traded_symbols(settings))


def test_without_a_position_a_start_trades_what_the_settings_state(
    account_of_two_symbols: TradedAccount,
) -> None:
    plan = make_plan(account_of_two_symbols, LIVE)
    assert plan.account == BITCOIN
    assert [one.key.symbol for one in plan.symbols] == ["BTC/USDT"]
    assert not plan.exits_only


def test_a_symbol_that_left_the_settings_goes_on_under_its_account_and_only_exits(
    account_of_two_symbols: TradedAccount,
) -> None:
    account_of_two_symbols.fill("buy", "2", "100", 1)
    plan = make_plan(account_of_two_symbols, LIVE)
    assert plan.account == BOTH
    bitcoin, ether = plan.symbols
    assert (bitcoin.key.symbol, ether.key.symbol) == ("BTC/USDT", "ETH/USDT")
    assert ether.strategy == StrategySettings(name="sma_cross", parameters={"fast": "9"})
    assert plan.find_entry_ban("BTC/USDT") is None
    ban = plan.find_entry_ban("ETH/USDT")
    assert ban is not None
    assert ban.reason == "exits only: ETH/USDT is not in the settings any more"


def test_an_order_that_may_be_at_the_exchange_counts_as_a_position(
    account_of_two_symbols: TradedAccount,
) -> None:
    account_of_two_symbols.intend("buy", 1)
    assert not make_plan(account_of_two_symbols, LIVE).held, "an intent was never sent"
    account_of_two_symbols.order("buy", 2)
    assert list(make_plan(account_of_two_symbols, LIVE).held) == ["ETH/USDT"]


def test_another_timeframe_or_start_balance_refuses_no_start_while_a_position_is_open(
    account_of_two_symbols: TradedAccount,
) -> None:
    account_of_two_symbols.fill("buy", "2", "100", 1)
    settings = replace(LIVE, symbol="BTC/USDT,ETH/USDT", timeframe="5m", cash=Decimal(5))
    plan = make_plan(account_of_two_symbols, settings)
    assert plan.account == BOTH
    assert {one.key.timeframe for one in plan.symbols} == {"1h"}
    assert plan.settings.cash is None
    for symbol in ("BTC/USDT", "ETH/USDT"):
        ban = plan.find_entry_ban(symbol)
        assert ban is not None
        assert "cash is 5 now" in ban.reason
        assert "the timeframe is 5m now" in ban.reason


def test_an_account_that_shares_no_symbol_may_belong_to_another_trader(tmp_path: Path) -> None:
    with TradedAccount(tmp_path / "x.db", BITCOIN, mode="live") as account:
        account.fill("buy", "2", "100", 1)
        settings = replace(LIVE, symbol="SOL/USDT")
        assert make_plan(account, settings).account == "live binance SOL/USDT 1h"
        assert not make_plan(account, settings).held


def test_a_position_without_a_trader_is_named_at_each_start(tmp_path: Path) -> None:
    with TradedAccount(tmp_path / "x.db", BITCOIN, mode="live") as account:
        account.fill("buy", "2", "100", 1)
        wall_ms = time.time_ns() // 1_000_000
        other = "paper binance SOL/USDT 1h"
        assert format_unattended_lines(account.store, other, wall_ms) == [], "its process runs"
        account.end()
        account.lock.release()
        (line,) = format_unattended_lines(account.store, other, wall_ms)
        assert line.startswith(f"account {BITCOIN} has an open position or order in BTC/USDT")
        assert format_unattended_lines(account.store, BITCOIN, wall_ms) == []
        account.fill("sell", "2", "100", 2)
        assert format_unattended_lines(account.store, other, wall_ms) == []


def load_strategies(plan: StartPlan) -> tuple[StartPlan, list[str]]:
    with ExitStack() as stack:
        helper = StrategyHelper()
        stack.callback(helper.close)
        runner = stack.enter_context(asyncio.Runner())
        found: tuple[StartPlan, list[StrategyEvaluator]]
        found = StrategyLoader(helper, runner, stack).load_plan(plan)
        return found[0], [one.strategy.name for one in found[1]]


def test_a_position_is_managed_by_the_strategy_that_entered_or_without_one(
    account_of_two_symbols: TradedAccount,
) -> None:
    account_of_two_symbols.fill("buy", "2", "100", 1)
    other = [
        SymbolSettings(symbol="BTC/USDT"),
        SymbolSettings(symbol="ETH/USDT", strategy=StrategySettings(name="macd")),
    ]
    plan, names = load_strategies(make_plan(account_of_two_symbols, replace(LIVE, symbols=other)))
    assert names == ["rsi", "sma_cross"]
    assert list(plan.exits_only) == ["ETH/USDT"]
    assert "the strategy is macd now" in plan.exits_only["ETH/USDT"]

    wrong: Any = {"period": "none"}
    settings = replace(LIVE, strategy=StrategySettings(name="rsi", parameters=wrong))
    plan, names = load_strategies(make_plan(account_of_two_symbols, settings))
    assert names == ["sma_cross"], "what cannot be loaded and holds nothing is left out"
    assert plan.account == BOTH
    assert "cannot be loaded" in plan.exits_only["ETH/USDT"]
    broken = SymbolSettings(symbol="ETH/USDT", strategy=settings.strategy)
    plan, names = load_strategies(
        make_plan(account_of_two_symbols, replace(LIVE, symbols=[other[0], broken]))
    )
    assert names == ["rsi", "sma_cross"], "the one that entered can be loaded"
    assert "cannot be loaded" in plan.exits_only["ETH/USDT"]
    assert not plan.stand_ins
    with pytest.raises(OnetapeError, match="period"):
        load_strategies(StartPlan(settings, tuple(parse_traded_symbols(settings))))


def test_a_position_whose_strategy_is_gone_keeps_its_stop_and_targets(tmp_path: Path) -> None:
    with TradedAccount(tmp_path / "x.db", BITCOIN, mode="live", strategy="gone") as account:
        account.fill("buy", "2", "100", 1)
        settings = replace(LIVE, strategy=StrategySettings(name="gone"))
        plan, names = load_strategies(make_plan(account, settings))
        assert names == ["gone"]
        assert plan.stand_ins == {"BTC/USDT": "gone"}
        assert "cannot be loaded" in plan.exits_only["BTC/USDT"]


RULES = {
    "stop_loss": 0.1,
    "target_table": {"0": 0.04, "12": 0.01},
    "net_targets": True,
    "trailing_stop": None,
    "take_profit": None,
}


def get_start_exits(account: TradedAccount, settings: TraderSettings) -> ExitConfig:
    """Return the exits that a start trades with, its strategies loaded."""
    return load_strategies(make_plan(account, settings))[0].settings.account.exits


def make_settings_with_stop(settings: TraderSettings, stop_loss: float) -> TraderSettings:
    exits = replace(settings.account.exits, stop_loss=stop_loss)
    return replace(settings, account=replace(settings.account, exits=exits))


def write_freqtrade_file(folder: Path, name: str, stop: float) -> StrategySettings:
    """Write a strategy file of freqtrade's that states a stop; return its name as a setting."""
    file = folder / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "from freqtrade.strategy import IStrategy\n\n\n"
        f"class {name}(IStrategy):\n"
        f'    timeframe = "1h"\n    stoploss = -{stop}\n'
        "    def populate_indicators(self, dataframe, metadata):\n        return dataframe\n"
        "    def populate_entry_trend(self, dataframe, metadata):\n        return dataframe\n"
        "    def populate_exit_trend(self, dataframe, metadata):\n        return dataframe\n"
    )
    return StrategySettings(name=str(file))


def test_a_position_whose_strategy_file_is_gone_keeps_the_exits_that_the_file_stated(
    tmp_path: Path,
) -> None:
    file = tmp_path / "Sample.py"
    with TradedAccount(
        tmp_path / "x.db", BITCOIN, mode="live", strategy="Sample", rules=RULES
    ) as account:
        account.fill("buy", "2", "100", 1)
        settings = replace(LIVE, strategy=StrategySettings(name=str(file)))
        exits = get_start_exits(account, settings)
        assert (exits.stop_loss, exits.target_table) == (0.1, {0: 0.04, 12: 0.01})
        assert exits.net_targets
        assert exits.limit_break_even > 1
        kept = get_start_exits(account, make_settings_with_stop(settings, 0.3))
        assert kept.stop_loss == 0.3, "what the settings give counts"
        write_freqtrade_file(tmp_path, "Sample", 0.99)
        assert get_start_exits(account, settings).stop_loss is None, "a person changed the file"


def test_row_65_a_position_keeps_its_exits_when_the_settings_name_another_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_freqtrade_file(Path("user/strategies"), "Sample", 0.1)
    with TradedAccount(
        tmp_path / "x.db", BITCOIN, mode="live", strategy="Sample", rules=RULES
    ) as account:
        account.fill("buy", "2", "100", 1)
        plan, names = load_strategies(make_plan(account, LIVE))
        assert names == ["Sample"]
        assert "the strategy is rsi now" in plan.exits_only["BTC/USDT"]
        assert plan.settings.account.exits.stop_loss == 0.1
        assert plan.settings.account.exits.target_table == {0: 0.04, 12: 0.01}
        assert get_start_exits(account, make_settings_with_stop(LIVE, 0.3)).stop_loss == 0.3, (
            "a person gave it"
        )

        # The stop that the other strategy's file states is no rule of this position.
        other = write_freqtrade_file(tmp_path, "Other", 0.02)
        stated = make_settings_with_stop(replace(LIVE, strategy=other), 0.02)
        assert get_start_exits(account, stated).stop_loss == 0.1

        # What is given does not fit to what is stored: the position's exits hold.
        given = ExitConfig(trailing_stop=0.2, trailing_offset=0.3)
        settings = replace(LIVE, account=replace(LIVE.account, exits=given))
        assert get_start_exits(account, settings).stop_loss == 0.1


def test_row_65_a_symbol_that_left_the_settings_keeps_the_exits_of_its_session(
    tmp_path: Path,
) -> None:
    db = tmp_path / "x.db"
    with TradedAccount(db, "mine", mode="live", rules=RULES) as account:
        account.fill("buy", "2", "100", 1)
        settings = replace(LIVE, account_name="mine", symbol="ETH/USDT")
        plan, names = load_strategies(make_plan(account, settings))
        assert names == ["rsi", "rsi"]
        assert plan.settings.account.exits.stop_loss == 0.1
        assert get_start_exits(account, replace(LIVE, account_name="mine")).stop_loss is None
