"""`trader profit` and `trader accounts`: sums of round trips, exact in Decimal."""

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import SeriesKey
from onetape.core.trading import Fill, Side
from onetape.core.trading_rules import TradingRules
from onetape.execution.positions import sum_position
from onetape.store.accounts import AccountSeries
from traded_accounts import DATABASE, CommandResult, TradedAccount, compute_hour_ms
from trader.commands.account_result import compute_account_result
from trader.commands.profit_periods import PERIODS, parse_timezone, sum_profit_by_period
from trader.commands.round_trips import make_round_trips

Run = Callable[..., CommandResult]
DAY = 24


def parse_document(ended: CommandResult) -> dict[str, Any]:
    return json.loads(ended.out)


def trade_days(account: TradedAccount, *days: float) -> None:
    """Store a round trip that ends on each of these days after 1 March and earns that many USDT."""
    for number, day in enumerate(days, start=1):
        account.fill("buy", "1", "100", day * DAY - 0.5)
        account.fill("sell", "1", str(101 + number), day * DAY, fee="1")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("day", [("2024-03-01", 1), ("2024-03-04", 2), ("2024-03-10", 3), ("2024-04-01", 4)]),
        ("week", [("2024-02-26", 1), ("2024-03-04", 5), ("2024-04-01", 4)]),
        ("month", [("2024-03-01", 6), ("2024-04-01", 4)]),
    ],
)
def test_profit_is_summed_by_the_period_of_the_last_sell(
    trader: Run, account: TradedAccount, by: str, expected: list[tuple[str, int]]
) -> None:
    trade_days(account, 0.5, 3, 9.5, 31)
    (shown,) = parse_document(trader("profit", "--by", by, "--json"))["currencies"]
    found = [(one["first_day"], Decimal(one["profit"])) for one in shown["periods"]]
    assert found == expected
    assert shown["total"]["profit"] == "10"
    assert shown["total"]["fees"] == {"USDT": "4"}


def test_a_time_zone_moves_a_trade_into_another_day(trader: Run, account: TradedAccount) -> None:
    trade_days(account, 0.97)  # 23:16 UTC on 1 March
    for zone, day in (("UTC", "2024-03-01"), ("Europe/Berlin", "2024-03-02")):
        (shown,) = parse_document(trader("profit", "--timezone", zone, "--json"))["currencies"]
        assert shown["periods"][0]["first_day"] == day


def test_quote_currencies_are_listed_separately_and_never_added(
    trader: Run, account: TradedAccount
) -> None:
    trade_days(account, 1)
    with TradedAccount(DATABASE.resolve(), "coins", symbol="ETH/BTC", cash="2") as other:
        other.fill("buy", "1", "0.05", 1)
        other.fill("sell", "1", "0.06", 2, fee="0.00006")
    shown = parse_document(trader("profit", "--json"))["currencies"]
    assert [(one["currency"], one["total"]["profit"]) for one in shown] == [
        ("BTC", "0.00994"),
        ("USDT", "1"),
    ]
    text = trader("profit").out
    assert "profit, BTC" in text
    assert "+0.00994000" in text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--by", "year"], "--by 'year' is not one of day, week, month"),
        (["--timezone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["--timezone", "../x"], "--timezone '../x' is not known"),
    ],
)
def test_an_unknown_period_or_time_zone_prints_one_line(
    trader: Run, account: TradedAccount, flags: list[str], words: str
) -> None:
    del account
    ended = trader("profit", *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert words in ended.err


def test_accounts_are_ranked_by_return_with_buy_and_hold(
    trader: Run, account: TradedAccount
) -> None:
    account.candles((100, 101, 99, 100), (100, 111, 99, 110))
    account.fill("buy", "1", "100", 0.5)
    account.fill("sell", "1", "105", 0.9)
    with TradedAccount(DATABASE.resolve(), "better", cash="100") as other:
        other.fill("buy", "1", "100", 0.5)
        other.fill("sell", "1", "104", 0.9)
    first, second = parse_document(trader("accounts", "--json"))["accounts"]
    assert [(one["account"], one["return"]) for one in (first, second)] == [
        ("better", 0.04),
        ("test", 0.005),
    ]
    # Bought at 100, the open of the first candle after the account was opened, with a fee of 0.1 %.
    assert second["buy_and_hold_return"] == pytest.approx(110 / 100 / 1.001 - 1)


AMOUNT = st.decimals("0.00000001", "1000000", places=8)
PRICE = st.decimals("0.00000001", "1000000", places=8)
CURRENCY = st.sampled_from(["USDT", "BTC", "BNB"])
FEE = st.decimals("-10", "1000", places=18)


@st.composite
def draw_accounts(draw: st.DrawFn) -> list[Fill]:
    """Return fills of whole round trips, the last of which may be open."""
    trades: list[Fill] = []
    for number in range(draw(st.integers(1, 12))):
        side: Side = "sell" if number % 2 else "buy"
        trades += [
            Fill(
                "binance", "BTC/USDT", f"{number}-{part}", f"o{number}", "s", "paper", "a", side,
                draw(PRICE), draw(AMOUNT), draw(FEE), draw(CURRENCY),
                compute_hour_ms(number * 7 + part),
            )
            for part in range(draw(st.integers(1, 2)))
        ]  # fmt: skip
    return trades


def compute_money_after(trades: Sequence[Fill], price: Decimal) -> Decimal:
    """Return the value of 1,000 USDT after all fills, added up fill by fill."""
    cash, coins = Decimal(1_000), Decimal(0)
    for trade in trades:
        value = trade.price * trade.amount
        cash += value if trade.side == "sell" else -value
        coins += trade.amount if trade.side == "buy" else -trade.amount
        cash -= trade.fee if trade.fee_currency == "USDT" else 0
        coins -= trade.fee if trade.fee_currency == "BTC" else 0
    return cash + coins * price


@given(draw_accounts(), PRICE)
def test_realised_and_unrealised_profit_add_up_to_the_equity(
    trades: list[Fill], price: Decimal
) -> None:
    opened = AccountSeries(
        "a", "paper", "binance", "BTC/USDT", "1h", "rsi", "USDT", Decimal(1_000), 0
    )
    with localcontext(prec=100):
        result = compute_account_result(opened, trades, price)
        assert result.unrealised is not None
        assert result.equity == compute_money_after(trades, price)
        assert result.equity == 1_000 + result.realised + result.unrealised


@given(draw_accounts(), st.sampled_from(PERIODS), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_each_closed_round_trip_is_in_exactly_one_period(
    trades: list[Fill], period: Any, zone: str
) -> None:
    trips = make_round_trips(trades, "BTC", "USDT")
    closed = [trip for trip in trips if trip.closed_ms is not None]
    periods = sum_profit_by_period(trips, period, parse_timezone(zone))
    with localcontext(prec=100):
        assert sum(one.round_trips for one in periods) == len(closed)
        assert sum(one.profit for one in periods) == sum(trip.quote_flow for trip in closed)


@given(draw_accounts())
def test_each_fill_belongs_to_one_round_trip_even_if_all_have_the_same_time(
    trades: list[Fill],
) -> None:
    at_once = [replace(fill, executed_ms=5) for fill in trades]
    with localcontext(prec=100):
        trips = make_round_trips(at_once, "BTC", "USDT")
        fills = [fill for trip in trips for fill in trip.fills]
        assert len({id(fill) for fill in fills}) == len(fills)
        assert [fill for fill in fills if fill.side == "buy"] == [
            fill for fill in at_once if fill.side == "buy"
        ]
        for trip in trips:
            assert trip.bought == sum(one.amount for one in trip.fills if one.side == "buy")


@given(draw_accounts(), st.sampled_from([None, "0.00000001", "1000"]))
def test_a_round_trip_is_open_exactly_if_the_trader_has_a_position(
    trades: list[Fill], least: str | None
) -> None:
    steps = None
    if least is not None:
        steps = TradingRules(None, Decimal(least), Decimal(0), Decimal(0))
    with localcontext(prec=100):
        for count in range(1, len(trades) + 1):
            trips = make_round_trips(trades[:count], "BTC", "USDT", steps)
            entry = sum_position(trades[:count], "BTC", "USDT", steps).entry_order_id
            opened = [trip.entry_order_id for trip in trips if trip.closed_ms is None]
            assert opened == ([] if entry is None else [entry])


@pytest.fixture
def two_currencies(account: TradedAccount) -> Iterator[TradedAccount]:
    """Return an account in USDT that earned 1, and one in BTC that earned 0.5 an hour later."""
    account.fill("buy", "1", "100", 1)
    account.fill("sell", "1", "101", 2)
    path = account.store.path
    with TradedAccount(path, name="btc", symbol="ETH/BTC", cash="1") as other:
        other.fill("buy", "1", "2", 1)
        other.fill("sell", "1", "2.5", 3.5)
        yield other


@pytest.mark.parametrize("symbol", ["BTC/USDT", "USDT/BTC"])
def test_profit_of_several_currencies_is_converted_at_the_close_before_the_sell(
    trader: Run, two_currencies: TradedAccount, symbol: str
) -> None:
    closes = [10.0, 20.0, 40.0, 80.0]
    prices = closes if symbol == "BTC/USDT" else [1 / close for close in closes]
    two_currencies.key = SeriesKey("binance", symbol, "1h")
    two_currencies.candles(*[(price, price, price, price) for price in prices])
    assert len(parse_document(trader("profit", "--json"))["currencies"]) == 2
    (shown,) = parse_document(trader("profit", "--currency", "usdt", "--json"))["currencies"]
    # The candle of 02:00 has closed at 40, that of 03:00 is open at 03:30.
    assert (shown["currency"], Decimal(shown["total"]["profit"])) == ("USDT", Decimal(21))
    assert f"converted by the closes of binance {symbol} 1h" in trader(
        "profit", "--currency", "USDT"
    ).out.replace("\n  ", " ")


def test_without_candles_of_both_currencies_nothing_is_converted(
    trader: Run, two_currencies: TradedAccount
) -> None:
    del two_currencies
    ended = trader("profit", "--currency", "EUR")
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "uv run backfiller --symbol BTC/EUR" in ended.err
