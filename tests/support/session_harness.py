"""A trader's session in a test, on a simulator whose clock the test moves."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from fault_proxy import FaultProxy
from onetape.cli.common_settings import StrategySettings
from onetape.cli.stop import StopRequest
from onetape.core.candles import Candle, SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill, Mode, Session
from onetape.core.trading_rules import TradingRules
from onetape.engine import AccountConfig, ExitConfig
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading_records import Credentials
from onetape.exchange.wall_clock import WallClock
from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.replay import Replay
from onetape.simulator.server.simulator import Simulator
from onetape.store.database import Store, open_store
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import read_order_tag
from onetape.strategies import Strategy, load_strategy
from trader.account import get_configured_balance
from trader.brokers.live import LiveBroker
from trader.evaluator.process_evaluator import ProcessEvaluator
from trader.evaluator.processes import StrategyHelper
from trader.live.opening import open_access, open_or_check_account
from trader.live.times import LiveTimes
from trader.market_guard import find_simulated_market
from trader.run import make_account_config
from trader.session_context import SessionContext
from trader.sessions import run_session
from trader.settings import TraderSettings
from trader.trading_thread import run_in_thread

#: 2024-03-01 00:00 UTC.
MARCH = 1_709_251_200
HOUR = 3_600
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
ACCOUNT = "test"
#: Buys after a falling candle and sells after a rising one, so that it trades all the time.
OFTEN = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Often(Strategy):
    name: ClassVar[str] = "often"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        rose = np.sign(candles.close - candles.open)
        return Signals(-rose.astype(np.int8), {"change": candles.close - candles.open})
"""


class SteppedMarket:
    """A simulator with a stepped clock, and the fault proxy before it."""

    def __init__(self, simulator: Simulator, proxy: FaultProxy) -> None:
        """Take both, running."""
        self.simulator = simulator
        self.proxy = proxy

    async def go_to(self, hours: float) -> None:
        """Move the market to a number of hours after March 2024."""
        await self.simulator.advance_to_ms(int((MARCH + hours * HOUR) * 1_000))

    def truth(self, start: int, end: int) -> dict[int, Candle]:
        """Return the simulator's own final candles that open in `[start, end)`, epoch seconds."""
        bars = self.simulator.market.get_candles(KEY.symbol, KEY.timeframe, start, end)
        columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {row[0]: Candle(*row) for row in rows}


@asynccontextmanager
async def open_market(
    hours: float = 0.25, replay: Replay | None = None, **options: Any
) -> AsyncGenerator[SteppedMarket]:
    """Open a stepped market a number of hours after March 2024.

    Args:
        hours: Market time at the start, hours after March 2024.
        replay: Its recorded candles; None: an invented market.
        options: Further options of the simulator.
    """
    clock = make_clock(start_ms=int((MARCH + hours * HOUR) * 1_000), stepped=True)
    async with (
        Simulator(clock=clock, replay=replay, **options) as simulator,
        FaultProxy(simulator.url) as proxy,
    ):
        yield SteppedMarket(simulator, proxy)


class SessionHarness:
    """One running session and its database."""

    def __init__(
        self,
        context: SessionContext,
        strategy: str,
        stop: StopRequest,
        task: "asyncio.Task[None]",
        store: Store,
    ) -> None:
        """Take a session that has begun with the strategy of this name.

        `store` is for the test's own queries.
        """
        self.context = context
        self.strategy: Strategy = load_strategy(strategy)
        self.store = store
        self.stop = stop
        self.task = task

    async def until(self, holds: Callable[[], Any], seconds: float = 120.0) -> None:
        """Wait until a condition holds; an error of the session is raised."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not holds():
            if self.task.done():
                self.task.result()
                raise AssertionError("the session ended")
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError("the condition did not come true in time")
            await asyncio.sleep(0.005)

    async def until_decided(self, hour: int) -> None:
        """Wait for the decision on the candle that opens a number of hours after March 2024."""
        await self.until(lambda: self.has_decided(MARCH + hour * HOUR))

    async def until_no_open_order(self, side: str = "%") -> None:
        """Wait until each order is filled or refused: a decision comes before the next open."""
        open_orders = "SELECT 1 FROM orders WHERE status = 'open' AND side LIKE ?"
        await self.until(lambda: not self.query(open_orders, side))

    async def until_live(self, market: "SteppedMarket") -> None:
        """Wait until this session stores candles of the stream, while market time passes.

        Where no session has decided on a candle yet, the first decision is waited for too: the
        strategy is evaluated in another process, and a market that moved on would make it late.
        """
        newest = "SELECT * FROM ohlcv_data WHERE closed = 0 ORDER BY timestamp DESC LIMIT 1"
        before = self.query(newest)
        now_ms = market.simulator.clock.now_ms()
        while self.query(newest) == before:
            now_ms += 1_000
            await market.simulator.advance_to_ms(now_ms)
            await asyncio.sleep(0.01)
            if self.task.done():
                self.task.result()
        await self.until(lambda: self.query("SELECT 1 FROM decisions LIMIT 1"))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.store.read() as connection:
            return connection.execute(sql, values).fetchall()

    def decided(self) -> list[int]:
        """Return the candles that this session decided on, in the order of deciding."""
        rows = self.query(
            "SELECT timestamp FROM decisions WHERE session = ? ORDER BY decided_ms, timestamp",
            self.context.session.session,
        )
        return [row[0] for row in rows]

    def has_decided(self, timestamp: int) -> bool:
        """Return whether this session decided on the candle that opens at a time, epoch seconds."""
        sql = "SELECT 1 FROM decisions WHERE session = ? AND timestamp = ?"
        return bool(self.query(sql, self.context.session.session, timestamp))

    def closed_rows(self) -> dict[int, Candle]:
        """Return every stored row that is marked closed."""
        rows = self.query(
            "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE closed = 1"
        )
        return {row[0]: Candle(*row) for row in rows}

    def source(self, hour: int) -> tuple[Any, ...] | None:
        """Return (closed, source) of a candle's row."""
        sql = (
            "SELECT closed, source FROM ohlcv_data "
            "WHERE exchange = ? AND symbol = ? AND timeframe = ? AND timestamp = ?"
        )
        rows = self.query(sql, *self.context.key.names, MARCH + hour * HOUR)
        return rows[0] if rows else None

    def fills(self) -> list[Fill]:
        """Return the account's trades."""
        return read_fills(self.store, self.context.session.account, KEY.symbol)

    @property
    def is_live(self) -> bool:
        """Return whether the stream was up and its gaps filled, by the session's last report."""
        rows = self.query("SELECT count(*) FROM data_outages WHERE to_ms IS NULL")
        return rows[0][0] == 0


@functools.cache
def get_strategy_helper() -> StrategyHelper:
    """Return the one process that forks the strategy workers of all tests."""
    return StrategyHelper()


def make_evaluator(name: str, timeframe: str = KEY.timeframe) -> ProcessEvaluator:
    """Return the evaluator of a strategy; nothing is started yet."""
    settings = StrategySettings(name=name)
    return ProcessEvaluator(settings, timeframe, get_strategy_helper(), memory_mb=4_096)


async def _run_session(context: SessionContext, exchange: RestExchange, stop: StopRequest) -> None:
    """Run a session and then end the process of its strategy, in the event loop of the session."""
    try:
        simulated = await find_simulated_market(exchange)
        await run_session(context, exchange, stop, simulated)
    finally:
        await context.evaluator.close()


@asynccontextmanager
async def open_session(
    market: SteppedMarket,
    db: Path,
    *,
    strategy: str = "rsi",
    number: int = 1,
    trading_rules: TradingRules | None = None,
    account: AccountConfig | None = None,
    exits: ExitConfig | None = None,
    account_name: str = ACCOUNT,
    cash: str | None = None,
    parameters: Mapping[str, object] | None = None,
    code_digest: str = "0",
    rules: Mapping[str, object] | None = None,
    in_thread: bool = False,
    live: LiveTimes | None = None,
    wall: WallClock | None = None,
    **settings: Any,
) -> AsyncGenerator[SessionHarness]:
    """Run a session while the block lasts; then stop it cleanly.

    The price and amount rules are those of the exchange, or `steps`. With `in_thread` the session
    runs in a separate thread, as in the program; the simulator stays in the loop of the test.
    With `live` orders go to the simulator's account, within these time limits. `wall` is the
    clock of the requests' pauses and bans, where it is not the computer's.
    """
    endpoint = Endpoint("simulator", market.proxy.url)
    # Requesting the time waits, and the simulator responds in this very loop: one clock for both.
    exchange = await asyncio.to_thread(
        RestExchange,
        endpoint,
        first_pause_seconds=0.01,
        retry_seconds=0.08,
        waits_for_ban_end=False,
        wall=wall,
    )
    exchange.clock = market.simulator.clock
    stop = StopRequest()
    orders = account or AccountConfig()
    mode: Mode = "paper" if live is None else "live"
    values = TraderSettings(
        mode=mode,
        exchange="simulator",
        account_name=account_name,
        account=orders if exits is None else structs.replace(orders, exits=exits),
        cash=None if cash is None else Decimal(cash),
        **settings,
    )
    async with exchange, AsyncExitStack() as stack:
        info = await exchange.fetch_market(KEY.symbol)
        access = (
            None
            if live is None
            else await open_access(
                exchange, [KEY.symbol], stack, Credentials("simulator", "simulator")
            )
        )
        evaluator = make_evaluator(strategy)
        chosen = await evaluator.load()
        with open_store(db, create=True) as store:
            if access is not None:
                now_ms = exchange.now_ms()
                values = open_or_check_account(store, values, account_name, access, "USDT", now_ms)
            context = SessionContext(
                settings=values,
                key=KEY,
                timeframe=Timeframe.parse(KEY.timeframe),
                market=info,
                strategy=chosen,
                evaluator=evaluator,
                rules=make_account_config(values, trading_rules or info.trading_rules),
                start_balance=get_configured_balance(values),
                store=store,
                session=Session(
                    session=f"session-{number}",
                    app="trader",
                    mode=mode,
                    account=account_name,
                    exchange=KEY.exchange,
                    symbol=KEY.symbol,
                    timeframe=KEY.timeframe,
                    strategy=chosen.name,
                    parameters=parameters or {},
                    code_digest=code_digest,
                    started_ms=exchange.now_ms(),
                    rules=rules or {},
                ),
                broker=(
                    None if access is None else LiveBroker(access.client, KEY.symbol, access.stream)
                ),
                tag="" if access is None else read_order_tag(store),
                times=live or LiveTimes(),
            )
            work = (
                run_in_thread(stop, partial(_run_session, context, exchange))
                if in_thread
                else _run_session(context, exchange, stop)
            )
            with open_store(db, create=False) if in_thread else nullcontext(store) as own:
                running = SessionHarness(context, strategy, stop, asyncio.create_task(work), own)
                try:
                    yield running
                finally:
                    stop.request("the test")
                    await asyncio.wait({running.task})
        if not running.task.cancelled():
            running.task.result()
