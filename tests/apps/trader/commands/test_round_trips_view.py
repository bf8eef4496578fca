"""The view `round_trips` of the database has the round trips that the trader's commands compute."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest

from onetape.core.trading_rules import TradingRules
from onetape.store.ledger import read_fills
from traded_accounts import TradedAccount
from trader.commands.round_trips import RoundTrip, make_round_trips

#: Minimum amount of an order, and step of amounts, base currency.
MINIMUM = Decimal("0.01")
COLUMNS = (
    "entry_order_id, opened_ms, closed_ms, bought, sold, entry_price, exit_price, fee_base, "
    "fee_quote, profit"
)


def read_view(account: TradedAccount) -> list[tuple[Any, ...]]:
    with account.store.read() as connection:
        return connection.execute(
            f"SELECT {COLUMNS} FROM round_trips WHERE account = ? AND symbol = ? "
            "ORDER BY opened_ms, closed_ms IS NULL",
            (account.name, account.key.symbol),
        ).fetchall()


def compute_trips(account: TradedAccount) -> list[RoundTrip]:
    rules = TradingRules(None, MINIMUM, MINIMUM, Decimal(0))
    fills = read_fills(account.store, account.name, account.key.symbol)
    return make_round_trips(fills, account.base, account.quote, rules)


def make_row(account: TradedAccount, trip: RoundTrip) -> tuple[Any, ...]:
    return (
        trip.entry_order_id,
        trip.opened_ms,
        trip.closed_ms,
        float(trip.bought),
        float(trip.sold),
        float(trip.entry_price),
        None if trip.exit_price is None else float(trip.exit_price),
        float(trip.fees.get(account.base, 0)),
        float(trip.fees.get(account.quote, 0)),
        None if trip.profit is None else float(trip.profit),
    )


def trade_at_random(account: TradedAccount, random: Random, trips: int) -> None:
    """Store round trips with fees in both currencies, partial sells and dust; the last is open."""
    hours = 1.0
    for number in range(trips):
        amount = Decimal(random.randint(100, 900)) / 100
        price, fee = str(random.randint(90, 110)), amount / 1_000
        is_base_fee = random.random() < 0.5
        account.fill(
            "buy", str(amount), price, hours,
            fee=str(fee), fee_currency=account.base if is_base_fee else account.quote,
        )  # fmt: skip
        left = amount - fee if is_base_fee else amount
        parts = random.randint(1, 3)
        for part in range(parts):
            is_last = part == parts - 1
            if is_last and number == trips - 1:
                break
            sold = (left if is_last else left / 2).quantize(MINIMUM, rounding="ROUND_DOWN")
            left -= sold
            hours += 1
            account.fill("sell", str(sold), str(random.randint(90, 110)), hours, fee="0.25")
        hours += 1


def test_the_view_has_the_round_trips_of_the_fills(
    account: TradedAccount, random_seed: int
) -> None:
    account.least_amount(str(MINIMUM))
    trade_at_random(account, Random(random_seed), 30)  # noqa: S311 - a scenario, no secret
    expected = [make_row(account, trip) for trip in compute_trips(account)]
    found = read_view(account)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for row, values in zip(found, expected, strict=True):
        assert row[3:] == pytest.approx(values[3:])
    assert expected[-1][2] is None


def test_the_next_position_may_begin_in_the_millisecond_in_which_one_ends(
    account: TradedAccount,
) -> None:
    for price in ("100", "105"):
        account.fill("buy", "1", price, 1)
        account.fill("sell", "1", "110", 1)
    assert [(row[0], row[-1]) for row in read_view(account)] == [("test-1", 10.0), ("test-3", 5.0)]


def test_a_partly_sold_position_is_open_and_has_no_profit(account: TradedAccount) -> None:
    account.fill("buy", "1", "100", 1)
    account.fill("sell", "0.5", "110", 2)
    ((entry, _, closed_ms, bought, sold, *_, profit),) = read_view(account)
    assert (entry, closed_ms, bought, sold, profit) == ("test-1", None, 1.0, 0.5, None)


def test_each_account_and_symbol_has_its_own_round_trips(account: TradedAccount) -> None:
    account.fill("buy", "1", "100", 1)
    with TradedAccount(account.store.path, "other", symbol="ETH/USDT") as other:
        other.fill("buy", "2", "50", 2)
        other.fill("sell", "2", "60", 3)
        assert [row[-1] for row in read_view(other)] == [20.0]
    assert [row[-1] for row in read_view(account)] == [None]
