"""A decided exit is filled despite faults of candles, stream, orders and process."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from busy_loop import BusyLoop
from fault_proxy import make_kline
from onetape.core.clock import SteppedClock, SystemClock, format_utc
from onetape.core.trading import Order
from onetape.engine import AccountConfig, ExitConfig
from onetape.execution.events import Acknowledged, OrderEvent, Submitted
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.orders import insert_order, store_order_change
from order_changes import change_of
from session_harness import (
    ACCOUNT,
    HOUR,
    KEY,
    MARCH,
    SessionHarness,
    SteppedMarket,
    open_market,
    open_session,
)
from strategy_sources import make_scripted_source
from symbol_desk import run_symbol_sessions

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]


@pytest.fixture
def scripted(strategy_file: StrategyFile) -> Callable[[list[int], list[int]], str]:
    def write(buys: list[int], sells: list[int]) -> str:
        return strategy_file(make_scripted_source(buys, sells), "scripted")

    return write


Scripted = Callable[[list[int], list[int]], str]


async def step_to(opened: SteppedMarket, trading: SessionHarness, hours: range) -> None:
    for hour in hours:
        await opened.go_to(hour + 0.1)
        await trading.until(lambda hour=hour: trading.source(hour))
        await trading.until_decided(hour - 1)
        await trading.until_no_open_order("buy")


def list_fill_sides(trading: SessionHarness) -> list[str]:
    return [trade.side for trade in trading.fills()]


def exit_row(trading: SessionHarness) -> tuple[Any, ...]:
    """Return type, status and reason of the order to sell that was not cancelled."""
    return trading.query(
        "SELECT type, status, reason FROM orders WHERE side = 'sell' AND status <> 'canceled'"
    )[0]


def read_obligations(trading: SessionHarness) -> list[tuple[Any, ...]]:
    return trading.query("SELECT cause, end_reason FROM exit_obligations ORDER BY created_ms")


def is_only_sold_late(trading: SessionHarness, cause: str) -> bool:
    """Check the one sale of an account: in the newest candle, with a note, its obligation ended."""
    (_, sold) = trading.fills()
    kind, status, reason = exit_row(trading)
    newest, low, high = trading.query(
        "SELECT timestamp, low, high FROM ohlcv_data ORDER BY timestamp DESC LIMIT 1"
    )[0]
    filled = trading.query(
        "SELECT filled_timestamp FROM orders WHERE side = 'sell' AND status = 'closed'"
    )
    return (
        (kind, status) == (cause, "closed")
        and filled == [(newest,)]
        # A newer frame of that candle may have come since.
        and low <= float(sold.price) <= high
        and "late by up to" in reason
        and read_obligations(trading) == [(cause, "filled")]
    )


def test_a_sell_on_a_candle_that_closes_while_the_stream_is_down_is_filled_after_it_row_77(
    run: Run,
    db: Path,
    scripted: Scripted,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trader.rest_price.AFTER_SECONDS", 3_600.0)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=scripted([0], [2])) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 3))
            assert list_fill_sides(trading) == ["buy"]
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await trading.until(lambda: not trading.is_live)
            for hour in (3, 4):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(hour - 1)
            # The close of a candle that REST has returned is no price of now.
            assert list_fill_sides(trading) == ["buy"]
            opened.proxy.refuses_sockets = False
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert is_only_sold_late(trading, "market")

    run(scene())
    lines = capsys.readouterr().out
    assert "the order to sell waits for a price, because the stream is down" in lines
    assert "exit ()" not in lines


def test_a_sell_is_filled_at_the_price_of_rest_while_the_stream_stays_down_row_77(
    run: Run, db: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.rest_price.AFTER_SECONDS", 0.05)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=scripted([0], [2])) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 3))
            opened.proxy.refuses_sockets = True
            opened.proxy.cut()
            await trading.until(lambda: not trading.is_live)
            await opened.go_to(3.1)
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert not trading.is_live
            (_, sold) = trading.fills()
            forming = opened.truth(MARCH + 3 * HOUR, MARCH + 4 * HOUR)[MARCH + 3 * HOUR]
            assert forming.low * 0.999 < float(sold.price) < forming.high * 1.001
            assert read_obligations(trading) == [("market", "filled")]
            assert "late by up to" in exit_row(trading)[2]
            # The rules have the position as closed: the next candle leads to no second sale.
            opened.proxy.refuses_sockets = False
            await trading.until(lambda: trading.is_live)
            await opened.go_to(5.1)
            await trading.until_decided(4)
            assert list_fill_sides(trading) == ["buy", "sell"]

    run(scene())


def test_a_sell_found_after_a_break_is_filled_even_if_its_candle_is_not_the_newest_row_77(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=scripted([0], [2])) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 3))
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = True
            opened.proxy.cut()
            await opened.go_to(5.5)
            opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert is_only_sold_late(trading, "market")

    run(scene())


def test_a_sell_on_a_candle_that_closed_while_no_session_ran_is_filled_at_the_start_row_78(
    run: Run, db: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        name = scripted([0], [2])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 3))
            await opened.go_to(6.3)
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
                assert is_only_sold_late(trading, "market")

    run(scene())
    out = capsys.readouterr().out
    assert "3 candles checked for an exit of the open position only, no entries" in out


def test_a_buy_on_a_candle_that_closed_while_no_session_ran_enters_nothing_row_78(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        name = scripted([0, 3], [2])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 3))
            await opened.go_to(6.3)
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(7, 9))
                assert list_fill_sides(trading) == ["buy", "sell"]

    run(scene())


def test_exits_are_checked_over_more_missed_candles_than_the_lookback_row_78(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        name = scripted([0], [3])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 3))
            await opened.go_to(150.3)
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
                assert is_only_sold_late(trading, "market")

    run(scene())


def test_a_waiting_exit_order_is_filled_by_the_next_session_row_79(
    run: Run, db: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        name = scripted([0], [2])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 3))
                opened.proxy.refuses_sockets = True
                opened.proxy.cut()
                await trading.until(lambda: not trading.is_live)
                await opened.go_to(3.1)
                await trading.until_decided(2)
                assert exit_row(trading)[:2] == ("market", "open")
            opened.proxy.refuses_sockets = False
            async with open_session(opened, db, strategy=name, number=2) as trading:
                assert exit_row(trading)[:2] == ("market", "open")
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
                assert is_only_sold_late(trading, "market")
                assert trading.query("SELECT count(*) FROM orders") == [(2,)]

    run(scene())
    assert "the order to sell stays open" in capsys.readouterr().out


@pytest.mark.parametrize("restarts", [True, False], ids=["between sessions", "in a session"])
def test_an_obligation_whose_order_was_cancelled_is_sent_again_row_79(
    run: Run, db: Path, scripted: Scripted, *, restarts: bool
) -> None:
    def cancel(store: Store) -> None:
        with store.write() as connection:
            connection.execute("UPDATE orders SET status = 'canceled' WHERE status = 'open'")

    async def until_sold(trading: SessionHarness) -> None:
        await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
        assert is_only_sold_late(trading, "market")
        entries = trading.query("SELECT DISTINCT entry_order_id FROM orders WHERE side = 'sell'")
        assert entries == [(trading.fills()[0].client_order_id,)]

    async def scene() -> None:
        name = scripted([0], [2])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 3))
                opened.proxy.refuses_sockets = True
                opened.proxy.cut()
                await trading.until(lambda: not trading.is_live)
                await opened.go_to(3.1)
                await trading.until_decided(2)
                opened.proxy.refuses_sockets = False
                if not restarts:
                    cancel(trading.store)
                    await until_sold(trading)
                    return
            with open_store(db, create=False) as store:
                cancel(store)
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await until_sold(trading)

    run(scene())


#: The invented market falls by more than this before 9:00.
FALLS = ExitConfig(stop_loss=0.004)


@pytest.mark.parametrize("restarts", [False, True], ids=["stream", "session"])
def test_a_stop_that_was_passed_during_an_outage_is_filled_at_the_first_price_after_it_row_80(
    run: Run, db: Path, scripted: Scripted, restarts: bool
) -> None:
    async def cut(opened: SteppedMarket, trading: SessionHarness) -> None:
        await trading.until_live(opened)
        await step_to(opened, trading, range(1, 2))
        assert list_fill_sides(trading) == ["buy"]
        opened.proxy.refuses_sockets = opened.proxy.rest_is_down = True
        opened.proxy.cut()
        await trading.until(lambda: not trading.is_live)

    async def is_sold_late(opened: SteppedMarket, trading: SessionHarness) -> None:
        await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
        assert is_only_sold_late(trading, "stop_loss")
        _, _, reason = exit_row(trading)
        level = float(trading.fills()[0].price) * (1 - 0.004)
        sold = float(trading.fills()[1].price)
        assert f"stop loss at {level:,.2f}" in reason
        assert f"{abs(sold - level):,.2f} USDT" in reason

    async def scene() -> None:
        name = scripted([0], [])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name, exits=FALLS) as trading:
                await cut(opened, trading)
                if not restarts:
                    await opened.go_to(9.5)
                    opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
                    await is_sold_late(opened, trading)
            if restarts:
                await opened.go_to(9.5)
                opened.proxy.refuses_sockets = opened.proxy.rest_is_down = False
                async with open_session(
                    opened, db, strategy=name, number=2, exits=FALLS
                ) as trading:
                    await is_sold_late(opened, trading)

    run(scene())


@pytest.mark.parametrize(
    "hours",
    [[quarter / 4 for quarter in range(25, 45)], [6.5, 7.5, 8.5, 9.5, 12.2, 12.3, 12.4, 12.5]],
    ids=["reached by the newest candle", "reached by a candle before the newest"],
)
def test_a_stop_does_not_wait_for_a_candle_that_stays_missing_row_83(
    run: Run,
    db: Path,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    hours: list[float],
) -> None:
    missing = (
        "CREATE TRIGGER missing BEFORE INSERT ON ohlcv_data "
        f"WHEN NEW.timestamp = {MARCH + 7 * HOUR} BEGIN SELECT RAISE(IGNORE); END"
    )

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            # Bought at 6:00, and stopped between 10:00 and 11:00.
            open_session(
                opened, db, strategy=scripted([5], []), exits=ExitConfig(stop_loss=0.0022)
            ) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 7))
            assert list_fill_sides(trading) == ["buy"]
            monkeypatch.setattr(SteppedClock, "wall_seconds", SystemClock.wall_seconds)
            opened.proxy.rest_is_down = True
            with trading.store.write() as connection:
                connection.execute(missing)
            for hour in hours:
                await opened.go_to(hour)
                await asyncio.sleep(0.1)
                if list_fill_sides(trading) != ["buy"]:
                    break
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert trading.source(7) is None
            assert max(trading.decided()) == MARCH + 6 * HOUR
            reached = "SELECT type, signal_timestamp FROM orders WHERE side = 'sell'"
            assert trading.query(reached) == [("stop_loss", MARCH + 10 * HOUR)]

    run(scene())


def test_an_entry_waits_for_a_candle_before_it_that_is_missing_row_83(
    run: Run, db: Path, scripted: Scripted
) -> None:
    missing_ms = (MARCH + HOUR) * 1_000

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=scripted([0], [])) as trading,
        ):
            await trading.until_live(opened)
            opened.proxy.lets_pass = lambda frame: frame.get("k", {}).get("t") != missing_ms
            opened.proxy.hidden_candles = {missing_ms}
            await opened.go_to(1.1)
            await trading.until_decided(0)
            await opened.go_to(2.1)
            await trading.until(lambda: trading.source(2))
            await asyncio.sleep(0.3)
            assert trading.source(1) is None
            assert list_fill_sides(trading) == []
            opened.proxy.hidden_candles = set()
            await trading.until(lambda: list_fill_sides(trading) == ["buy"])
            filled = trading.query("SELECT filled_timestamp FROM orders")
            assert filled == [(MARCH + HOUR,)]

    run(scene())


def test_after_a_refused_exit_the_next_sell_is_filled(
    run: Run, db: Path, scripted: Scripted
) -> None:
    # 0.00015 BTC are bought over 33,333.33, and sold under it they are less than 5 USDT.
    account = AccountConfig(sizing="quote_amount", quote_amount=5.2)
    exits = ExitConfig(time_stop_bars=2)

    async def scene() -> None:
        async with (
            open_market(16.25) as opened,
            open_session(
                opened, db, strategy=scripted([16], [19]), account=account, exits=exits
            ) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(17, 20))
            sells = "SELECT type, status FROM orders WHERE side = 'sell'"
            await trading.until(lambda: trading.query(sells) == [("time_stop", "rejected")])
            await step_to(opened, trading, range(20, 21))
            await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert ("market", "closed") in trading.query(sells)

    run(scene())


def test_after_a_refused_exit_the_entries_of_other_symbols_wait_for_it_no_longer(
    run: Run, db: Path, strategy_file: StrategyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    account = AccountConfig(
        sizing="quote_amount", quote_amount=5.2, exits=ExitConfig(time_stop_bars=2)
    )

    async def scene() -> None:
        names = {
            symbol: strategy_file(make_scripted_source(buys, []), symbol[:3])
            for symbol, buys in {"BTC/USDT": [16], "ETH/USDT": [20]}.items()
        }
        async with (
            open_market(16.25) as opened,
            run_symbol_sessions(opened, db, names, account=account, max_open_trades=2) as trading,
        ):
            first = trading.first
            await trading.until_decided(MARCH + 15 * HOUR)
            await first.until(lambda: first.is_live)
            for hour in range(17, 22):
                await opened.go_to(hour + 0.1)
                await trading.until_decided(MARCH + (hour - 1) * HOUR)
                await first.until_no_open_order("buy")
            refused = "SELECT symbol, type FROM orders WHERE status = 'rejected'"
            assert first.query(refused) == [("BTC/USDT", "time_stop")]
            await first.until(lambda: trading.made("ETH/USDT"))

    run(scene())
    assert " waited " not in capsys.readouterr().out


def test_an_exit_obligation_ends_with_its_position_row_81(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        name = scripted([0, 3], [1])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 5))
                assert list_fill_sides(trading) == ["buy", "sell", "buy"]
            with open_store(db, create=False) as store, store.write() as connection:
                # As if the fill had closed the position in another way.
                connection.execute("UPDATE exit_obligations SET ended_ms = NULL, end_reason = NULL")
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(5, 7))
                assert list_fill_sides(trading) == ["buy", "sell", "buy"]
                assert read_obligations(trading) == [("market", "the position is closed")]

    run(scene())


def test_an_open_order_of_a_closed_position_sells_no_coins_of_the_next_one_row_81(
    run: Run, db: Path, scripted: Scripted
) -> None:
    def leave_open_sell(entry: str) -> None:
        with open_store(db, create=False) as store:
            token = acquire_lease(store, ACCOUNT, "a test", now_ms=0, seconds=0)
            fence = Fence(ACCOUNT, token)
            order = Order(
                "f" * 32, "session-1", "paper", ACCOUNT, *KEY.names, "sell", "market", "intent",
                None, MARCH + HOUR, 0, None, None, Decimal(1), "stale", "scripted", {}, "0", entry,
            )  # fmt: skip
            insert_order(store, order, fence)
            sent: list[OrderEvent] = [Submitted(), Acknowledged("x1")]
            store_order_change(store, change_of("f" * 32, sent, at_ms=0), fence)

    async def scene() -> None:
        name = scripted([0, 3], [1])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=name) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 5))
                assert list_fill_sides(trading) == ["buy", "sell", "buy"]
                first = trading.fills()[0].client_order_id
            leave_open_sell(first)
            async with open_session(opened, db, strategy=name, number=2) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(5, 7))
                assert list_fill_sides(trading) == ["buy", "sell", "buy"]
                stale = "SELECT status FROM orders WHERE reason LIKE 'stale%'"
                assert trading.query(stale) == [("canceled",)]

    run(scene())


def test_the_id_of_an_exit_order_is_plain_and_its_entry_is_a_column(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=scripted([0], [2])) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 5))
            rows = trading.query("SELECT client_order_id, side, entry_order_id FROM orders")
            ids = {side: name for name, side, _ in rows}
            assert all(len(name) == 32 and int(name, 16) for name in ids.values())
            assert {side: entry for _, side, entry in rows} == {"buy": None, "sell": ids["buy"]}

    run(scene())


def make_low_frame(opened: SteppedMarket, stop: float, candles_ago: int = 0) -> dict[str, Any]:
    """Return a frame in which the price is below a stop, of the candle under way or one before."""
    opened_hour = opened.simulator.clock.now_ms() // 1_000 // HOUR - candles_ago
    return make_kline(opened_hour * HOUR * 1_000, stop * 0.99)


@asynccontextmanager
async def send_low_prices(
    opened: SteppedMarket, stop: float, candles_ago: int = 0
) -> AsyncGenerator[float]:
    """Send prices below a stop while the block lasts; give the price."""
    frame = make_low_frame(opened, stop, candles_ago)

    async def send() -> None:
        # The socket may not be there yet.
        while True:
            await opened.proxy.inject(frame)
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(send())
    try:
        yield float(frame["k"]["c"])
    finally:
        sending.cancel()


async def wait_for_stop_at(trading: SessionHarness, price: float) -> None:
    """Wait for the sale by a stop at a price of the stream; the candle of the price is not stored.

    The paper exchange sells a little under the price: the spread.
    """
    await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
    assert trading.query("SELECT cause FROM exit_obligations") == [("stop_loss",)]
    assert float(trading.fills()[1].price) == pytest.approx(price, rel=0.002)
    assert min(row[0] for row in trading.query("SELECT low FROM ohlcv_data")) > price
    filled, signalled = trading.query(
        "SELECT filled_timestamp, signal_timestamp FROM orders WHERE side = 'sell'"
    )[0]
    assert filled == signalled
    # The candle that passed the stop is named, not the next one.
    assert f"in the candle of {format_utc(filled)}" in exit_row(trading)[2]


async def cut_rest_and_stream(opened: SteppedMarket, trading: SessionHarness) -> float:
    """Buy at 1:00, then take REST away and break the stream; return the stop at 80 %."""
    await trading.until_live(opened)
    await step_to(opened, trading, range(1, 2))
    opened.proxy.rest_is_down = True
    opened.proxy.cut()
    await trading.until(lambda: not trading.is_live)
    return float(trading.fills()[0].price) * 0.8


def test_a_stop_is_filled_by_the_stream_while_rest_is_unreachable_after_a_reconnect_row_30(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened, db, strategy=scripted([0], []), exits=ExitConfig(stop_loss=0.2)
            ) as trading,
        ):
            stop = await cut_rest_and_stream(opened, trading)
            await opened.go_to(1.3)
            async with send_low_prices(opened, stop) as price:
                await wait_for_stop_at(trading, price)
            assert not trading.is_live

    run(scene())


def test_a_stop_is_filled_by_the_stream_while_rest_does_not_respond_row_30(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened, db, strategy=scripted([0], []), exits=ExitConfig(stop_loss=0.2)
            ) as trading,
        ):
            await trading.until_live(opened)
            await step_to(opened, trading, range(1, 2))
            stop = float(trading.fills()[0].price) * 0.8
            opened.proxy.delayed_path, opened.proxy.rest_delay_seconds = "/klines", 30.0
            opened.proxy.cut()
            await trading.until(lambda: not trading.is_live)
            # A frame of the simulator comes first: the request that follows it hangs.
            await opened.go_to(1.3)
            requested = len(opened.proxy.kline_requests)
            await trading.until(lambda: len(opened.proxy.kline_requests) > requested)
            with BusyLoop() as busy_loop:
                async with send_low_prices(opened, stop) as price:
                    await wait_for_stop_at(trading, price)
                assert busy_loop.seconds < 10
            opened.proxy.rest_delay_seconds = 0.0

    run(scene())


def test_an_exit_is_not_filled_at_the_price_of_a_closed_candle_row_30(
    run: Run, db: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened, db, strategy=scripted([0], []), exits=ExitConfig(stop_loss=0.2)
            ) as trading,
        ):
            stop = await cut_rest_and_stream(opened, trading)
            # A stepped clock has no age; here it stands for a running clock.
            monkeypatch.setattr(SteppedClock, "wall_seconds", SystemClock.wall_seconds)
            opened.proxy.lets_pass = lambda frame: "k" not in frame
            await opened.go_to(2.5)
            async with send_low_prices(opened, stop, candles_ago=1):
                open_exits = "SELECT cause, ended_ms FROM exit_obligations"
                await trading.until(lambda: trading.query(open_exits) == [("stop_loss", None)])
                await asyncio.sleep(1.5)
                assert list_fill_sides(trading) == ["buy"]
            async with send_low_prices(opened, stop * 0.9) as price:
                await trading.until(lambda: list_fill_sides(trading) == ["buy", "sell"])
            assert float(trading.fills()[1].price) == pytest.approx(price, rel=0.002)

    run(scene())


def test_the_cooldown_begins_with_the_candle_of_the_exit_while_rest_is_unreachable_row_30(
    run: Run, db: Path, scripted: Scripted
) -> None:
    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(
                opened,
                db,
                strategy=scripted([0, *range(4, 12)], []),
                exits=ExitConfig(stop_loss=0.2),
                account=AccountConfig(cooldown_bars=3),
            ) as trading,
        ):
            stop = await cut_rest_and_stream(opened, trading)
            await opened.go_to(4.3)
            async with send_low_prices(opened, stop) as price:
                await wait_for_stop_at(trading, price)
            opened.proxy.rest_is_down = False
            await opened.go_to(4.4)
            await trading.until_decided(3)
            await step_to(opened, trading, range(5, 11))
            buys = trading.query(
                "SELECT filled_timestamp FROM orders WHERE side = 'buy' ORDER BY 1"
            )
            # After the three candles that follow that of the exit the BUY may enter.
            assert [(filled - MARCH) // HOUR for (filled,) in buys if filled] == [1, 8]

    run(scene())


def test_a_stop_is_filled_by_the_stream_while_the_first_candles_are_refused_row_112(
    run: Run, db: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.decision_loop.WARM_UP_TIMEOUT_SECONDS", 0.1)

    async def scene() -> None:
        exits, strategy = ExitConfig(stop_loss=0.2), scripted([0], [])
        async with open_market(0.25) as opened:
            async with open_session(opened, db, strategy=strategy, exits=exits) as trading:
                await trading.until_live(opened)
                await step_to(opened, trading, range(1, 2))
                stop = float(trading.fills()[0].price) * 0.8
            faults = opened.simulator.faults
            faults.add(kind="status", status=403, path="/api/v3/klines")
            await opened.go_to(3.3)
            async with open_session(
                opened, db, strategy=strategy, exits=exits, number=2
            ) as trading:
                async with send_low_prices(opened, stop) as price:
                    await wait_for_stop_at(trading, price)
                assert trading.decided() == []

    run(scene())
