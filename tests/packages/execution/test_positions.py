"""Positions are sums of fills."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from onetape.core.trading import Fill, Side
from onetape.core.trading_rules import TradingRules
from onetape.execution.positions import sum_position

STEPS = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.002"), Decimal(5))


def trade(
    side: Side, amount: str, price: str, fee: str = "0", currency: str = "USDT", order: str = "o"
) -> Fill:
    return Fill(
        "binance", "BTC/USDT", f"t{amount}{price}", order, "s", "paper", "a", side, Decimal(price),
        Decimal(amount), Decimal(fee), currency, 0,
    )  # fmt: skip


def test_each_fee_is_deducted_from_the_currency_it_was_paid_in() -> None:
    trades = [
        trade("buy", "0.3", "100.1", "0.0003", "BTC"),
        trade("sell", "0.1", "110.2", "0.01102", "USDT"),
        trade("sell", "0.1", "120", "0.0001", "BNB"),
    ]
    position = sum_position(trades, "BTC", "USDT", STEPS)
    assert position.base == Decimal("0.0997")
    assert position.quote == Decimal("-30.03") + Decimal("11.02") + 12 - Decimal("0.01102")
    assert position.fills == 3
    assert position.fees == {
        "BTC": Decimal("0.0003"), "USDT": Decimal("0.01102"), "BNB": Decimal("0.0001")
    }  # fmt: skip


def test_no_fills_are_no_position() -> None:
    position = sum_position([], "BTC", "USDT", STEPS)
    assert (position.base, position.quote, position.is_flat) == (0, 0, True)


def test_a_partial_exit_leaves_the_position_open_at_the_cost_of_the_rest() -> None:
    trades = [trade("buy", "0.4", "100", order="entry"), trade("sell", "0.1", "110", order="exit")]
    position = sum_position(trades, "BTC", "USDT", STEPS)
    assert (position.entry_order_id, position.cost) == ("entry", Decimal("30.0"))
    assert position.dust == 0


def test_less_than_the_minimum_order_is_dust_and_no_position() -> None:
    trades = [trade("buy", "0.1015", "100", order="first"), trade("sell", "0.1", "100")]
    position = sum_position(trades, "BTC", "USDT", STEPS)
    assert (position.is_flat, position.dust, position.cost) == (True, Decimal("0.0015"), 0)
    again = sum_position([*trades, trade("buy", "0.2", "90", order="second")], "BTC", "USDT", STEPS)
    assert (again.entry_order_id, again.base) == ("second", Decimal("0.2015"))
    assert (again.earlier_dust, again.open_amount) == (Decimal("0.0015"), Decimal("0.2"))


def test_a_position_ends_when_its_coins_are_sold_whatever_dust_was_there() -> None:
    trades = [trade("buy", "0.1015", "100"), trade("sell", "0.1", "100")]
    trades += [trade("buy", "0.1007", "90", order="second"), trade("sell", "0.1", "95")]
    position = sum_position(trades, "BTC", "USDT", STEPS)
    assert (position.is_flat, position.dust) == (True, Decimal("0.0022"))
    # The next sell takes it along.
    trades += [trade("buy", "0.1", "90", order="third"), trade("sell", "0.102", "95")]
    position = sum_position(trades, "BTC", "USDT", STEPS)
    assert (position.is_flat, position.dust) == (True, Decimal("0.0002"))


def test_dust_stays_dust_when_the_exchange_makes_the_amount_step_smaller() -> None:
    sold = structs.replace(trade("sell", "0.49", "110"), min_sell_amount=Decimal("0.01"))
    trades = [trade("buy", "0.5", "100", "0.0005", "BTC"), sold]
    small_steps = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5))
    position = sum_position(trades, "BTC", "USDT", small_steps)
    assert (position.is_flat, position.dust) == (True, Decimal("0.0095"))


amounts = st.integers(1, 10**12).map(lambda units: Decimal(units).scaleb(-8))


@given(st.lists(st.tuples(amounts, amounts), max_size=20))
def test_buying_and_selling_the_same_amount_leaves_no_position(
    fills: list[tuple[Decimal, Decimal]],
) -> None:
    sides: tuple[Side, Side] = ("buy", "sell")
    trades = [trade(side, str(amount), str(price)) for amount, price in fills for side in sides]
    position = sum_position(trades, "BTC", "USDT")
    assert (position.base, position.quote, position.cost, position.is_flat) == (0, 0, 0, True)
