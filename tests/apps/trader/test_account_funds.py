"""Cash and equity that an entry may spend equal those of the backtest at the open."""

from collections.abc import Generator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill
from onetape.engine import AccountConfig, ModelFill, RefusedOrder, StepRules
from onetape.execution.positions import Position, sum_position
from onetape.store.ledger import read_fills
from onetape.store.reservations import release_reservation
from traded_accounts import HOUR, MARCH, TradedAccount
from trader.account_funds import AccountFunds
from trader.account_rules import AccountRules


class SymbolTrades:
    """The trades of the symbol of an account."""

    def __init__(self, account: TradedAccount) -> None:
        self.account = account

    @property
    def fills(self) -> Sequence[Fill]:
        return read_fills(self.account.store, self.account.name, self.account.key.symbol)

    @property
    def position(self) -> Position:
        return sum_position(self.fills, self.account.base, self.account.quote)


@pytest.fixture
def account(tmp_path: Path) -> Generator[TradedAccount]:
    with TradedAccount(tmp_path / "data" / "onetape.db", cash="1000") as opened:
        opened.candles((100, 100, 100, 100), (100, 120, 100, 120), (120, 120, 120, 120))
        opened.fill("buy", "2", "100", 1)
        yield opened


def make_funds(
    account: TradedAccount, *, sold_inside: int | None = None, limit_ended: int | None = None
) -> AccountFunds:
    """Return the money of the account; position or limit order may end inside a candle."""
    symbols = account.key.symbol, "ETH/USDT"
    hour = Timeframe.parse("1h")
    rules = AccountRules(StepRules.from_account(AccountConfig(), symbols), hour, wait_seconds=0)
    state = rules.state.symbols[account.key.symbol]
    state = replace(state, sold_inside=sold_inside, limit_ended=limit_ended)
    rules.replace(account.key.symbol, state)
    funds = AccountFunds(account.store, account.name, "paper", rules)
    funds.attach(account.key, SymbolTrades(account))
    return funds


def read_funds_at(
    account: TradedAccount, funds: AccountFunds, hour: int
) -> tuple[float, float | None]:
    """Return cash and equity at the open of a candle."""
    seen: list[tuple[float, float | None]] = []

    def size(cash: float, equity: float | None) -> RefusedOrder:
        seen.append((cash, equity))
        return RefusedOrder("volatility_unknown")

    moment = MARCH + hour * HOUR
    funds.reserve(
        "no order", account.key.symbol, account.fence, size, moment=moment, now_ms=moment * 1_000
    )
    return seen[0]


def test_equity_counts_positions_at_the_last_close_before_the_open(account: TradedAccount) -> None:
    assert read_funds_at(account, make_funds(account), 1) == (800.0, 1_000.0)
    assert read_funds_at(account, make_funds(account), 2) == (800.0, 1_040.0)


def test_the_equity_of_an_account_without_a_position_is_its_cash(account: TradedAccount) -> None:
    account.fill("sell", "2", "130", 2)
    assert read_funds_at(account, make_funds(account), 3) == (1_060.0, None)


def test_a_position_sold_inside_a_candle_counts_as_held_at_its_open(
    account: TradedAccount,
) -> None:
    account.fill("sell", "2", "130", 2, fee="1")
    funds = make_funds(account, sold_inside=MARCH + 2 * HOUR)
    assert read_funds_at(account, funds, 2) == (800.0, 1_040.0)
    assert read_funds_at(account, funds, 3) == (1_059.0, None)


def test_reserved_money_is_part_of_the_equity(account: TradedAccount) -> None:
    order = account.order("buy", 2)
    with account.store.write() as connection:
        connection.execute(
            "INSERT INTO reservations VALUES (?, ?, 'paper', '300', 0)", (order, account.name)
        )
    assert read_funds_at(account, make_funds(account), 2) == (500.0, 1_040.0)


def test_a_limit_order_that_ends_inside_a_candle_is_open_at_its_open(
    account: TradedAccount,
) -> None:
    account.fill("sell", "2", "130", 2)
    sent, key = MARCH + 3 * HOUR, account.key
    funds = make_funds(account, limit_ended=sent)
    order = account.order("buy", 3)
    spent = ModelFill("buy", 150.0, 2.0, 300.0, 0.0, "quote", -300.0, 2.0, 150.0, is_maker=False)
    funds.reserve(
        order, key.symbol, account.fence, lambda _cash, _equity: spent, moment=sent,
        now_ms=sent * 1_000, is_limit=True,
    )  # fmt: skip
    assert read_funds_at(account, funds, 3) == (760.0, 1_060.0)
    with account.store.write() as connection:
        release_reservation(connection, order)
    assert read_funds_at(account, funds, 3) == (760.0, 1_060.0)
    assert read_funds_at(account, funds, 4) == (1_060.0, None)


@pytest.mark.parametrize(("most", "is_refused"), [(1, True), (2, False), (None, False)])
def test_an_entry_is_refused_if_another_process_has_all_slots(
    account: TradedAccount, most: int | None, *, is_refused: bool
) -> None:
    step_rules = StepRules.from_account(AccountConfig(), ("ETH/USDT",), most)
    hour = Timeframe.parse("1h")
    rules = AccountRules(step_rules, hour, wait_seconds=0, most_positions=most)
    funds = AccountFunds(account.store, account.name, "paper", rules)
    found = funds.reserve(
        "no order",
        "ETH/USDT",
        account.fence,
        lambda _cash, _equity: RefusedOrder("volatility_unknown"),
        moment=MARCH + HOUR,
        now_ms=0,
    )
    assert isinstance(found, RefusedOrder)
    assert (found.kind == "slots_taken") is is_refused


def test_entries_of_other_symbols_in_flight_count_as_positions(
    account: TradedAccount,
) -> None:
    funds = make_funds(account)
    assert funds.count_other_positions("ETH/USDT") == 1
    assert funds.count_other_positions(account.key.symbol) == 0
    account.fill("sell", "2", "130", 2)
    assert funds.count_other_positions("ETH/USDT") == 0
    order = account.order("buy", 3)
    with account.store.write() as connection:
        connection.execute(
            "INSERT INTO reservations VALUES (?, ?, 'paper', '5', 0)", (order, account.name)
        )
    assert funds.count_other_positions("ETH/USDT") == 1
    assert funds.count_other_positions(account.key.symbol) == 0


def test_positions_that_another_process_trades_count_too(account: TradedAccount) -> None:
    symbols = ("ETH/USDT",)
    hour = Timeframe.parse("1h")
    rules = AccountRules(StepRules.from_account(AccountConfig(), symbols), hour, wait_seconds=0)
    elsewhere = AccountFunds(account.store, account.name, "paper", rules)
    assert elsewhere.read_cash() == Decimal(800)
    assert read_funds_at(account, elsewhere, 2) == (800.0, 1_040.0)
