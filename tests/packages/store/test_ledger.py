"""Sessions, decisions, orders and trades, and the positions that trades add up to."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from onetape.core.errors import SafetyRefusal, StoreError
from onetape.core.trading import Decision, ExitObligation, Fill, Order, Session
from onetape.core.trading_rules import TradingRules
from onetape.execution.events import (
    Acknowledged,
    CancelRequested,
    OrderEvent,
    StatusReport,
    Submitted,
)
from onetape.store.accounts import AccountSeries, open_account
from onetape.store.database import Store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import (
    insert_decision,
    read_decided_signals,
    read_fills,
    read_last_decided,
)
from onetape.store.market_data import (
    BestPrices,
    delete_tickers_before,
    insert_ticker,
    read_last_ticker,
    read_trading_rules,
    save_trading_rules,
)
from onetape.store.obligations import (
    end_obligations_of_closed_positions,
    read_open_obligation,
    restore_obligation,
)
from onetape.store.orders import (
    has_open_or_unbooked_orders,
    insert_order,
    read_unfinished_orders,
    store_order_change,
    sum_unbooked_buys,
)
from onetape.store.sessions import (
    close_data_outages,
    end_session,
    open_data_outage,
    start_session,
)
from order_changes import change_of, end_of, fill_of

SESSION = Session(
    "s1", "trader", "paper", "a", "binance", "BTC/USDT", "1h", "rsi", {"period": 14}, "d1", 1
)
DECISION = Decision("d1", "s1", 3_600, 1, {"rsi": 28.5, "none": None}, {"fresh": "ok"}, "BUY", 2)
ORDER = Order(
    client_order_id="o1",
    session="s1",
    mode="paper",
    account="a",
    exchange="binance",
    symbol="BTC/USDT",
    timeframe="1h",
    side="buy",
    type="market",
    status="intent",
    decision="d1",
    signal_timestamp=3_600,
    decided_ms=2,
    bid=99.5,
    ask=None,
    intended_price=Decimal("61240.10"),
    reason="rsi under 30",
    strategy="rsi",
    parameters={"period": 14},
    code_digest="d1",
)
TRADE = Fill(
    exchange="binance",
    symbol="BTC/USDT",
    exchange_trade_id="t1",
    client_order_id="o1",
    session="s1",
    mode="paper",
    account="a",
    side="buy",
    price=Decimal("61240.12"),
    amount=Decimal("1E-5"),
    fee=Decimal("0.00000001"),
    fee_currency="BTC",
    executed_ms=3,
)

OBLIGATION = ExitObligation(
    "e1", "a", "paper", "binance", "BTC/USDT", "o1", "market", 3_600, None, 5, "rsi over 70"
)
ACCOUNT = AccountSeries(
    "a", "paper", "binance", "BTC/USDT", "1h", "rsi", "USDT", Decimal(10_000), 1
)  # fmt: skip
FENCE = Fence("a", 1)


@pytest.fixture
def ordered(store: Store) -> Store:
    assert acquire_lease(store, "a", "process 17", now_ms=0, seconds=30) == FENCE.token
    start_session(store, SESSION, FENCE)
    insert_decision(store, DECISION, ORDER, FENCE)
    return store


def read_status(store: Store) -> tuple[str, str | None, str]:
    with store.read() as connection:
        return connection.execute("SELECT status, amount, reason FROM orders").fetchall()[0]  # pyright: ignore[reportReturnType] - three columns


def test_a_fill_is_read_as_it_was_booked_and_closes_its_order(ordered: Store) -> None:
    store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE)
    assert read_fills(ordered, "a", "BTC/USDT") == [TRADE]
    assert read_status(ordered) == ("closed", "0.00001", "rsi under 30")


def test_a_fill_is_stored_once(ordered: Store) -> None:
    store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE)
    with pytest.raises(SafetyRefusal, match="o1 is not as it was"):
        store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE)
    assert len(read_fills(ordered, "a", "BTC/USDT")) == 1


def test_a_fill_needs_its_order(ordered: Store) -> None:
    with pytest.raises(SafetyRefusal, match="o2 is not as it was"):
        store_order_change(ordered, fill_of(replace(TRADE, client_order_id="o2"), at_ms=4), FENCE)


def test_a_candle_has_one_decision_and_a_refused_decision_stores_no_order(
    ordered: Store,
) -> None:
    again = replace(DECISION, decision="d2")
    with pytest.raises(StoreError, match="UNIQUE constraint failed"):
        insert_decision(ordered, again, replace(ORDER, client_order_id="o2", decision="d2"), FENCE)
    with ordered.read() as connection:
        assert connection.execute("SELECT count(*) FROM orders").get == 1


@pytest.mark.parametrize(
    "other", [{"account": "b"}, {"mode": "live"}, {"exchange": "kraken"}, {"symbol": "ETH/USDT"}]
)
def test_decisions_and_fills_of_another_account_mode_or_market_do_not_count(
    ordered: Store, other: dict[str, Any]
) -> None:
    store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE)
    assert read_last_decided(ordered, SESSION) == 3_600
    session = replace(SESSION, session="s2", **other)
    assert read_last_decided(ordered, session) is None
    found = read_fills(
        ordered, session.account, session.symbol, exchange=session.exchange, mode=session.mode
    )
    assert found == []


def test_the_signals_of_a_range_are_those_of_sessions_like_one(
    ordered: Store,
) -> None:
    for hour, signal in ((2, 1), (3, 0), (4, 1)):
        decision = replace(
            DECISION, decision=f"d{hour}", timestamp=hour * 3_600, signal=signal, action="HOLD"
        )
        insert_decision(ordered, decision, None, FENCE)
    hours = [hour * 3_600 for hour in range(7)]
    signals = read_decided_signals(ordered, SESSION, hours[2], hours[5])
    assert signals == {hours[2]: 1, hours[3]: 0, hours[4]: 1}
    assert read_decided_signals(ordered, SESSION, hours[5], hours[6]) == {}
    other = replace(SESSION, account="another")
    assert read_decided_signals(ordered, other, hours[0], hours[6]) == {}


def test_nothing_of_an_account_is_written_once_another_process_has_its_lease(
    ordered: Store,
) -> None:
    acquire_lease(ordered, "a", "process 18", now_ms=60_000, seconds=30)
    again = replace(DECISION, decision="d2", timestamp=7_200)
    writes: list[Callable[[], object]] = [
        lambda: store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE),
        lambda: insert_decision(ordered, again, None, FENCE),
        lambda: store_order_change(ordered, end_of("o1", "canceled", at_ms=9, note="late"), FENCE),
        lambda: start_session(ordered, replace(SESSION, session="s2"), FENCE),
        lambda: insert_order(ordered, replace(ORDER, client_order_id="o2"), FENCE),
        lambda: restore_obligation(ordered, OBLIGATION, FENCE),
        lambda: end_obligations_of_closed_positions(
            ordered, SESSION, FENCE, entry_order_id=None, ended_ms=9
        ),
        lambda: open_account(ordered, ACCOUNT, FENCE),
    ]
    for write in writes:
        with pytest.raises(SafetyRefusal, match="another process took over"):
            write()
    assert read_status(ordered) == ("intent", None, "rsi under 30")
    with ordered.read() as connection:
        counts = "SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM decisions)"
        assert connection.execute(counts).fetchall() == [(0, 1)]
        for table in ("sessions", "orders"):
            assert connection.execute(f"SELECT count(*) FROM {table}").get == 1
        for table in ("exit_obligations", "accounts"):
            assert connection.execute(f"SELECT count(*) FROM {table}").get == 0


def test_the_exit_of_a_decision_is_pending_until_its_order_is_filled(ordered: Store) -> None:
    sell = replace(DECISION, decision="d2", timestamp=7_200, signal=-1, action="SELL")
    order = replace(
        ORDER, client_order_id="o2", decision="d2", side="sell", entry_order_id="o1",
        obligation="e1",
    )  # fmt: skip
    insert_decision(ordered, sell, order, FENCE, obligation=OBLIGATION)
    assert read_open_obligation(ordered, SESSION, "o1") == OBLIGATION
    trade = replace(TRADE, client_order_id="o2", side="sell")
    store_order_change(ordered, fill_of(trade, at_ms=4, obligation_end="filled"), FENCE)
    assert read_open_obligation(ordered, SESSION, "o1") is None


def test_a_second_cause_of_a_pending_exit_changes_nothing(ordered: Store) -> None:
    second = replace(OBLIGATION, obligation="e2", cause="stop_loss", reason="stop")
    assert restore_obligation(ordered, OBLIGATION, FENCE)
    assert not restore_obligation(ordered, second, FENCE)
    assert read_open_obligation(ordered, SESSION, "o1") == OBLIGATION
    with ordered.read() as connection:
        assert connection.execute("SELECT count(*) FROM exit_obligations").get == 1


def test_an_exit_whose_decision_cannot_be_stored_is_not_pending(ordered: Store) -> None:
    order = replace(ORDER, client_order_id="o2", side="sell", entry_order_id="o1")
    sell = replace(DECISION, signal=-1, action="SELL")
    with pytest.raises(StoreError):
        insert_decision(ordered, sell, order, FENCE, obligation=OBLIGATION)
    assert read_open_obligation(ordered, SESSION, "o1") is None


def test_an_order_whose_row_was_edited_is_not_filled(ordered: Store) -> None:
    with ordered.write() as connection:
        connection.execute("UPDATE orders SET status = 'canceled'")
    with pytest.raises(SafetyRefusal, match="o1 is not as it was"):
        store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE)
    assert read_fills(ordered, "a", "BTC/USDT") == []


def test_an_order_that_was_canceled_meanwhile_is_not_filled(ordered: Store) -> None:
    store_order_change(ordered, end_of("o1", "canceled", at_ms=3, note="by hand"), FENCE)
    with pytest.raises(SafetyRefusal, match="o1 is not as it was"):
        store_order_change(ordered, fill_of(TRADE, at_ms=4), FENCE)
    assert read_fills(ordered, "a", "BTC/USDT") == []
    assert read_status(ordered)[0] == "canceled"


def test_a_change_of_an_order_that_rests_on_fewer_events_than_are_stored_is_refused(
    ordered: Store,
) -> None:
    requested = change_of("o1", [CancelRequested("by hand")], at_ms=4)
    store_order_change(ordered, requested, FENCE)
    with pytest.raises(SafetyRefusal, match="o1 is not as it was"):
        store_order_change(ordered, fill_of(TRADE, at_ms=5), FENCE)
    assert read_fills(ordered, "a", "BTC/USDT") == []


def test_an_order_whose_fills_are_not_all_stored_is_not_finished(ordered: Store) -> None:
    filled: list[OrderEvent] = [Acknowledged("x1"), StatusReport("closed", Decimal(1))]
    store_order_change(ordered, change_of("o1", filled, at_ms=4), FENCE)
    (left,) = read_unfinished_orders(ordered, SESSION)
    assert left.order.status == "closed"


def test_an_order_that_is_filled_by_an_unknown_amount_counts_as_open(ordered: Store) -> None:
    with ordered.write() as connection:
        connection.execute("UPDATE orders SET ordered_amount = '2'")
    closed: list[OrderEvent] = [Submitted(), Acknowledged("x1"), StatusReport("closed")]
    store_order_change(ordered, change_of("o1", closed, at_ms=4), FENCE)
    assert has_open_or_unbooked_orders(ordered, "a", "BTC/USDT")
    assert sum_unbooked_buys(ordered, "a", "BTC/USDT") == Decimal(2)
    assert [one.order.client_order_id for one in read_unfinished_orders(ordered, SESSION)] == ["o1"]


def test_a_session_that_was_killed_is_ended_by_the_one_that_takes_over(ordered: Store) -> None:
    open_data_outage(ordered, "s1", from_ms=10, reason="socket closed")
    fence = Fence("a", acquire_lease(ordered, "a", "process 18", now_ms=60_000, seconds=30))
    start_session(ordered, replace(SESSION, session="s2", started_ms=50), fence)
    end_session(ordered, "s1", ended_ms=99, reason="its own, too late")
    with ordered.read() as connection:
        ended = connection.execute("SELECT session, ended_ms, end_reason FROM sessions").fetchall()
        blind = connection.execute("SELECT to_ms FROM data_outages").fetchall()
    words = "lost: it wrote no end; process 18 took over as session s2"
    assert ended == [("s1", 50, words), ("s2", None, None)]
    assert blind == [(50,)]


def test_an_order_without_a_fill_ends_with_a_reason(ordered: Store) -> None:
    store_order_change(ordered, end_of("o1", "rejected", at_ms=9, note="under the minimum"), FENCE)
    assert read_status(ordered) == ("rejected", None, "rsi under 30; under the minimum")


def test_a_session_has_its_data_outages_and_the_reason_of_its_end(ordered: Store) -> None:
    open_data_outage(ordered, "s1", from_ms=10, reason="socket closed")
    open_data_outage(ordered, "s1", from_ms=10, reason="socket closed")
    close_data_outages(ordered, "s1", to_ms=20)
    end_session(ordered, "s1", ended_ms=30, reason="stopped")
    with ordered.read() as connection:
        blind = connection.execute("SELECT from_ms, to_ms FROM data_outages").fetchall()
        ended = connection.execute("SELECT ended_ms, end_reason FROM sessions").fetchall()
    assert (blind, ended) == ([(10, 20)], [(30, "stopped")])


def test_tickers_are_read_newest_first_and_old_ones_are_deleted(store: Store) -> None:
    for moment, bid in ((1, 10.0), (3, 30.0), (2, 20.0)):
        insert_ticker(store, "binance", "BTC/USDT", BestPrices(moment, bid, None, None))
    assert read_last_ticker(store, "binance", "BTC/USDT", now_ms=3) == BestPrices(
        3, 30.0, None, None
    )
    assert delete_tickers_before(store, "binance", "BTC/USDT", 3) == 2
    assert read_last_ticker(store, "binance", "ETH/USDT", now_ms=3) is None


def test_a_ticker_dated_in_the_future_hides_no_newer_one_until_its_time_has_come(
    store: Store,
) -> None:
    now_ms, ahead_ms = 1_000_000, 1_000_000 + 3_600_000
    for moment in (now_ms, now_ms + 1_000, ahead_ms):
        insert_ticker(store, "binance", "BTC/USDT", BestPrices(moment, 1.0, None, None))

    def known(now_ms: int) -> int | None:
        ticker = read_last_ticker(store, "binance", "BTC/USDT", now_ms=now_ms)
        return None if ticker is None else ticker.timestamp_ms

    assert known(now_ms - 1_001) is None
    assert known(now_ms) == now_ms + 1_000, "clocks may differ by a second"
    assert known(ahead_ms - 1_001) == now_ms + 1_000
    assert known(ahead_ms) == ahead_ms


def test_a_ticker_with_a_price_of_zero_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="CHECK constraint failed"):
        insert_ticker(store, "binance", "BTC/USDT", BestPrices(1, 0.0, None, None))


def test_market_steps_are_stored_exactly(store: Store) -> None:
    steps = TradingRules(Decimal("0.01"), None, Decimal("1E-5"), Decimal(5))
    assert read_trading_rules(store, "binance", "BTC/USDT") is None
    save_trading_rules(store, "binance", "BTC/USDT", steps, seen_ms=1)
    save_trading_rules(store, "binance", "BTC/USDT", steps, seen_ms=2)
    assert read_trading_rules(store, "binance", "BTC/USDT") == steps
