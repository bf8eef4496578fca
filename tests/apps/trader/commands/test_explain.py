"""`trader explain`: what was decided on one candle, which check failed, and what followed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onetape.store.latecomers import insert_latecomers
from traded_accounts import MARCH, CommandResult, TradedAccount, compute_hour_ms

Run = Callable[..., CommandResult]
OPEN = (100.0, 101.0, 99.0, 100.5)


@pytest.fixture
def traded(account: TradedAccount) -> TradedAccount:
    """Return an account that decided on the candles 20 to 24, and has bought in the candle 21."""
    account.candles(*[OPEN] * 30)
    account.least_amount("0.01")
    account.decide(20, 1, {"strategy": "ok", "stream": "ok"})
    account.fill("buy", "2", "100", 21.01, fee="0.2")
    account.decide(22, 1, {"strategy": "ok", "stream": "the stream is not up"})
    account.decide(24, 0, {"strategy": "ok"})
    return account


def explain_hour(trader: Run, hour: int) -> dict[str, Any]:
    moment = datetime(2024, 3, 1, 0, 30, tzinfo=UTC) + timedelta(hours=hour)
    ended = trader("explain", "--at", f"{moment:%Y-%m-%dT%H:%M}", "--json")
    (found,) = json.loads(ended.out)["candles"]
    return found


def test_explain_names_the_failed_check_as_the_reason_for_no_order(
    trader: Run, traded: TradedAccount
) -> None:
    del traded
    found = explain_hour(trader, 22)
    assert found["order"] == "none (stream: the stream is not up)"
    assert found["position"] == "2.00 BTC at the close"
    shown = trader("explain", "--at", "2024-03-01T22:30").out
    assert "checks:     stream: the stream is not up; passed: strategy\n" in shown
    assert "rows seen:  23 closed candles, the first of 2024-03-01 00:00" in shown


def test_a_latecomer_is_named_by_explain_and_status(trader: Run, traded: TradedAccount) -> None:
    text = (
        "the entries at 2024-03-01 21:00 went on without BTC/USDT after 5 s: its exit is not filled"
    )
    insert_latecomers(
        traded.store,
        {traded.session.session: "its exit is not filled"},
        MARCH + 21 * 3_600,
        noted_ms=compute_hour_ms(21.1),
        waited_seconds=5.0,
    )
    assert explain_hour(trader, 20)["latecomers"] == [text]
    assert explain_hour(trader, 22)["latecomers"] == []
    assert f"late:       {text}\n" in trader("explain", "--at", "2024-03-01T20:30").out
    status = trader("status")
    assert "last late" in status.out
    assert json.loads(trader("status", "--json").out)["traders"][0]["last_late"]["symbol"] == (
        "BTC/USDT"
    )


def test_a_fill_is_shown_with_its_candle_and_hold_as_the_reason_for_no_order(
    trader: Run, traded: TradedAccount
) -> None:
    del traded
    assert explain_hour(trader, 20)["position"] == "none at the close"
    assert explain_hour(trader, 24)["order"] == "none (signal was HOLD)"
    (inside,) = explain_hour(trader, 21)["inside"]
    assert inside == "bought 2.00 BTC at 100.00 USDT on 2024-03-01 21:00"


def test_explain_names_the_cause_of_a_missing_decision(trader: Run, traded: TradedAccount) -> None:
    traded.end("SIGTERM", hours=22.5)
    order = explain_hour(trader, 23)["order"]
    assert order == (
        "no decision: no session ran when it closed; the one before ended 2024-03-01 22:30 "
        "(SIGTERM)"
    )


def test_the_decision_is_compared_with_the_signal_on_the_candles_stored_now(
    trader: Run, traded: TradedAccount
) -> None:
    del traded
    assert explain_hour(trader, 22)["signal_now"]["signal"] == "HOLD"
    assert "signal HOLD, the decision was BUY" in trader("explain", "--at", "2024-03-01T22:30").out


@pytest.mark.parametrize("moment", ["2024-02-01", "2024-03-05"])
def test_a_time_outside_the_decisions_prints_one_line_with_their_range(
    trader: Run, traded: TradedAccount, moment: str
) -> None:
    del traded
    ended = trader("explain", "--at", moment)
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "from 2024-03-01 20:00 to 2024-03-02 00:00 UTC" in ended.err


def test_an_account_without_a_decision_prints_one_line(trader: Run, account: TradedAccount) -> None:
    del account
    ended = trader("explain", "--at", "2024-03-01")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "has decided on no candle of BTC/USDT yet" in ended.err


def test_a_strategy_that_cannot_be_loaded_hides_no_stored_decision(
    trader: Run, traded: TradedAccount
) -> None:
    with traded.store.write() as connection:
        connection.execute("UPDATE sessions SET strategy = 'gone'")
    ended = trader("explain", "--at", "2024-03-01T22:30")
    assert ended.code == 0
    assert "backtest:   not evaluated: the strategy 'gone' of account" in ended.out
    assert "order:      none (stream: the stream is not up)" in ended.out
