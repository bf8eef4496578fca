"""Live orders of one symbol in a test: a real store and CCXT class on an embedded simulator."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from msgspec import structs

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import ExchangeUnreachable
from onetape.core.timeframes import Timeframe
from onetape.core.trading import ExitCause, ExitObligation, Fill, Order, Session
from onetape.engine import AccountConfig, ExitConfig
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials
from onetape.execution.broker import OrderReport
from onetape.execution.risk_limits import DEFAULT_LIMITS, RiskLimits
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.price_moves import PriceMove
from onetape.simulator.server.simulator import Simulator
from onetape.simulator.trading.orders import RequestedOrder
from onetape.store.accounts import AccountSeries, open_account
from onetape.store.database import Store, open_store
from onetape.store.live_accounts import LiveAccount, open_live_account, read_order_tag
from onetape.store.market_data import BestPrices, insert_ticker
from onetape.store.obligations import read_open_obligation
from onetape.store.orders import insert_order
from onetape.store.sessions import start_session
from onetape.store.stop_states import StopState, read_stop_state
from onetape.websocket.user_stream import UserStream
from trader.account_context import build_account_context
from trader.brokers.key_rights import KeyRights
from trader.brokers.live import LiveBroker
from trader.lease import Lease
from trader.live.live_executor import LiveExecutor
from trader.live.times import LiveTimes
from trader.session_context import SessionContext
from trader.settings import TraderSettings
from trader.states import TraderStates

#: 2024-03-01 00:20 UTC.
START_MS = 1_709_252_400_000
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
ACCOUNT = "live test"
#: The account has other coins, and cash for ten orders, so that no refusal hides an error.
BALANCE = {"USDT": Decimal(50_000), "BTC": Decimal(2)}
BASELINE = Decimal(2)
#: Duration of a round on a quiet machine, which is also the most that a round counts.
QUIET_ROUND_SECONDS, MOST_ROUND_SECONDS = 0.02, 0.05
QUICK = LiveTimes(
    first_look_up=0.03,
    longest_look_up=0.2,
    absent=0.0,
    absent_spacing=0.02,
    nowhere=0.05,
    stop_fires=0.2,
    stop_taken=0.1,
    read_again=0.05,
    acknowledge=0.4,
    entry_waits=120.0,
    poll=0.1,
    compare_again=0.5,
    missing=0.05,
    poll_with_stream=0.1,
    poll_per_symbol=0.0,
    after_event=0.02,
    cancel_again=0.1,
    exit_again=0.2,
    stop_moves=0.1,
    sale_doubt=0.4,
    executions_unread=2.0,
    executions_lost=0.3,
    answer_read=0.02,
    stop_grows=0.02,
    stop_again=0.2,
    unprotected=0.5,
    price_poll=0.05,
)


class LiveDesk:
    """One symbol of a live account, and the simulator behind it."""

    def __init__(
        self, simulator: Simulator, exchange: RestExchange, context: SessionContext, lease: Lease
    ) -> None:
        """Take the open parts; `start` makes the executor."""
        self.simulator = simulator
        self.exchange = exchange
        self.context = context
        self.lease = lease
        self.states = TraderStates(now_ms=exchange.now_ms, write=lambda rows: None)
        self.executor: LiveExecutor
        self.client: PrivateClient
        self.driven_seconds = 0.0
        """Time for which the orders were driven, without the delays of a busy machine."""
        self.fixed_price: float | None = None
        """Price where the simulator is in another process."""

    def start(self) -> LiveExecutor:
        """Build the executor from the database, as at the start of the program."""
        context = self.context
        assert context.broker is not None
        account_context = build_account_context([context])
        self.states = TraderStates(now_ms=self.exchange.now_ms, write=lambda rows: None)
        self.executor = LiveExecutor(
            context,
            self.lease.fence,
            account_context.funds,
            context.broker,
            self.exchange,
            self.states,
            times=context.times,
        )
        self.executor.resume(self.exchange.now_ms(), "the session ended")
        return self.executor

    @property
    def store(self) -> Store:
        """Return the open database."""
        return self.context.store

    @property
    def price(self) -> float:
        """Return the last price of the market."""
        if self.fixed_price is not None:
            return self.fixed_price
        account = self.simulator.account.exchange
        found = account.find_price("BTC", "USDT", self.simulator.clock.now_ms())
        assert found is not None
        return float(found)

    def intend_entry(self) -> Order:
        """Store the intent of an order to buy and take it; nothing is sent."""
        order = self.order("buy", "market")
        insert_order(self.store, order, self.lease.fence)
        self.executor.place(order, self.exchange.now_ms())
        return order

    def enter(self) -> Order:
        """Store an order to buy and let the executor process it."""
        order = self.intend_entry()
        self.turn()
        return order

    def turn(self) -> None:
        """Let the executor process the order to buy, with a fresh bid and ask."""
        self.quote()
        self.executor.fill_open_order(self.row(self.price), self.exchange.now_ms())

    def quote(self) -> None:
        """Store a fresh bid and ask."""
        price = self.price
        ticker = BestPrices(self.exchange.now_ms(), price * 0.9999, price * 1.0001, price)
        insert_ticker(self.store, *KEY.names[:2], ticker)

    def row(self, price: float) -> Candle:
        """Return the candle that an order is filled in."""
        return Candle(START_MS // 1_000 // 3_600 * 3_600, price, price, price, price, 1.0)

    async def until_sent(self, order: Order) -> None:
        """Wait until an order has reached the simulator, without storing its response."""
        deadline = asyncio.get_running_loop().time() + 60
        while order.client_order_id not in self.taken:
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError("the order was not sent")
            await asyncio.sleep(0.01)

    def leave(self, cause: ExitCause = "market") -> Order:
        """Store an order to sell the position with its obligation, and begin it."""
        entry = self.executor.entry_order_id
        assert entry is not None
        order = self.order("sell", cause)
        obligation = ExitObligation(
            uuid4().hex, order.account, "live", *KEY.names[:2], entry, cause,
            order.signal_timestamp, None, self.exchange.now_ms(), "the test",
        )  # fmt: skip
        order = structs.replace(order, entry_order_id=entry, obligation=obligation.obligation)
        insert_order(self.store, order, self.lease.fence, obligation=obligation)
        self.executor.place(order, self.exchange.now_ms())
        return order

    def resend(self) -> None:
        """Send the pending exit again, if none is open, as the trader does each second."""
        entry = self.executor.entry_order_id
        pending = (
            None if entry is None else read_open_obligation(self.store, self.context.session, entry)
        )
        order = self.executor.open_order
        is_selling = order is not None and order.side == "sell"
        if pending is None or is_selling or not self.executor.may_send_exit:
            return
        again = structs.replace(
            self.order("sell", pending.cause), entry_order_id=entry, obligation=pending.obligation
        )
        insert_order(self.store, again, self.lease.fence)
        self.executor.place(again, self.exchange.now_ms())

    async def next_reports(self) -> list[OrderReport]:
        """Intercept the next reports of the broker, which the executor does not get."""
        broker = self.executor.broker
        async with asyncio.timeout(60):
            while True:
                broker.reported.clear()
                if found := broker.take_events():
                    return found
                await broker.reported.wait()

    def report(self, one: OrderReport) -> None:
        """Report an event once more, as a stream does that repeats itself."""
        self.executor.broker.add(one)

    async def until(self, holds: Callable[[], Any], seconds: float = 120.0) -> None:
        """Drive the orders until a condition holds."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + seconds
        while not holds():
            if now > deadline:
                orders = "SELECT client_order_id, side, type, status, reason FROM orders"
                raise AssertionError(f"did not come true in time: {self.query(orders)}")
            self.lease.renew()
            self.executor.drive(self.exchange.now_ms())
            self.resend()
            await asyncio.sleep(0.01)
            before, now = now, loop.time()
            self.driven_seconds += min(now - before, MOST_ROUND_SECONDS)

    async def drive(self, seconds: float) -> None:
        """Drive the orders for a minimum time, and as often as on an idle machine."""
        loop = asyncio.get_running_loop()
        deadline, left = loop.time() + seconds, int(seconds / QUIET_ROUND_SECONDS)

        def is_over() -> bool:
            nonlocal left
            left -= 1
            return left < 0 and loop.time() >= deadline

        await self.until(is_over)

    async def until_read(self) -> None:
        """Drive the orders until the account was read once more, from now on."""
        now, account = time.monotonic(), self.executor._account  # pyright: ignore[reportPrivateUsage]
        await self.until(
            lambda: (reading := account.held.reading) is not None and reading.begun > now
        )

    async def hold(self) -> None:
        """Enter, and wait until the position is open with its stop at the exchange."""
        self.enter()
        await self.until(lambda: self.resting)

    async def let_stop_fire(self) -> None:
        """Move the market until the stop that rests has fired; nothing is read or stored here."""
        (stop,) = self.resting
        for _ in range(600):
            await self.simulator.advance_to_ms(self.simulator.clock.now_ms() + 60_000)
            self.simulator.account.get_balances()
            if not stop.is_open:
                return
        raise AssertionError("the price did not fall")

    def place_by_hand(self, amount: Decimal = Decimal("0.5")) -> Any:
        """Sell coins by a limit order far above the price, as on the exchange's page."""
        exchange = self.simulator.account.exchange
        symbol = next(one for one in exchange.symbols if one.id == "BTCUSDT")
        request = RequestedOrder(
            symbol, "SELL", "LIMIT", quantity=int(amount.scaleb(5)), price=int(self.price * 200),
            time_in_force="GTC", client_id="web_1",
        )  # fmt: skip
        placed = exchange.place(request, self.simulator.clock.now_ms())
        self.simulator.account.sockets.wake()
        return placed

    async def pass_time(self, seconds: float) -> None:
        """Move the market's time, and with it the clock."""
        await self.simulator.advance_to_ms(self.simulator.clock.now_ms() + int(seconds * 1_000))

    async def move_price(self, factor: float) -> None:
        """Multiply the market's price from the next minute on, and go there."""
        now_s = self.simulator.clock.now_ms() // 1_000
        start = (now_s // 60 + 1) * 60
        market = self.simulator.market
        market.add_move(market.get_symbol("BTC/USDT"), PriceMove(start, None, factor))
        await self.pass_time(start + 1 - now_s)

    @property
    def stop_state(self) -> StopState | None:
        """Return the stored state of the open position's stop."""
        entry = self.executor.entry_order_id
        return None if entry is None else read_stop_state(self.store, entry)

    @property
    def sold(self) -> Decimal:
        """Return the sum of all sells of the simulator's account, base currency."""
        fills = self.simulator.account.exchange.fills
        return sum(
            (Decimal(one.quantity).scaleb(-5) for one in fills if one.side == "SELL"), Decimal(0)
        )

    def has_exit(self, status: str) -> bool:
        """Return whether a market sell has a status.

        A busy machine may put an exit off before the account is read; then another one follows.
        """
        found = "SELECT 1 FROM orders WHERE side = 'sell' AND type = 'market' AND status = ?"
        return bool(self.query(found, status))

    def state_of(self, identity: str) -> str:
        """Return the stored status of an order."""
        (row,) = self.query("SELECT status FROM orders WHERE client_order_id = ?", identity)
        return row[0]

    @property
    def has_pending_exit(self) -> bool:
        """Return whether an exit of the position is decided and not filled."""
        entry = self.executor.entry_order_id
        pending = (
            None if entry is None else read_open_obligation(self.store, self.context.session, entry)
        )
        return pending is not None

    @property
    def problems(self) -> list[str]:
        """Return the sources of the trader's problems."""
        names = ("protection", "exit", "account", "coins", "account reading")
        return [name for name in names if self.states.has_problem(name)]

    @property
    def resting(self) -> list[Any]:
        """Return the open orders at the simulator."""
        return self.simulator.account.exchange.get_open_orders(None)

    @property
    def taken(self) -> list[str]:
        """Return the client order ids of all orders that the simulator has taken."""
        return [one.client_id for one in self.simulator.account.exchange.orders.values()]

    @property
    def coins(self) -> Decimal:
        """Return the change of the simulator's BTC balance since the start."""
        found = self.simulator.account.get_balances().get("BTC", {"free": "0", "locked": "0"})
        return Decimal(str(found["free"])) + Decimal(str(found["locked"])) - BASELINE

    @property
    def fills(self) -> list[Fill]:
        """Return the trades of the account."""
        return self.executor.fills

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.store.read() as connection:
            return connection.execute(sql, values).fetchall()

    def assert_ledgers_equal(self) -> None:
        """Compare executions and coins with the simulator's own ledger."""
        fills = self.simulator.account.exchange.fills
        own = {str(one.id) for one in fills if one.order_id in self._own_numbers()}
        booked = [row[0] for row in self.query("SELECT exchange_trade_id FROM trades")]
        assert sorted(booked, key=int) == sorted(own, key=int)
        assert self.executor.position.base == self.coins

    def _own_numbers(self) -> set[int]:
        tag, orders = self.context.tag, self.simulator.account.exchange.orders
        return {number for number, one in orders.items() if one.client_id.startswith(tag)}

    def order(self, side: Any, type_: str) -> Order:
        """Return an order as the rules create it; nothing is stored."""
        session = self.context.session
        return Order(
            client_order_id=self.executor.make_order_id(),
            session=session.session,
            mode="live",
            account=session.account,
            exchange=KEY.exchange,
            symbol=KEY.symbol,
            timeframe=KEY.timeframe,
            side=side,
            type=type_,
            status="intent",
            decision=None,
            signal_timestamp=START_MS // 1_000 // 3_600 * 3_600,
            decided_ms=self.exchange.now_ms(),
            bid=None,
            ask=None,
            intended_price=Decimal(repr(self.price)),
            reason="the test",
            strategy="test",
            parameters={},
            code_digest="0",
        )


async def _load_markets(client: PrivateClient) -> None:
    """Load the markets before anything is traded; on a busy machine that may take long."""
    for _ in range(10):
        with suppress(ExchangeUnreachable):
            return await client.load_markets()
    return await client.load_markets()


@asynccontextmanager
async def open_live_desk(
    db: Path,
    *faults: Fault,
    simulator: Simulator | str | None = None,
    stop_loss: float | None = 0.05,
    times: LiveTimes = QUICK,
    number: int = 1,
    account: str = ACCOUNT,
    timeout_ms: int = 20_000,
    is_stepped: bool = True,
    balance: Mapping[str, Decimal] = BALANCE,
    baseline: Mapping[str, Decimal] | None = None,
    quote_amount: float = 2_000.0,
    has_stream: bool = False,
    risk: RiskLimits = DEFAULT_LIMITS,
) -> AsyncGenerator[LiveDesk]:
    """Open the desk on a new simulator, or on one that runs.

    Args:
        db: Path of the database.
        faults: Faults of the new simulator.
        simulator: A running simulator, or the address of one in another process.
        stop_loss: Stop loss of the account.
        times: Time limits.
        number: Number of the session.
        account: Name of the account.
        timeout_ms: Timeout of private requests.
        is_stepped: Whether the clock of the new simulator is stepped.
        balance: Start balances of the new simulator.
        baseline: Other coins with which the account is stored; None: it is not stored.
        quote_amount: Quote currency of each entry.
        has_stream: Whether the account's events are read in addition to the account.
        risk: Limits of entries.
    """
    async with AsyncExitStack() as stack:
        if simulator is None:
            simulator = await stack.enter_async_context(
                _make_simulator(faults, is_stepped, balance)
            )
        url = simulator if isinstance(simulator, str) else simulator.url
        endpoint = Endpoint("simulator", url)
        exchange = await asyncio.to_thread(RestExchange, endpoint)
        if not isinstance(simulator, str):
            exchange.clock = simulator.clock
        await stack.enter_async_context(exchange)
        market = await exchange.fetch_market(KEY.symbol)
        key = Credentials("simulator", "simulator")
        client = PrivateClient(endpoint, key, now_ms=exchange.now_ms, timeout_ms=timeout_ms)
        await stack.enter_async_context(client)
        await _load_markets(client)
        stream = None
        if has_stream:
            stream = UserStream(endpoint, key, client.markets, now_ms=exchange.now_ms)
            await stack.enter_async_context(stream)
        store = stack.enter_context(open_store(db, create=True))
        rules = AccountConfig(
            cash=10_000.0, trading_rules=market.trading_rules,
            exits=ExitConfig(stop_loss=stop_loss),
            sizing="quote_amount", quote_amount=quote_amount,
        )  # fmt: skip
        session = Session(
            f"session-{number}", "trader", "live", account, *KEY.names, "test", {}, "0",
            exchange.now_ms(),
        )  # fmt: skip
        context = SessionContext(
            settings=TraderSettings(exchange="simulator", account_name=account, risk=risk),
            key=KEY,
            timeframe=Timeframe.parse(KEY.timeframe),
            market=market,
            strategy=cast("Any", None),
            evaluator=cast("Any", None),
            rules=rules,
            start_balance=Decimal(10_000),
            store=store,
            session=session,
            broker=LiveBroker(client, KEY.symbol, stream, KeyRights(client)),
            tag=read_order_tag(store),
            times=times,
            exchange_account="simulator 1",
        )
        lease = Lease(context)
        stack.callback(lease.release)
        opened = AccountSeries(
            account, "live", *KEY.names, "test", "USDT", Decimal(10_000), exchange.now_ms()
        )
        open_account(store, opened, lease.fence)
        if baseline is not None:
            now_ms = exchange.now_ms() - 2 * 86_400_000
            open_live_account(
                store, LiveAccount(ACCOUNT, "simulator", "simulator 1", baseline, now_ms, now_ms)
            )
        start_session(store, session, lease.fence)
        desk = LiveDesk(cast("Simulator", simulator), exchange, context, lease)
        desk.client = client
        if isinstance(simulator, str):
            desk.fixed_price = (await exchange.fetch_ticker(KEY.symbol)).last
        desk.start()
        yield desk


@asynccontextmanager
async def _make_simulator(
    faults: Iterable[Fault], is_stepped: bool, balance: Mapping[str, Decimal]
) -> AsyncGenerator[Simulator]:
    clock = make_clock(start_ms=START_MS, stepped=True) if is_stepped else None
    async with Simulator(clock=clock, faults=faults, balance=balance) as simulator:
        yield simulator
