"""Limits of live entries: smaller or refused entries, and breaches that a person clears."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from live_desk import ACCOUNT, BALANCE, KEY, LiveDesk, open_live_desk
from onetape.core.candles import Candle, SeriesKey
from onetape.execution.risk_limits import RiskLimits
from onetape.simulator.faults.model import Fault
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.market_data import BestPrices, insert_ticker
from onetape.store.orders import insert_order
from onetape.store.reservations import FeeSum
from onetape.store.risk_states import read_risk_states
from onetape.store.sessions import start_session
from trader.live import fee_values
from trader.live import limits as live_limits
from trader.live.price_watch import PriceWatch
from trader.risk_guard import RiskGuard, clear_risk, decode_risk_state

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(autouse=True)
def look_at_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the losses with each drive."""
    monkeypatch.setattr(live_limits, "LOOK_SECONDS", 0.0)


def scene(
    db: Path,
    play: Callable[[LiveDesk], Coroutine[Any, Any, None]],
    *,
    most: int | None = None,
    is_stepped: bool = True,
    **limits: Any,
) -> None:
    async def run() -> None:
        async with open_live_desk(db, is_stepped=is_stepped) as desk:
            settings = structs.replace(
                desk.context.settings, risk=RiskLimits(**limits), max_open_trades=most
            )
            desk.context = structs.replace(desk.context, settings=settings)
            desk.start()
            await play(desk)

    asyncio.run(run())


def read_refusals(desk: LiveDesk) -> str:
    return " ".join(row[0] for row in desk.query("SELECT reason FROM orders WHERE side = 'buy'"))


def test_an_entry_is_made_smaller_by_the_largest_order(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: desk.fills)
        (bought,) = {trade.side for trade in desk.fills}
        spent = sum(trade.amount * trade.price for trade in desk.fills)
        assert bought == "buy"
        assert Decimal(480) < spent <= Decimal("500.1")

    scene(tmp_path / "live.db", play, max_order=Decimal(500))


def test_an_entry_is_made_smaller_by_its_fraction_of_the_previous_volume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play(desk: LiveDesk) -> None:
        price, opened = desk.price, desk.row(desk.price).timestamp
        before = Candle(opened - 3_600, price, price, price, price, 2.0)
        insert_closed_rows(desk.store, KEY, [before], source="rest", seen_ms=0)
        rules = structs.replace(desk.context.rules, max_volume_share=0.001)
        desk.context = structs.replace(desk.context, rules=rules)
        desk.start()
        desk.enter()
        await desk.until(lambda: desk.fills)
        assert sum(trade.amount for trade in desk.fills) == Decimal("0.002")

    scene(tmp_path / "live.db", play)
    limit = "at most 0.100% of the last candle's volume of 2 BTC"
    assert f"entry made smaller by max_volume_share: {limit}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (
            {"most": 1},
            "all slots are taken: the account may have 1 in all its processes",
        ),
        ({"max_positions": 1}, "1 positions are open or being opened, allowed 1"),
    ],
)
def test_an_entry_is_not_sent_while_an_entry_of_another_process_has_the_only_slot(
    tmp_path: Path, limits: dict[str, Any], reason: str
) -> None:
    async def play(desk: LiveDesk) -> None:
        store, fence = desk.store, desk.lease.fence
        other = structs.replace(desk.context.session, session="other", symbol="ETH/USDT")
        start_session(store, other, fence)
        order = structs.replace(
            desk.intend_entry(), client_order_id="other-1", session="other", symbol="ETH/USDT"
        )
        desk.executor.cancel_entry(0, "not wanted")
        insert_order(store, order, fence)
        with store.write() as connection:
            connection.execute(
                "INSERT INTO reservations VALUES ('other-1', ?, 'live', '5', 0)", (ACCOUNT,)
            )
        refused = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert refused.client_order_id not in desk.taken
        assert reason in read_refusals(desk)
        with store.write() as connection:
            connection.execute("DELETE FROM reservations")
        desk.enter()
        await desk.until(lambda: desk.fills)

    scene(tmp_path / "live.db", play, **limits)


def test_a_ticker_dated_in_the_future_neither_values_the_account_nor_hides_a_level(
    tmp_path: Path,
) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        price, now_ms = desk.price, desk.exchange.now_ms()
        watch = PriceWatch(desk.executor)
        ahead = BestPrices(now_ms + 3_600_000, price * 0.5, price * 0.6, price * 0.5)
        insert_ticker(desk.store, *KEY.names[:2], ahead)
        newest = watch.get_price(now_ms)
        assert newest is not None
        assert newest.price == Decimal(repr(price))
        assert not newest.is_by_rest
        await desk.drive(0.1)
        assert not desk.states.has_problem("risk"), "half the price would be a loss of the day"
        with desk.store.write() as connection:
            connection.execute("DELETE FROM ticker_data WHERE timestamp_ms <= ?", (now_ms,))
        await desk.until(lambda: (found := watch.get_price(now_ms)) and found.is_by_rest)

    scene(tmp_path / "live.db", play)


def test_an_entry_under_the_minimum_after_the_limit_is_not_sent(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "below the market's minimum" in read_refusals(desk)

    scene(tmp_path / "live.db", play, max_order=Decimal(3))


def test_row_62_an_entry_whose_stop_would_be_under_the_minimum_is_not_sent(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "its stop would sell for" in read_refusals(desk)

    # The entry and its stop are over the least value of 5 USDT; what is left after the fee in coin
    # is one step less, and its stop under it.
    scene(tmp_path / "live.db", play, max_order=Decimal("5.4"))


def test_an_entry_without_a_bid_and_ask_is_not_sent(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        order = desk.intend_entry()
        quoteless = BestPrices(desk.exchange.now_ms() + 1, None, None, desk.price)
        insert_ticker(desk.store, *KEY.names[:2], quoteless)
        desk.turn()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "bid and ask are not known" in read_refusals(desk)

    scene(tmp_path / "live.db", play)


def test_an_entry_with_an_old_bid_and_ask_is_not_sent(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        order = desk.intend_entry()
        price = desk.price
        old = BestPrices(desk.exchange.now_ms() - 60_000, price * 0.9999, price * 1.0001, price)
        insert_ticker(desk.store, *KEY.names[:2], old)
        desk.executor.fill_open_order(desk.row(price), desk.exchange.now_ms())
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "bid and ask 60 s old" in read_refusals(desk)

    scene(tmp_path / "live.db", play, is_stepped=False)


def test_entries_leave_half_of_the_exchanges_order_rate_to_exits(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        now_ms = desk.exchange.now_ms()
        for _ in range(25):
            insert_order(desk.store, desk.order("buy", "market"), desk.lease.fence)
        with desk.store.write() as connection:
            connection.execute(
                "UPDATE orders SET status = 'rejected', sent_ms = ?, reason = 'the test'", (now_ms,)
            )
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "25 orders in 10 s are half of what the exchange takes" in read_refusals(desk)

    scene(tmp_path / "live.db", play, max_orders_per_minute=1_000)


def test_row_70_a_daily_loss_stops_entries_across_restarts_until_a_person_clears_it(
    tmp_path: Path,
) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        falling = BestPrices(desk.exchange.now_ms() + 1, desk.price * 0.5, desk.price, desk.price)
        insert_ticker(desk.store, *KEY.names[:2], falling)
        await desk.until(lambda: desk.states.has_problem("risk"))
        assert desk.resting, "the stop stays"
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.start()
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "daily loss" in read_refusals(desk)
        clear_risk(desk.store, ACCOUNT, cleared_by="the test")
        await desk.until(lambda: not desk.states.has_problem("risk"))
        recovered = BestPrices(falling.timestamp_ms + 1, desk.price, desk.price, desk.price)
        insert_ticker(desk.store, *KEY.names[:2], recovered)
        again = desk.enter()
        await desk.until(lambda: again.client_order_id in desk.taken)
        (row,) = read_risk_states(desk.store)
        assert row.cleared_by == "the test"

    scene(tmp_path / "live.db", play)


def test_a_breach_of_another_process_counts_if_the_own_equity_is_unknown(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / "x.db", create=True) as store:
        other, own = (RiskGuard(store, ACCOUNT, RiskLimits()) for _ in range(2))
        assert own.measure(None, 0) is None
        other.measure(Decimal(1_000), 0)
        own.measure(Decimal(1_000), 1)
        other.measure(Decimal(900), 2)
        found = own.measure(None, 3)
        assert found is not None
        assert "daily loss" in (found.reason or "")
        clear_risk(store, ACCOUNT, cleared_by="the test")
        found = own.measure(None, 4, orders=31)
        assert found is not None
        assert [one.limit for one in found.breaches] == ["orders per minute"]


def test_a_position_is_valued_at_its_newest_price_and_never_at_an_old_one(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        other = SeriesKey(KEY.exchange, "ETH/USDT", KEY.timeframe)
        found = live_limits.EntryLimits(desk.executor)
        now_ms, timeframe = desk.exchange.now_ms(), desk.context.timeframe
        old = BestPrices(now_ms - 36_000_000, 90.0, 91.0, 90.0)
        insert_ticker(desk.store, *other.names[:2], old)
        assert found.find_price(other) is None, "a bid of ten hours ago"
        newest = timeframe.shift(timeframe.floor(now_ms // 1_000), -1)
        row = Candle(newest, 50.0, 50.0, 50.0, 50.0, 1.0)
        insert_closed_rows(desk.store, other, [row], source="rest", seen_ms=now_ms)
        assert found.find_price(other) == 50
        insert_ticker(desk.store, *other.names[:2], BestPrices(now_ms, 60.0, 61.0, 60.0))
        assert found.find_price(other) == 60

    scene(tmp_path / "live.db", play, is_stepped=False)


def test_no_entry_is_sent_while_another_position_of_the_account_has_no_current_price(
    tmp_path: Path,
) -> None:
    async def play(desk: LiveDesk) -> None:
        store, fence = desk.store, desk.lease.fence
        other = structs.replace(desk.context.session, session="other", symbol="ETH/USDT")
        start_session(store, other, fence)
        bought = structs.replace(
            desk.intend_entry(), client_order_id="other-1", session="other", symbol="ETH/USDT"
        )
        desk.executor.cancel_entry(0, "not wanted")
        insert_order(store, bought, fence)
        with store.write() as connection:
            connection.execute(
                "INSERT INTO trades (exchange, symbol, exchange_trade_id, client_order_id, "
                "session, mode, account, side, price, amount, fee, fee_currency, executed_ms) "
                "VALUES (?, 'ETH/USDT', '1', 'other-1', 'other', 'live', ?, 'buy', '100', '1', "
                "'0', 'USDT', 1)",
                (KEY.exchange, ACCOUNT),
            )
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "the equity is not known: ETH/USDT has no price of now" in read_refusals(desk)

    scene(tmp_path / "live.db", play, is_stepped=False)


BNB_BALANCE = {**BALANCE, "BNB": Decimal(20)}


def run_with_fees_in_bnb(
    db: Path, play: Callable[[LiveDesk], Coroutine[Any, Any, None]], *faults: Fault
) -> None:
    async def run() -> None:
        async with open_live_desk(db, *faults, balance=BNB_BALANCE, is_stepped=False) as desk:
            desk.simulator.account.pay_fees_in_bnb(is_on=True)
            await play(desk)

    asyncio.run(run())


def read_equity(desk: LiveDesk) -> Decimal:
    (row,) = read_risk_states(desk.store)
    return decode_risk_state(row.state).equity


def test_row_135_fees_in_a_third_currency_count_as_a_loss_at_the_current_price(
    tmp_path: Path,
) -> None:
    async def play(desk: LiveDesk) -> None:
        for _ in range(2):
            desk.enter()
            await desk.until(lambda: not desk.executor.position.is_flat and desk.resting)
            await desk.until(lambda: "BNB/USDT" in desk.executor.broker.prices)
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
        fees = desk.executor.position.fees
        assert list(fees) == ["BNB"]
        cash = desk.executor.funds.read_cash()
        bnb, _ = desk.executor.broker.prices["BNB/USDT"]
        paid = fees["BNB"] * bnb
        assert Decimal(3) < paid < Decimal(12), "0.075 % of four orders of 2,000"
        await desk.until(lambda: read_equity(desk) == cash - paid)
        await desk.until(lambda: not desk.states.has_problem("fee price"))

    run_with_fees_in_bnb(tmp_path / "live.db", play)


def test_row_135_no_entry_is_sent_while_the_price_of_a_fee_currency_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fee_values, "PRICE_SECONDS", 0.3)

    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.until(lambda: desk.states.has_problem("fee price"))
        assert desk.resting, "the stop stays"
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "BNB/USDT has no price of now" in read_refusals(desk)
        desk.simulator.faults.clear()
        await desk.until(lambda: not desk.states.has_problem("fee price"))
        again = desk.enter()
        await desk.until(lambda: again.client_order_id in desk.taken)

    unpriced = Fault("status", status=500, path="/api/v3/ticker/24hr")
    run_with_fees_in_bnb(tmp_path / "live.db", play, unpriced)


def test_fees_in_a_currency_without_a_market_count_with_the_highest_known_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        values = fee_values.FeeValues(desk.executor)
        fees = {"XYZ": FeeSum(Decimal(7), Decimal(2_000))}
        rate = Decimal(repr(desk.context.rules.fee_rate))
        assert rate > 0
        assert values.compute_cost(fees) == values.compute_cost(fees) == 2_000 * rate
        # ETH/BTC is a market, and BTC/ETH none: the price counts the other way round.
        context = structs.replace(desk.context, market=structs.replace(
            desk.context.market, quote="ETH"
        ))  # fmt: skip
        desk.executor.context = context
        in_bitcoin = {"BTC": FeeSum(Decimal(1), Decimal(1))}
        reported = desk.executor.broker.reported
        async with asyncio.timeout(60):
            while (cost := values.compute_cost(in_bitcoin)) is None:
                reported.clear()
                await reported.wait()
        assert 10 < cost < 40, "ETH"

    run_with_fees_in_bnb(tmp_path / "live.db", play)
    printed = capsys.readouterr().out
    assert printed.count("fees were paid in XYZ, and simulator has no market of XYZ and USDT") == 1


def test_row_146_losses_that_cannot_be_read_stop_entries_and_no_stop(tmp_path: Path) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.until(lambda: desk.query("SELECT 1 FROM risk_states"))
        await desk.hold()
        with desk.store.write() as connection:
            connection.execute("UPDATE risk_states SET state = '[]'")
        desk.start()
        await desk.until(lambda: desk.states.has_problem("risk"))
        assert "the losses of the account are not known" in str(desk.states.entry_obstacle)
        desk.simulator.account.cancel_by_hand("BTC/USDT")
        await desk.until(lambda: desk.resting)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        refused = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert refused.client_order_id not in desk.taken

    scene(tmp_path / "live.db", play)


def test_row_70_more_orders_of_a_minute_than_allowed_stop_entries_and_no_exit(
    tmp_path: Path,
) -> None:
    async def play(desk: LiveDesk) -> None:
        await desk.hold()
        # The entry and its stop are two orders.
        await desk.until(lambda: desk.states.has_problem("risk"))
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        order = desk.enter()
        await desk.until(lambda: desk.executor.open_order is None)
        assert order.client_order_id not in desk.taken
        assert "orders in a minute, allowed 1" in read_refusals(desk)

    scene(tmp_path / "live.db", play, max_orders_per_minute=1)
