"""`trader trades`: rows, formats, ranges and accounts."""

import csv
import io
import json
from collections.abc import Callable

import pytest

from traded_accounts import DATABASE, CommandResult, TradedAccount, compute_hour_ms

Run = Callable[..., CommandResult]


def fill_twice(account: TradedAccount) -> None:
    """Store a buy at 01:00 and a sell at 02:30 of 1 March 2024."""
    account.fill("buy", "0.123456789012345678", "100.1", 1, fee="0.000000000000000001")
    account.fill("sell", "0.123456789012345678", "104", 2.5, fee="0.5", fee_currency="BNB")


def test_csv_has_all_digits_and_ids_of_each_trade(trader: Run, account: TradedAccount) -> None:
    fill_twice(account)
    buy, sell = csv.DictReader(io.StringIO(trader("trades", "--csv").out))
    assert buy == {
        "date": "2024-03-01T01:00:00.000Z",
        "account": "test",
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "side": "buy",
        "amount": "0.123456789012345678",
        "price": "100.1",
        "fee": "0.000000000000000001",
        "fee_currency": "USDT",
        "order_id": "test-1",
        "trade_id": "fill-test-1",
        "session": "session of test",
    }
    assert (sell["date"], sell["fee_currency"]) == ("2024-03-01T02:30:00.000Z", "BNB")


def test_json_has_what_csv_has_and_milliseconds(trader: Run, account: TradedAccount) -> None:
    fill_twice(account)
    shown = json.loads(trader("trades", "--json").out)["fills"]
    rows = list(csv.DictReader(io.StringIO(trader("trades", "--csv").out)))
    assert [one["executed_ms"] for one in shown] == [compute_hour_ms(1), compute_hour_ms(2.5)]
    assert [{key: one[key] for key in rows[0]} for one in shown] == rows


def test_a_range_includes_its_start_and_excludes_its_end(
    trader: Run, account: TradedAccount
) -> None:
    fill_twice(account)
    first = trader("trades", "--csv", "--from", "2024-03-01T01:00", "--to", "2024-03-01T02:30")
    assert [line.split(",")[4] for line in first.out.splitlines()] == ["side", "buy"]
    second = trader("trades", "--csv", "--from", "2024-03-01T01:01")
    assert [line.split(",")[4] for line in second.out.splitlines()] == ["side", "sell"]


def test_fills_of_several_accounts_are_in_the_order_of_time_and_name_the_account(
    trader: Run, account: TradedAccount
) -> None:
    fill_twice(account)
    with TradedAccount(DATABASE.resolve(), "other", symbol="ETH/USDT") as other:
        other.fill("buy", "1", "10", 2)
    shown = trader("trades")
    names = [line.split()[2] for line in shown.out.splitlines()[1:4]]
    assert names == ["test", "other", "test"]
    only = trader("trades", "--csv", "--symbol", "ETH/USDT")
    assert len(only.out.splitlines()) == 2


def test_each_symbol_of_an_account_has_the_decimals_of_its_market(
    trader: Run, account: TradedAccount
) -> None:
    account.candles((61_240.1, 61_300.5, 61_200.0, 61_250.5))
    account.fill("buy", "0.01", "61240.1", 1)
    with TradedAccount(DATABASE.resolve(), "test", symbol="DOGE/USDT") as doge:
        doge.candles((0.12345, 0.1235, 0.123, 0.12346))
        doge.fill("buy", "1000", "0.12346", 2)
    bitcoin, dogecoin = trader("trades").out.splitlines()[1:3]
    assert " 61,240.1 " in bitcoin
    assert " 0.12346 " in dogecoin


def test_an_account_without_trades_is_no_error(trader: Run, account: TradedAccount) -> None:
    del account
    assert trader("trades").out == "database: data/onetape.db; 0 fills; times are UTC\n"
    assert len(trader("trades", "--csv").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--from", "2025-01-01"], 4, "the stored fills go from 2024-03-01 01:00 to 2024-03-01 02"),
        (["--from", "yesterday"], 2, "--from 'yesterday' was not understood"),
        (["--from", "2024-03-02", "--to", "2024-03-01"], 2, "is not after from"),
        (["--csv", "--json"], 2, "--csv and --json are two formats"),
    ],
)
def test_flags_that_match_nothing_print_one_line(
    trader: Run, account: TradedAccount, flags: list[str], code: int, words: str
) -> None:
    fill_twice(account)
    ended = trader("trades", *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert words in ended.err
