"""`trader logs`: entries in the order of time, and what counts as a problem."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from onetape.core.errors import UsageError
from onetape.store.corrections import read_decisions_to_evaluate_again, store_correction
from onetape.store.latecomers import insert_latecomers
from onetape.store.orders import store_order_change
from onetape.store.sessions import close_data_outages, open_data_outage
from order_changes import end_of
from traded_accounts import DATABASE, MARCH, CommandResult, TradedAccount, compute_hour_ms
from trader.commands.logs import parse_since

Run = Callable[..., CommandResult]
MARCH_FIRST = ("--since", "2024-03-01")


@pytest.fixture
def eventful(account: TradedAccount) -> TradedAccount:
    """Return an account with an event of each kind, stored in another order than that of time."""
    account.fill("buy", "2", "100", 5, fee="0.2")
    account.decide(3, 1, {"candles": "ok", "stream": "the stream is not up"})
    account.decide(6, 1, {"candles": "ok"})
    account.decide(7, 1, {"re-entry": "no new signal since the exit"})
    account.state("degraded", "the disk is full", "free some space", hours=1)
    account.state("trading", "over after 60 s: the disk is full", hours=1.5)
    session = account.session.session
    open_data_outage(
        account.store, session, from_ms=compute_hour_ms(2), reason="the stream was lost"
    )
    close_data_outages(account.store, session, to_ms=compute_hour_ms(2.5))
    missing = {session: "its exit is not filled"}
    insert_latecomers(
        account.store, missing, MARCH + 4 * 3_600, noted_ms=compute_hour_ms(4.1), waited_seconds=5
    )
    refused = account.intend("buy", 8, reason="signal BUY")
    end = end_of(refused, "rejected", at_ms=compute_hour_ms(8), note="under the least order")
    store_order_change(account.store, end, account.fence)
    with account.store.write() as connection:
        connection.execute(
            "UPDATE decisions SET corrected_ms = ? WHERE decision = 'test-3'", (compute_hour_ms(9),)
        )
    (corrected,) = read_decisions_to_evaluate_again(
        account.store, account.key, account=account.name
    )
    store_correction(account.store, corrected, "BUY is HOLD now")
    return account


def parse_entries(ended: CommandResult) -> list[dict[str, Any]]:
    return json.loads(ended.out)["events"]


def test_problems_are_shown_alone_in_the_order_of_time(
    trader: Run, eventful: TradedAccount
) -> None:
    del eventful
    ended = trader("logs", "--problems", *MARCH_FIRST)
    assert ended.out.splitlines() == [
        "2024-03-01 01:00:00  degraded: the disk is full; free some space",
        "2024-03-01 01:30:00  trading: over after 60 s: the disk is full",
        "2024-03-01 02:00:00  no market data, until 2024-03-01 02:30: the stream was lost",
        "2024-03-01 04:00:00  signal BUY on the candle of 2024-03-01 03:00: no order, stream: "
        "the stream is not up",
        "2024-03-01 04:06:00  late: the entries at 2024-03-01 04:00 went on without BTC/USDT after "
        "5 s: its exit is not filled",
        "2024-03-01 08:00:00  order to buy (market) rejected: signal BUY; under the least order",
        "2024-03-01 09:00:00  a candle before the decision of 2024-03-01 03:00 was corrected: "
        "BUY is HOLD now",
        "database: data/onetape.db; 7 problems since 2024-03-01 00:00; times are UTC",
    ]


def test_without_the_flag_for_problems_all_entries_are_shown(
    trader: Run, eventful: TradedAccount
) -> None:
    eventful.end("SIGTERM", hours=10)
    found = parse_entries(trader("logs", "--json", *MARCH_FIRST))
    plain = [one["text"] for one in found if not one["is_problem"]]
    assert plain == [
        "session started with rsi",
        "bought 2 BTC at 100 USDT, fee 0.2 USDT",
        "signal BUY on the candle of 2024-03-01 06:00: no order, a position is open already",
        "signal BUY on the candle of 2024-03-01 07:00: no order, re-entry: no new signal since "
        "the exit",
        "session ended: SIGTERM",
    ]
    assert [one["at_ms"] for one in found] == sorted(one["at_ms"] for one in found)


def test_entries_before_the_first_moment_are_left_out(trader: Run, eventful: TradedAccount) -> None:
    del eventful
    found = parse_entries(trader("logs", "--json", "--since", "2024-03-01T08:00"))
    assert [one["kind"] for one in found] == ["signal", "order", "correction"]


def test_an_error_that_ended_a_session_is_a_problem(trader: Run, account: TradedAccount) -> None:
    account.end("the strategy failed", hours=3)
    found = parse_entries(trader("logs", "--json", "--problems", *MARCH_FIRST))
    assert [one["text"] for one in found] == ["session ended: the strategy failed"]


def test_with_several_accounts_each_line_names_its_account(
    trader: Run, account: TradedAccount
) -> None:
    del account
    with TradedAccount(DATABASE.resolve(), "other", opened_hours=1) as other:
        other.state("halted", "the file is damaged", hours=2)
    lines = trader("logs", *MARCH_FIRST).out.splitlines()
    assert lines[:3] == [
        "2024-03-01 00:00:00  test: session started with rsi",
        "2024-03-01 01:00:00  other: session started with rsi",
        "2024-03-01 02:00:00  other: halted: the file is damaged",
    ]


@pytest.mark.parametrize(
    ("text", "hours"),
    [("03:00", 27), ("05:00", 5), ("2024-03-01", 0), ("04:30:00", 28.5), ("20240301T0300", 3)],
)
def test_since_takes_a_date_or_the_last_occurrence_of_a_time_of_day(
    text: str, hours: float
) -> None:
    assert parse_since(text, compute_hour_ms(28.6)) == compute_hour_ms(hours)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("25:00", "--since '25:00' was not understood"),
        ("never", "--since 'never' was not understood"),
        ("2024-03-09", "is in the future; it is 2024-03-02 04:36 UTC there"),
    ],
)
def test_an_invalid_since_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_since(text, compute_hour_ms(28.6))


def test_known_candles_without_a_decision_are_not_reported_as_missing_market_data(
    trader: Run, account: TradedAccount
) -> None:
    open_data_outage(
        account.store,
        account.session.session,
        from_ms=compute_hour_ms(2),
        to_ms=compute_hour_ms(4),
        reason="no session ran; 2 candles without a decision",
    )
    ended = trader("logs", "--problems", *MARCH_FIRST)
    assert (
        "no decision, until 2024-03-01 04:00: no session ran; 2 candles without a decision"
        in ended.out
    )
