"""Monthly candles on paper: an entry sized by volatility equals that of a backtest."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Order, Session
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import AccountConfig, make_booked_fill, simulate
from onetape.engine.ratios import compute_candle_seconds
from onetape.exchange.markets import MarketInfo
from onetape.store.candles import insert_closed_rows, read_candle_at
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import read_fills
from onetape.store.orders import insert_order
from onetape.store.sessions import start_session
from session_harness import make_evaluator
from trader.account import get_configured_balance, open_or_continue_account
from trader.account_context import build_account_context
from trader.brokers.paper_executor import PaperExecutor
from trader.evaluator.messages import LoadedStrategy
from trader.run import make_account_config
from trader.session_context import SessionContext
from trader.settings import TraderSettings

START = 1_609_459_200  # 2021-01-01
ACCOUNT = AccountConfig(
    sizing="volatility_target", volatility_target=0.1, volatility_bars=5, fee_rate=0.0
)


def make_candles(timeframe: Timeframe, count: int = 12) -> Candles:
    """Return candles whose closes move by a tenth up and down."""
    moments = [timeframe.ceil(START)]
    while len(moments) < count:
        moments.append(timeframe.next(moments[-1]))
    close = np.array([100.0, 110.0, 121.0])[np.arange(count) % 3]
    return Candles.from_columns(np.array(moments), close, close, close, close, close)


def make_order(key: SeriesKey, signal_timestamp: int) -> Order:
    """Return a buy order on the signal of a candle."""
    return Order(
        client_order_id="one", session="s", mode="paper", account="a", exchange=key.exchange,
        symbol=key.symbol, timeframe=key.timeframe, side="buy", type="market", status="intent",
        decision=None, signal_timestamp=signal_timestamp, decided_ms=0, bid=None, ask=None,
        intended_price=Decimal(1), reason="", strategy="buy_and_hold", parameters={},
        code_digest="0",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["1M", "3M", "1w", "1d"])
def test_an_entry_by_volatility_is_as_large_on_paper_as_in_a_backtest(
    tmp_path: Path, name: str
) -> None:
    timeframe = Timeframe.parse(name)
    candles = make_candles(timeframe)
    settings = TraderSettings(exchange="simulator", timeframe=name, account=ACCOUNT)
    rules = make_account_config(settings, NO_TRADING_RULES)
    signal = np.zeros(len(candles), dtype=np.int8)
    signal[-2] = 1
    (fill,) = simulate(candles, signal, rules, start_index=len(candles) - 3).fills

    key = SeriesKey("simulator", "BTC/USDT", name)
    with open_store(tmp_path / "months.db", create=True) as store:
        columns = (candles.timestamp, candles.open, candles.high, candles.low, candles.close)
        rows = zip(*(one.tolist() for one in (*columns, candles.volume)), strict=True)
        insert_closed_rows(store, key, [Candle(*row) for row in rows], source="rest", seen_ms=0)
        fence = Fence("a", acquire_lease(store, "a", "a test", now_ms=0, seconds=1e9))
        context = SessionContext(
            settings=settings,
            key=key,
            timeframe=timeframe,
            market=MarketInfo("BTC/USDT", "BTC", "USDT", NO_TRADING_RULES, active=True),
            strategy=LoadedStrategy("buy_and_hold", 1, 0, (), {}, "0"),
            evaluator=make_evaluator("buy_and_hold", name),
            rules=rules,
            start_balance=get_configured_balance(settings),
            store=store,
            session=Session(
                session="s", app="trader", mode="paper", account="a", exchange=key.exchange,
                symbol=key.symbol, timeframe=name, strategy="buy_and_hold", parameters={},
                code_digest="0", started_ms=0,
            ),
        )  # fmt: skip
        start_session(store, context.session, fence)
        context, _ = open_or_continue_account(context, fence)
        broker = PaperExecutor(context, fence, build_account_context([context]).funds)
        order = make_order(key, int(candles.timestamp[-2]))
        insert_order(store, order, fence)
        broker.place(order, 0)
        last = read_candle_at(store, key, int(candles.timestamp[-1]))
        assert last is not None
        broker.fill_open_order(last, 0)
        (trade,) = read_fills(store, "a", key.symbol)
    assert trade.amount == make_booked_fill(fill, rules).amount


@pytest.mark.parametrize("name", ["1M", "2M", "1w", "1d", "1h"])
def test_the_length_of_a_candle_by_its_timeframe_equals_that_by_open_times(name: str) -> None:
    timeframe = Timeframe.parse(name)
    assert compute_candle_seconds(make_candles(timeframe).timestamp) == timeframe.average_seconds
