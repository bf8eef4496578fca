"""The state of the trading rules as a new session rebuilds it from the store."""

from collections.abc import Generator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Decision, Order, Session, Side
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import AccountConfig, Exit, ExitConfig
from onetape.exchange.markets import MarketInfo
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import insert_decision
from onetape.store.orders import insert_order, store_order_change
from onetape.store.sessions import start_session
from onetape.strategies import BUY, SELL, Signals
from order_changes import end_of
from session_harness import make_evaluator
from trader.account import get_configured_balance, open_or_continue_account
from trader.account_context import build_account_context
from trader.brokers.paper_executor import PaperExecutor
from trader.evaluator.messages import LoadedStrategy
from trader.run import make_account_config
from trader.session_context import SessionContext
from trader.settings import TraderSettings
from trader.stepping import RuleStepper

KEY = SeriesKey("simulator", "BTC/USDT", "1h")
HOUR, START = 3_600, 1_709_251_200
STOP = AccountConfig(exits=ExitConfig(stop_loss=0.05))


def make_candle(hour: int, low: float = 100.0) -> Candle:
    return Candle(START + hour * HOUR, 100.0, 100.0, low, 100.0, 1.0)


class StoredAccount:
    """An account in a store: candles of 100, decisions, and an entry."""

    def __init__(self, store: Store) -> None:
        self.settings = TraderSettings(exchange="simulator", account=STOP)
        session = Session(
            session="s", app="trader", mode="paper", account="a", exchange=KEY.exchange,
            symbol=KEY.symbol, timeframe=KEY.timeframe, strategy="buy_and_hold", parameters={},
            code_digest="0", started_ms=0,
        )  # fmt: skip
        self.context = SessionContext(
            settings=self.settings,
            key=KEY,
            timeframe=Timeframe.parse(KEY.timeframe),
            market=MarketInfo(KEY.symbol, "BTC", "USDT", NO_TRADING_RULES, active=True),
            strategy=LoadedStrategy("buy_and_hold", 1, 0, (), {}, "0"),
            evaluator=make_evaluator("buy_and_hold", KEY.timeframe),
            rules=make_account_config(self.settings, NO_TRADING_RULES),
            start_balance=get_configured_balance(self.settings),
            store=store,
            session=session,
        )
        self.fence = Fence("a", acquire_lease(store, "a", "a test", now_ms=0, seconds=1e9))
        start_session(store, session, self.fence)
        open_or_continue_account(self.context, self.fence)

    def close(self, *hours: int) -> None:
        rows = [make_candle(hour) for hour in hours]
        insert_closed_rows(self.context.store, KEY, rows, source="rest", seen_ms=0)

    def decide(self, hour: int, signal: int, **indicators: float) -> None:
        decision = Decision(
            decision=f"d{hour}", session="s", timestamp=START + hour * HOUR, signal=signal,
            indicators={name.replace("__", " "): one for name, one in indicators.items()},
            gates={}, action="HOLD", decided_ms=0,
        )  # fmt: skip
        insert_decision(self.context.store, decision, None, self.fence)

    def order(self, side: Side, hour: int, *, entry: str | None = None) -> Order:
        """Return an order that a candle is to fill."""
        return Order(
            client_order_id=f"{side}{hour}", session="s", mode="paper", account="a",
            exchange=KEY.exchange, symbol=KEY.symbol, timeframe=KEY.timeframe, side=side,
            type="market", status="intent", decision=None,
            signal_timestamp=START + (hour - 1) * HOUR, decided_ms=hour, bid=None, ask=None,
            intended_price=Decimal(100), reason="", strategy="buy_and_hold", parameters={},
            code_digest="0", entry_order_id=entry,
        )  # fmt: skip

    def executor(self) -> PaperExecutor:
        return PaperExecutor(self.context, self.fence, build_account_context([self.context]).funds)

    def trade(self, side: Side, hour: int, *, now_ms: int | None = None) -> None:
        """Fill an order at the open of a candle."""
        order, now_ms = self.order(side, hour), now_ms or hour
        executor = self.executor()
        insert_order(self.context.store, order, self.fence)
        executor.place(order, now_ms)
        assert executor.fill_open_order(make_candle(hour), now_ms) is not None

    def stepper(self) -> RuleStepper:
        account_context = build_account_context([self.context])
        executor = PaperExecutor(self.context, self.fence, account_context.funds)
        return RuleStepper(self.context, executor, account_context.rules, is_exit_pending=False)

    def window(self, *signals: int) -> tuple[Candles, Signals]:
        """Return the candles from hour 0 on, and a strategy's signals on them."""
        times = START + np.arange(len(signals), dtype=np.int64) * HOUR
        price = np.full(len(signals), 100.0)
        found = Signals(np.array(signals, np.int8), {})
        return Candles.from_columns(times, price, price, price, price, price), found


@pytest.fixture
def stored(tmp_path: Path) -> Generator[StoredAccount]:
    with open_store(tmp_path / "stepping.db", create=True) as store:
        yield StoredAccount(store)


def test_an_entry_of_the_candle_that_is_open_keeps_its_stop_over_a_restart(
    stored: StoredAccount,
) -> None:
    stored.close(0)
    stored.decide(0, BUY)
    replace_forming(stored.context.store, KEY, make_candle(1), seen_ms=0)
    stored.trade("buy", 1)
    (stop,) = stored.stepper().form(make_candle(1, low=90.0))
    assert isinstance(stop, Exit)
    assert stop.kind == "stop_loss"


def stop_of(stepper: RuleStepper) -> float | None:
    held = stepper.state.position
    return None if held is None or held.levels is None else held.levels.stop


def test_row_144_an_entry_that_was_taken_over_is_known_once_the_strategy_was_evaluated(
    stored: StoredAccount,
) -> None:
    stored.close(0)
    replace_forming(stored.context.store, KEY, make_candle(1), seen_ms=0)
    # The order has no decision, as one that is taken over from the exchange.
    stored.trade("buy", 1)
    stored.close(1)
    stepper = stored.stepper()
    assert not stepper.knows_position
    stepper.add_signals(*stored.window(BUY, 0))
    assert stepper.state.position is not None
    assert stepper.knows_position


def test_the_strategys_stop_of_the_buy_is_read_from_its_decision_after_a_restart(
    stored: StoredAccount,
) -> None:
    stored.close(0)
    stored.decide(0, BUY, stop__at_entry=97.0)
    replace_forming(stored.context.store, KEY, make_candle(1), seen_ms=0)
    stored.trade("buy", 1)
    assert stop_of(stored.stepper()) == 97.0
    (stop,) = stored.stepper().form(make_candle(1, low=96.0))
    assert isinstance(stop, Exit)
    assert (stop.kind, round(stop.price, 9)) == ("stop_loss", 97.0)


def test_a_stop_moved_by_later_candles_is_unchanged_after_a_restart(stored: StoredAccount) -> None:
    stored.close(0, 1, 2, 3)
    stored.decide(0, BUY, stop__each_candle=96.0)
    stored.trade("buy", 1)
    stored.decide(1, 0, stop__each_candle=98.0)
    stored.decide(2, 0, stop__each_candle=97.0)
    stored.decide(3, 0)
    assert stop_of(stored.stepper()) == 98.0


def test_a_stop_of_a_candle_that_no_session_decided_on_comes_with_the_next_evaluation(
    stored: StoredAccount,
) -> None:
    stored.close(0, 1)
    stored.decide(0, BUY, stop__each_candle=96.0)
    stored.trade("buy", 1)
    stored.decide(1, 0, stop__each_candle=96.5)
    stepper = stored.stepper()
    stored.close(2, 3)
    candles, signals = stored.window(BUY, 0, 0, 0)
    stops = np.array([96.0, 96.5, 98.0, 99.0])
    stepper.add_signals(candles, structs.replace(signals, stop=stops, stop_mode="each_candle"))
    # The newest candle is decided on now: its stop comes with that decision.
    assert stop_of(stepper) == 98.0


def test_an_entry_that_waited_has_the_stop_of_its_buy_after_a_restart(
    stored: StoredAccount,
) -> None:
    stored.close(0, 1)
    stored.decide(0, BUY, stop__at_entry=97.0)
    stored.decide(1, 0)
    replace_forming(stored.context.store, KEY, make_candle(2), seen_ms=0)
    order = structs.replace(stored.order("buy", 2), signal_timestamp=START)
    insert_order(stored.context.store, order, stored.fence)
    executor = stored.executor()
    executor.place(order, 2)
    assert executor.fill_open_order(make_candle(2), 2) is not None
    assert stop_of(stored.stepper()) == 97.0


@pytest.mark.parametrize(("low", "price"), [(98.0, 99.0), (100.0, None)])
def test_an_entry_at_a_limit_is_measured_from_it_after_a_restart(
    stored: StoredAccount, low: float, price: float | None
) -> None:
    stored.close(0, 1)
    stored.decide(0, BUY, stop__at_entry=97.0, limit__3_candles=99.0)
    stored.decide(1, BUY, stop__at_entry=96.0, limit__3_candles=90.0)
    filled = make_candle(2, low)
    replace_forming(stored.context.store, KEY, filled, seen_ms=0)
    order = structs.replace(
        stored.order("buy", 2), signal_timestamp=START, type="limit", intended_price=Decimal(99)
    )
    insert_order(stored.context.store, order, stored.fence)
    executor = stored.executor()
    executor.place(order, 2)
    assert executor.send_limit(make_candle(1), 99.0, 2) is not None
    opened = 100.0 if price else 98.5
    row = filled._replace(open=opened, low=min(low, opened))
    assert replace_forming(stored.context.store, KEY, row, seen_ms=0)
    found = executor.fill_limit(row, price or opened, 2, is_inside=price is not None)
    assert found is not None
    stepper = stored.stepper()
    held = stepper.state.position
    assert held is not None
    assert (held.entry_price, held.is_inside) == (price or opened, price is not None)
    assert stop_of(stepper) == 97.0


def test_an_open_limit_order_is_cancelled_by_a_restart(stored: StoredAccount) -> None:
    stored.close(0)
    stored.decide(0, BUY, limit__3_candles=99.0)
    order = structs.replace(stored.order("buy", 1), type="limit", intended_price=Decimal(99))
    insert_order(stored.context.store, order, stored.fence)
    executor = stored.executor()
    executor.place(order, 1)
    assert executor.send_limit(make_candle(1), 99.0, 1) is not None
    again = stored.executor()
    assert again.resume(2, "the session that placed it ended") == 1
    assert again.open_order is None


def make_stepper_after_exit(stored: StoredAccount) -> RuleStepper:
    """Return the rules after an entry in candle 1 and an exit in candle 2, decided on until 2."""
    stored.close(0, 1, 2)
    for hour in (0, 1, 2):
        stored.decide(hour, BUY)
    stored.trade("buy", 1)
    stored.trade("sell", 2)
    return stored.stepper()


def find_entry_obstacle(stored: StoredAccount, stepper: RuleStepper, *signals: int) -> str | None:
    """Return why a BUY on the last candle may not enter, where the strategy gave these signals."""
    hours = range(3, len(signals))
    stored.close(*hours)
    for hour in hours:
        stepper.open(make_candle(hour))
        stepper.close(make_candle(hour))
    stepper.add_signals(*stored.window(*signals))
    return stepper.find_entry_obstacle(START + (len(signals) - 1) * HOUR)


def test_a_run_that_has_entered_stays_used_over_candles_without_a_decision(
    stored: StoredAccount,
) -> None:
    assert (
        find_entry_obstacle(stored, make_stepper_after_exit(stored), 1, 1, 1, 1, 1, 1) == "run_used"
    )


def test_a_candle_without_a_known_signal_does_not_end_a_run(stored: StoredAccount) -> None:
    stored.close(0, 1, 2, 3)
    for hour in (0, 2):
        stored.decide(hour, BUY)
    stored.trade("buy", 1)
    stored.trade("sell", 2)
    stepper = stored.stepper()
    stepper.open(make_candle(3))
    stepper.close(make_candle(3))
    assert stepper.find_entry_obstacle(START + 3 * HOUR) == "run_used"


def test_a_run_is_over_where_the_strategy_gives_a_candle_without_a_decision_another_signal(
    stored: StoredAccount,
) -> None:
    assert find_entry_obstacle(stored, make_stepper_after_exit(stored), 1, 1, 1, 1, 0, 1) is None


def test_a_candle_that_was_not_decided_on_in_this_session_is_read_from_the_strategy(
    stored: StoredAccount,
) -> None:
    stepper = make_stepper_after_exit(stored)
    assert find_entry_obstacle(stored, stepper, 1, 1, 1, 1) == "run_used"
    stepper.decide(START + 3 * HOUR, BUY, can_enter=False)
    for hour in (4, 5):
        stepper.open(make_candle(hour))
        stepper.close(make_candle(hour))
    stepper.add_signals(*stored.window(1, 1, 1, 1, 1, 1))
    assert stepper.find_entry_obstacle(START + 5 * HOUR) == "run_used"


def test_a_candle_whose_row_was_taken_back_does_not_hold_up_the_next_one(
    stored: StoredAccount,
) -> None:
    stepper = stored.stepper()
    stepper.close(make_candle(0))
    stepper.open(make_candle(1))
    stepper.open(make_candle(2))
    stepper.close(make_candle(2))
    assert stepper.is_decidable(START + 2 * HOUR)


def test_a_candle_that_arrives_after_a_later_one_has_opened_is_skipped(
    stored: StoredAccount,
) -> None:
    stepper = stored.stepper()
    stepper.close(make_candle(0))
    stepper.open(make_candle(2))
    assert stepper.close(make_candle(1)) == []
    assert not stepper.is_decidable(START + HOUR)


def test_levels_end_with_a_refused_sell_of_the_strategy_over_a_restart(
    stored: StoredAccount,
) -> None:
    stored.close(0, 1)
    for hour, signal in ((0, BUY), (1, SELL)):
        stored.decide(hour, signal)
    stored.trade("buy", 1)
    insert_order(stored.context.store, stored.order("sell", 2, entry="buy1"), stored.fence)
    refused = end_of("sell2", "rejected", at_ms=2, note="too small")
    store_order_change(stored.context.store, refused, stored.fence)
    stepper = stored.stepper()
    stepper.open(make_candle(2))
    assert stepper.form(make_candle(2, low=90.0)) == []


def test_a_clock_that_is_set_back_between_buy_and_sell_leaves_no_position_after_a_restart(
    stored: StoredAccount,
) -> None:
    stored.close(0, 1)
    stored.trade("buy", 1, now_ms=(START + 3 * HOUR) * 1_000)
    stored.trade("sell", 1, now_ms=(START + 2 * HOUR) * 1_000)
    position = stored.executor().position
    assert position.is_flat
    assert position.base == 0
