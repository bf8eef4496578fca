"""One run of the trader: checks the start, opens exchange and database, trades until a stop."""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from onetape.cli.line_printer import print_in_thread
from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest, cancel_and_wait
from onetape.core.errors import OnetapeError, name_settings
from onetape.core.message_text import format_duration
from onetape.core.timeframes import Timeframe
from onetape.core.trading_rules import TradingRules
from onetape.engine import AccountConfig
from onetape.exchange.catalogue import check_exchange
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import SimulatorInfo
from onetape.exchange.rest import MarketInfo, RestExchange
from onetape.exchange.trading_records import Credentials
from onetape.store.candles import ensure_store_kind
from onetape.store.checkpoints import checkpoints_in_thread
from onetape.store.database import open_store
from onetape.store.event_reading import LOADING_OVER
from onetape.store.live_accounts import confirm_live_account, read_order_tag
from onetape.store.market_data import save_trading_rules
from trader.account import (
    get_configured_balance,
    release_abandoned_entries,
)
from trader.brokers.live import LiveBroker
from trader.command_signals import holding_command_signals, taking_command_signals
from trader.evaluator.built_in import is_built_in
from trader.evaluator.processes import StrategyHelper
from trader.evaluator.results import StrategyEvaluator
from trader.exchange_opening import open_exchange
from trader.live.confirmation import (
    FirstEntry,
    confirm_first_entry,
    plan_paper_start,
    plan_whole_start,
)
from trader.live.first_day import format_first_day_lines
from trader.live.key_watch import make_rights_watch
from trader.live.keys import load_start_credentials
from trader.live.opening import LiveAccess, open_or_check_account
from trader.live.shared_money import check_shared_money, warn_of_shared_money
from trader.live.start_checks import (
    Start,
    check_accounts,
    check_other_accounts,
)
from trader.live.start_plan import StartPlan
from trader.loading_start import NOTICE_SECONDS, make_loading_start, print_wait
from trader.locked_start import (
    WRITE_TIMEOUT_SECONDS,
    read_once_unlocked,
    trade_once_unlocked,
)
from trader.market_access import make_endpoint, open_market_access
from trader.session_context import SessionContext
from trader.session_records import choose_session_strategy, make_session
from trader.sessions import run_sessions
from trader.settings import TraderSettings, choose_trader_database
from trader.shared_rate_limit_bans import SharedRateLimitBans
from trader.start_settings import find_strategy_fault
from trader.start_strategies import StrategyLoader, refuse_live_limits
from trader.traded_symbols import parse_traded_symbols
from trader.trading_thread import run_in_thread
from trader.waiting_start import WaitingStart


def run_trader(
    settings: TraderSettings,
    *,
    is_confirmed: bool = False,
    strategy_fault: OnetapeError | None = None,
) -> None:
    """Trade until SIGTERM or Ctrl-C.

    It blocks the main thread, whose event loop has the sockets and signals; the sessions run in a
    second thread (`trading_thread`).

    Args:
        settings: Settings of the trader.
        is_confirmed: Whether a person has confirmed the first live entry with `--yes`.
        strategy_fault: Error of the strategy's file, or of the saved run; raised unless a position
            or order is open. None: no error.

    Raises:
        OnetapeError: as its class describes; rows stored before stay stored.
    """
    with name_settings("exchange"):
        check_exchange(settings.exchange)
    plan = StartPlan(
        settings,
        tuple(parse_traded_symbols(settings)),
        strategy_fault=strategy_fault or find_strategy_fault(settings),
    )
    with ExitStack() as stack:
        stack.enter_context(holding_command_signals())
        helper = StrategyHelper()
        stack.callback(helper.close)
        if not all(is_built_in(one.strategy) for one in plan.symbols):
            helper.start()
        runner = stack.enter_context(asyncio.Runner())
        path = choose_trader_database(settings)
        plan, first = read_once_unlocked(
            partial(plan_whole_start, plan, path, is_confirmed=is_confirmed)
        )
        loader = StrategyLoader(helper, runner, stack)
        program = _Program(path, loader, runner, stack, first, is_confirmed=is_confirmed)
        try:
            found = program.load(plan)
        except OnetapeError as error:
            if settings.mode != "paper" or plan.strategy_fault is not None:
                raise
            faulty = structs.replace(plan, strategy_fault=error)
            plan = read_once_unlocked(partial(plan_paper_start, faulty, path))
            found = program.load(plan)
        if found is None:
            return
        plan, evaluators = found
        plan = refuse_live_limits(plan, evaluators)
        # A file that cannot be used is reported before any request over the network.
        start = read_once_unlocked(
            partial(_check_stored_accounts, Start(plan, tuple(evaluators)), path)
        )
        program.trade(start)


class _Program:
    """Loads strategies and trades, in one event loop of the main thread."""

    def __init__(
        self,
        path: Path,
        loader: StrategyLoader,
        runner: asyncio.Runner,
        stack: ExitStack,
        first: FirstEntry,
        *,
        is_confirmed: bool,
    ) -> None:
        """Initialise; nothing is loaded or opened yet.

        Args:
            path: Database of the trader.
            loader: Loads the strategies.
            runner: Has the event loop.
            stack: Ends a simulator that is started here, at the end of the program.
            first: Whether the first live entry must be confirmed.
            is_confirmed: Whether a person has confirmed it with `--yes`.
        """
        self._path = path
        self._loader = loader
        self._runner = runner
        self._stack = stack
        self._first = first
        self._is_confirmed = is_confirmed
        self._connection: tuple[Endpoint, Credentials | None] | None = None
        """Exchange to connect to and API key; None: not chosen yet."""
        self._waiting: WaitingStart | None = None
        """Shows that the program starts while a position or an order is open; or None."""

    def load(self, plan: StartPlan) -> tuple[StartPlan, list[StrategyEvaluator]] | None:
        """Return the plan with the evaluators of its symbols; None: a signal came before.

        If that takes long while a position or an order is open, sessions that only exit run
        meanwhile.

        Raises:
            OnetapeError: as for `StrategyLoader.load`, or the sessions failed.
        """
        self._note_starting(plan)
        began = time.monotonic()
        loading = self._runner.get_loop().create_task(self._loader.load(plan))
        try:
            if not self._wait(loading, NOTICE_SECONDS):
                start = make_loading_start(plan, self._path)
                print_wait(plan.symbols, is_open=start is not None)
                if start is None:
                    self._wait(loading, None)
                elif self.trade(start, loading) != LOADING_OVER:
                    return None
                self._note_starting(plan)
                if loading.exception() is None and not loading.result()[0].stand_ins:
                    lasted = format_duration(time.monotonic() - began)
                    print_line(f"loaded after {lasted}: trading begins", event="state")
            return loading.result()
        finally:
            self._runner.run(cancel_and_wait(loading))

    def trade(self, start: Start, loading: "asyncio.Task[Any] | None" = None) -> str:
        """Trade until a signal, or until strategies are loaded; return the reason of the end.

        Args:
            start: The start with its symbols and evaluators.
            loading: Loads strategies; its end ends the trading. None: nothing is being loaded.
        """
        if self._connection is None:
            # Before the event loop handles signals: a signal ends the prompt for a key at once.
            credentials = load_start_credentials(start.plan)
            self._connection = make_endpoint(start.plan, self._stack), credentials
        first = self._first if loading is None else FirstEntry(is_open=False)
        endpoint, credentials = self._connection
        waiting, self._waiting = self._waiting, None
        work = _trade(
            start,
            endpoint,
            credentials,
            first,
            waiting,
            loading,
            is_confirmed=self._is_confirmed,
        )
        handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
        with print_in_thread():
            reason = self._runner.run(work)
        if loading is not None:
            # The rest of the start handles signals as the first part did.
            for number, handler in handlers.items():
                self._runner.get_loop().remove_signal_handler(number)
                signal.signal(number, handler)
        return reason

    def _note_starting(self, plan: StartPlan) -> None:
        """Let `trader status` show this process until its sessions begin, if something is open."""
        if plan.open_series and self._waiting is None:
            self._waiting = WaitingStart(self._path, plan)
            self._stack.callback(_close_waiting, self._runner, self._waiting)
            self._waiting.note_starting()

    def _wait(self, loading: "asyncio.Task[Any]", seconds: float | None) -> bool:
        """Wait until strategies are loaded, at most this long; return whether they are."""
        self._runner.run(_wait_for(loading, seconds))
        return loading.done()


async def _wait_for(task: "asyncio.Task[Any]", seconds: float | None) -> None:
    await asyncio.wait((task,), timeout=seconds)


def _close_waiting(runner: asyncio.Runner, waiting: WaitingStart) -> None:
    runner.run(waiting.close())


def make_account_config(settings: TraderSettings, trading_rules: TradingRules) -> AccountConfig:
    """Return the rules of the account, with its start balance and a market's trading rules."""
    return structs.replace(
        settings.account, cash=float(get_configured_balance(settings)), trading_rules=trading_rules
    )


def _check_stored_accounts(start: Start, path: Path) -> Start:
    """Return the start with the symbols that the stored account allows to trade.

    Raises:
        SafetyRefusal: the account was opened with other settings.
    """
    if not path.exists():
        return start
    with open_store(path, create=False, whole=True) as store:
        return check_accounts(store, start)


async def _trade(
    start: Start,
    endpoint: Endpoint,
    credentials: Credentials | None,
    first: FirstEntry,
    waiting: WaitingStart | None,
    loading: "asyncio.Task[Any] | None",
    *,
    is_confirmed: bool,
) -> str:
    """Open the exchange, confirm a first live entry, and trade in the trading thread.

    Returns:
        The reason of the end: a signal, or `LOADING_OVER` once `loading` is done.
    """
    stop = StopRequest()
    if loading is not None:

        def stop_when_loaded(_: "asyncio.Task[Any]") -> None:
            if not stop.name:
                stop.request(LOADING_OVER)

        loading.add_done_callback(stop_when_loaded)
    settings, account = start.plan.settings, start.plan.account
    path = choose_trader_database(settings)
    bans = SharedRateLimitBans(path, settings.exchange)
    if waiting is None and start.plan.open_series:
        waiting = WaitingStart(path, start.plan)
    with closing(bans), taking_command_signals(path, account):
        async with AsyncExitStack() as stack:
            opened = await open_exchange(
                partial(open_market_access, start, endpoint, credentials, bans),
                stack,
                stop,
                waiting=waiting,
            )
            if opened is None:
                if stop.name != LOADING_OVER:
                    print_line(f"{stop.name}: stopped before trading began")
                return stop.name
            plan, access = opened.start.plan, opened.access
            if access is not None:
                plan = check_other_accounts(plan, path, access.exchange_account)
                access = access.add_booked_coins(path, opened.markets[0].quote)
                check_shared_money(path, plan, access)
                if first.is_open and not await confirm_first_entry(
                    plan, access, first, stop, is_confirmed=is_confirmed
                ):
                    print_line(f"{stop.name}: stopped before trading began")
                    return stop.name
                access = structs.replace(access, is_confirmed=first.is_open)
            evaluators, markets = opened.start.evaluators, opened.markets
            trade = partial(
                trade_in_sessions,
                plan,
                opened.exchange,
                evaluators,
                markets,
                access,
                simulated=opened.simulated,
            )
            await run_in_thread(stop, partial(trade_once_unlocked, plan, path, trade))
    return stop.name


async def trade_in_sessions(
    plan: StartPlan,
    exchange: RestExchange,
    evaluators: Sequence[StrategyEvaluator],
    markets: Sequence[MarketInfo],
    access: LiveAccess | None,
    stop: StopRequest,
    *,
    simulated: SimulatorInfo | None,
) -> None:
    """Open the database, and trade until the stop; runs in the trading thread.

    Args:
        plan: Plan of the start.
        exchange: Open; its event loop is that of the main thread.
        evaluators: Evaluator of each symbol, in the order of `plan.symbols`; closed at the end.
        markets: Market of each symbol, in the same order.
        access: Account at the exchange for live orders; None: on paper.
        stop: Ends the sessions.
        simulated: Seed and time of the simulator's market; None for a real exchange.

    Raises:
        OnetapeError: as for `run_sessions`, or the file cannot be opened.
    """
    settings, account = plan.settings, plan.account
    path = choose_trader_database(settings)
    with open_store(path, create=True) as store, checkpoints_in_thread(store):
        # The trader's own leases are valid, and the trading thread must not sleep.
        store.yields_to_traders = False
        if plan.open_series:
            # A start that waits for a locked file shall end soon after a signal.
            store.lock_timeout_seconds = WRITE_TIMEOUT_SECONDS
        ensure_store_kind(store, settings.exchange, is_sandbox=settings.sandbox)
        if access is not None:
            quote = markets[0].quote
            warn_of_shared_money(store, plan, access)
            settings = open_or_check_account(
                store, settings, account, access, quote, exchange.now_ms()
            )
            if access.is_confirmed:
                confirm_live_account(store, account, confirmed_ms=exchange.now_ms())
            for line in format_first_day_lines(store, settings, account, quote, exchange.now_ms()):
                print_line(line)
        for note in dict.fromkeys(one.strategy.note for one in evaluators if one.strategy.note):
            print_line(f"note: {note}")
        for line in release_abandoned_entries(store, account, time.time_ns() // 1_000_000):
            print_line(line)
        key_rights = None
        if access is not None:
            key_rights = make_rights_watch(access.client, access.entry_ban)
        contexts: list[SessionContext] = []
        for one, evaluator, market in zip(plan.symbols, evaluators, markets, strict=True):
            key, now_ms = one.key, exchange.now_ms()
            strategy, origin = choose_session_strategy(plan, key.symbol, evaluator)
            save_trading_rules(store, key.exchange, key.symbol, market.trading_rules, now_ms)
            bans = (None if access is None else access.entry_ban, plan.find_entry_ban(key.symbol))
            contexts.append(
                SessionContext(
                    settings=settings,
                    key=key,
                    timeframe=Timeframe.parse(key.timeframe),
                    market=market,
                    strategy=strategy,
                    evaluator=evaluator,
                    rules=make_account_config(settings, market.trading_rules),
                    start_balance=get_configured_balance(settings),
                    store=store,
                    session=make_session(settings, account, key, strategy, now_ms, origin),
                    broker=(
                        None
                        if access is None
                        else LiveBroker(access.client, key.symbol, access.stream, key_rights)
                    ),
                    exchange_account="" if access is None else access.account_name,
                    tag="" if access is None else read_order_tag(store),
                    entry_bans=tuple(ban for ban in bans if ban is not None),
                    prefix=f"{key.symbol}: " if len(plan.symbols) > 1 else "",
                )
            )
        try:
            await run_sessions(contexts, exchange, stop, simulated)
        finally:
            for evaluator in evaluators:
                await evaluator.close()
