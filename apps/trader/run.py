"""One run of the trader: checks the start, opens exchange and database, trades until a stop."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from msgspec import Struct, structs

from onetape.cli.line_printer import print_in_thread
from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest
from onetape.core.candles import SeriesKey
from onetape.core.errors import OnetapeError, name_settings
from onetape.core.folders import DATA_FOLDER
from onetape.core.symbols import SIMULATOR_ID
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Session
from onetape.core.trading_rules import TradingRules
from onetape.engine import AccountConfig
from onetape.exchange.catalogue import check_exchange
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import SimulatorInfo
from onetape.exchange.rest import BRIEF_RETRY_SECONDS, MarketInfo, RestExchange
from onetape.exchange.trading_records import Credentials
from onetape.store.candles import ensure_store_kind
from onetape.store.checkpoints import checkpoints_in_thread
from onetape.store.database import open_store
from onetape.store.live_accounts import confirm_live_account, read_order_tag
from onetape.store.marked_decisions import INFORMATIVE
from onetape.store.market_data import save_trading_rules
from trader.account import (
    get_configured_balance,
    release_abandoned_entries,
)
from trader.brokers.live import LiveBroker
from trader.command_signals import holding_command_signals, taking_command_signals
from trader.evaluator.built_in import is_built_in
from trader.evaluator.messages import LoadedStrategy
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
from trader.live.opening import LiveAccess, open_access, open_or_check_account
from trader.live.shared_money import check_shared_money, warn_of_shared_money
from trader.live.start_checks import (
    Start,
    check_accounts,
    check_other_accounts,
    fetch_traded_markets,
)
from trader.live.start_plan import StartPlan
from trader.locked_start import (
    WRITE_TIMEOUT_SECONDS,
    read_once_unlocked,
    trade_once_unlocked,
)
from trader.market_guard import find_simulated_market
from trader.session_context import SessionContext
from trader.sessions import run_sessions
from trader.settings import TraderSettings, choose_trader_database
from trader.settings_reload import make_session_rules
from trader.shared_rate_limit_bans import SharedRateLimitBans
from trader.start_settings import find_strategy_fault
from trader.start_strategies import StrategyLoader, refuse_live_limits
from trader.strategy_origin import ORIGIN, find_loaded_origin, get_stored_origin, make_params_origin
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
        try:
            plan, evaluators = loader.load_plan(plan)
        except OnetapeError as error:
            if settings.mode != "paper" or plan.strategy_fault is not None:
                raise
            faulty = structs.replace(plan, strategy_fault=error)
            plan = read_once_unlocked(partial(plan_paper_start, faulty, path))
            plan, evaluators = loader.load_plan(plan)
        plan = refuse_live_limits(plan, evaluators)
        # A file that cannot be used is reported before any request over the network.
        start = read_once_unlocked(
            partial(_check_stored_accounts, Start(plan, tuple(evaluators)), path)
        )
        # Before the event loop handles signals: a signal ends the prompt for a key at once.
        credentials = load_start_credentials(start.plan)
        endpoint = _make_endpoint(start.plan, stack)
        work = _trade(start, endpoint, credentials, first, is_confirmed=is_confirmed)
        with print_in_thread():
            runner.run(work)


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


def _make_endpoint(plan: StartPlan, stack: ExitStack) -> Endpoint:
    """Return the exchange to connect to; a simulator is started if none is found."""
    settings = plan.settings
    if settings.simulator_url and plan.open_series and settings.exchange == SIMULATOR_ID:
        # The exchange may not be reachable yet: with a position open the start waits for it.
        return Endpoint(SIMULATOR_ID, settings.simulator_url.rstrip("/"))
    if settings.exchange != SIMULATOR_ID:
        return Endpoint(settings.exchange, is_sandbox=settings.sandbox)
    from onetape.simulator.embedded import find_or_start_simulator

    return Endpoint(
        SIMULATOR_ID, stack.enter_context(find_or_start_simulator(settings.simulator_url))
    )


async def _trade(
    start: Start,
    endpoint: Endpoint,
    credentials: Credentials | None,
    first: FirstEntry,
    *,
    is_confirmed: bool,
) -> None:
    """Open the exchange, confirm a first live entry, and trade in the trading thread."""
    stop = StopRequest()
    settings, account = start.plan.settings, start.plan.account
    path = choose_trader_database(settings)
    bans = SharedRateLimitBans(path, settings.exchange)
    waiting = WaitingStart(path, start.plan) if start.plan.open_series else None
    with closing(bans), taking_command_signals(path, account):
        async with AsyncExitStack() as stack:
            opened = await open_exchange(
                partial(_open_access, start, endpoint, credentials, bans),
                stack,
                stop,
                waiting=waiting,
            )
            if opened is None:
                print_line(f"{stop.name}: stopped before trading began")
                return
            plan, access = opened.start.plan, opened.access
            if access is not None:
                plan = check_other_accounts(plan, path, access.exchange_account)
                access = access.add_booked_coins(path, opened.markets[0].quote)
                check_shared_money(path, plan, access)
                if first.is_open and not await confirm_first_entry(
                    plan, access, first, stop, is_confirmed=is_confirmed
                ):
                    print_line(f"{stop.name}: stopped before trading began")
                    return
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


class _OpenedExchange(Struct, frozen=True):
    """An opened exchange with the markets to trade, and the account of the API key."""

    exchange: RestExchange
    start: Start
    """The start, without symbols that the exchange does not list."""
    markets: Sequence[MarketInfo]
    """Market of each symbol of the start."""
    access: LiveAccess | None
    """Account at the exchange for live orders; None: on paper."""
    simulated: SimulatorInfo | None
    """Seed and time of the simulator's market; None for a real exchange."""


async def _open_access(
    start: Start,
    endpoint: Endpoint,
    credentials: Credentials | None,
    bans: SharedRateLimitBans,
    stack: AsyncExitStack,
) -> _OpenedExchange:
    """Open the exchange, and with a key the account; the exit stack closes them."""
    # The trader fetches the market again by itself, and its stream goes on meanwhile.
    exchange = await stack.enter_async_context(
        RestExchange(endpoint, retry_seconds=BRIEF_RETRY_SECONDS, waits_for_ban_end=False)
    )
    exchange.share_rate_limit_bans(bans)
    start, markets = await fetch_traded_markets(exchange, start)
    plan, access = start.plan, None
    if credentials is not None:
        access = await open_access(
            exchange,
            [one.key.symbol for one in plan.symbols],
            stack,
            credentials,
            data_folders=(choose_trader_database(plan.settings).parent, DATA_FOLDER),
            held_account=plan.exchange_account,
            is_unknown_allowed=plan.settings.untested_exchange,
        )
    return _OpenedExchange(exchange, start, markets, access, await find_simulated_market(exchange))


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
            strategy, origin = _choose_session_strategy(plan, key.symbol, evaluator)
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


def _choose_session_strategy(
    plan: StartPlan, symbol: str, evaluator: StrategyEvaluator
) -> tuple[LoadedStrategy, Mapping[str, Any]]:
    """Return the strategy that the session of a symbol stores, and the rules of its origin.

    If a stand-in trades for a strategy that cannot be loaded, the session stores name, parameters
    and file of that strategy.
    """
    strategy, name = evaluator.strategy, plan.stand_ins.get(symbol)
    session = plan.sessions.get(symbol)
    if name is None:
        before = get_stored_origin(session)
        run = make_params_origin(plan.settings, evaluator.settings, before)
        return strategy, {ORIGIN: find_loaded_origin(evaluator), **run}
    parameters = {} if session is None else dict(session.parameters)
    return structs.replace(strategy, name=name, parameters=parameters), get_stored_origin(session)


def _make_informative_rule(key: SeriesKey, strategy: LoadedStrategy) -> dict[str, list[str]]:
    """Return the rule with the symbols of other markets that a strategy reads; empty: none."""
    symbols = [one.make_key(key).symbol for one in strategy.inputs if one.is_other_market]
    return {INFORMATIVE: sorted(set(symbols))} if symbols else {}


def make_session(
    settings: TraderSettings,
    account: str,
    key: SeriesKey,
    strategy: LoadedStrategy,
    now_ms: int,
    origin: Mapping[str, Any],
) -> Session:
    """Return the record of a session that begins now; it is not stored yet.

    Args:
        settings: Settings of the trader.
        account: Name of the account.
        key: The series to trade.
        strategy: Strategy with its parameters and the digest of its code.
        now_ms: Market time, epoch milliseconds.
        origin: Strategy file and saved run, as `strategy_origin.get_origin_rules` returns them.
    """
    return Session(
        session=uuid4().hex,
        app="trader",
        mode="live" if settings.mode == "live" else "paper",
        account=account,
        exchange=key.exchange,
        symbol=key.symbol,
        timeframe=key.timeframe,
        strategy=strategy.name,
        parameters=strategy.parameters,
        code_digest=strategy.code_digest,
        started_ms=now_ms,
        rules={**make_session_rules(settings), **origin, **_make_informative_rule(key, strategy)},
    )
