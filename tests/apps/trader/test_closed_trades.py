"""Closed trades of an account, as entry guards read them, equal its stored fills."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from onetape.core.timeframes import Timeframe
from onetape.engine import AccountConfig, ClosedTrade, StepRules
from traded_accounts import HOUR, MARCH, TradedAccount
from trader.account_rules import AccountRules
from trader.closed_trades import ClosedTrades

GUARD = "trade_limit=2,lookback_period_candles=9,stop_duration_candles=4"
GUARDS = AccountConfig(stoploss_guard=GUARD).entry_guards
TIMEFRAME = Timeframe.parse("1h")


@pytest.fixture
def accounts(tmp_path: Path) -> Generator[dict[str, TradedAccount]]:
    """Yield one account that two processes trade, each another symbol."""
    with ExitStack() as stack:
        yield {
            symbol: stack.enter_context(
                TradedAccount(tmp_path / "data" / "onetape.db", symbol=symbol)
            )
            for symbol in ("BTC/USDT", "ETH/USDT")
        }


def make_closed_trades(account: TradedAccount) -> ClosedTrades:
    return ClosedTrades(account.store, account.name, "paper", TIMEFRAME)


def test_each_closed_position_is_a_trade_with_its_candle_profit_and_kind_of_exit(
    accounts: dict[str, TradedAccount],
) -> None:
    bitcoin, ether = accounts["BTC/USDT"], accounts["ETH/USDT"]
    bitcoin.fill("buy", "2", "100", 1, fee="1")
    bitcoin.fill("sell", "2", "90", 3.5, fee="1", type_="stop_loss")
    bitcoin.fill("buy", "1", "100", 5)
    ether.fill("buy", "1", "100", 2)
    ether.fill("sell", "1", "110", 4, type_="target")
    found = {one.symbol: one for one in make_closed_trades(bitcoin).read(GUARDS)}
    assert found["BTC/USDT"] == ClosedTrade(
        "BTC/USDT", MARCH + 3 * HOUR, float(-22 / 201), is_stop=True, is_inside=False
    )
    assert found["ETH/USDT"] == ClosedTrade(
        "ETH/USDT", MARCH + 4 * HOUR, 0.1, is_stop=False, is_inside=False
    )


def test_trades_are_read_again_once_there_is_another_fill(
    accounts: dict[str, TradedAccount],
) -> None:
    bitcoin, ether = accounts["BTC/USDT"], accounts["ETH/USDT"]
    trades = make_closed_trades(bitcoin)
    assert trades.read(GUARDS) == ()
    ether.fill("buy", "1", "100", 2)
    assert trades.read(GUARDS) == ()
    ether.fill("sell", "1", "90", 4, type_="trailing_stop")
    first = trades.read(GUARDS)
    assert [one.is_stop for one in first] == [True]
    assert trades.read(GUARDS) is first


def test_trades_that_no_entry_guard_reads_any_more_are_left_out(
    accounts: dict[str, TradedAccount],
) -> None:
    bitcoin = accounts["BTC/USDT"]
    for hour in (1, 10, 200):
        bitcoin.fill("buy", "1", "100", hour)
        bitcoin.fill("sell", "1", "100", hour + 1)
    found = [one.timestamp for one in make_closed_trades(bitcoin).read(GUARDS)]
    assert found == [MARCH + 201 * HOUR]


def test_stops_of_another_process_pause_the_entries_of_this_one(
    accounts: dict[str, TradedAccount],
) -> None:
    bitcoin, ether = accounts["BTC/USDT"], accounts["ETH/USDT"]
    rules = AccountRules(
        StepRules.from_account(
            AccountConfig(stoploss_guard=GUARD), ("BTC/USDT",), candle_seconds=HOUR
        ),
        TIMEFRAME,
        wait_seconds=0,
        read_closed=make_closed_trades(bitcoin).read,
    )
    for hour in (1, 3):
        ether.fill("buy", "1", "100", hour)
        ether.fill("sell", "1", "90", hour + 1, type_="stop_loss")
    paused = [
        rules.find_pause("BTC/USDT", MARCH + hour * HOUR) is not None for hour in range(3, 11)
    ]
    assert paused == [False, True, True, True, True, True, False, False]
