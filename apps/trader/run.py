"""One run of the trader: check what was asked for, open exchange and file, trade until stopped."""

import asyncio
from contextlib import ExitStack, closing
from functools import partial
from uuid import uuid4

import msgspec

from onetape.cli.addresses import check_simulator_url
from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest
from onetape.core.candles import SeriesKey
from onetape.core.errors import UsageError, naming_settings
from onetape.core.folders import USER_FOLDER, database_path
from onetape.core.setting import settings_tree
from onetape.core.steps import MarketSteps
from onetape.core.symbols import SIMULATOR_ID, spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Session
from onetape.engine import AccountConfig
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import (
    BRIEF_PATIENCE_SECONDS,
    Market,
    RestExchange,
    check_exchange,
)
from onetape.store.accounts import read_account
from onetape.store.candles import check_kind
from onetape.store.database import open_store
from onetape.store.market_data import save_market
from onetape.strategies.registry import check_choice
from trader.account import (
    account_name,
    asked_balance,
    check_account,
    check_account_settings,
)
from trader.command_signals import taking_command_signals
from trader.evaluator.evaluator import StrategyEvaluator
from trader.evaluator.messages import LoadedStrategy
from trader.evaluator.processes import StrategyHelper
from trader.job import Job
from trader.rate_limit_bans import SharedRateLimitBans
from trader.session import run_session
from trader.settings import TraderSettings
from trader.trading_thread import run_in_thread


def run_trader(settings: TraderSettings) -> None:
    """Trade until SIGTERM or Ctrl-C.

    Raises:
        OnetapeError: as its class says; what was stored before stays stored.
    """
    with naming_settings("exchange"):
        check_exchange(settings.exchange)
    key = _key(settings)
    with ExitStack() as stack:
        helper = StrategyHelper()
        stack.callback(helper.close)
        helper.start()
        runner = stack.enter_context(asyncio.Runner())
        evaluator = StrategyEvaluator(
            settings.strategy, key.timeframe, helper, memory_mb=settings.strategy_memory_mb
        )
        stack.callback(lambda: runner.run(evaluator.close()))
        strategy = runner.run(evaluator.load())
        path = database_path(settings.db, settings.exchange)
        if path.exists():
            # A file that cannot be used is named before the network is asked for anything.
            with open_store(path, create=False, whole=True) as store:
                account = read_account(store, account_name(settings, key))
                check_account(account, settings, key, strategy.name)
        runner.run(_trade(settings, _endpoint(settings, stack), key, evaluator))


def check_settings(settings: TraderSettings) -> None:
    """Look at all that shows before anything is opened or asked; the market's steps come later.

    Raises:
        UsageError: a setting cannot be used.
    """
    if settings.mode != "paper":
        raise UsageError(
            f"mode {settings.mode!r} is not available: this version trades on paper only; "
            "set mode: paper",
            setting="mode",
        )
    check_simulator_url(settings.simulator_url)
    check_account_settings(settings)
    _key(settings)
    check_choice(settings.strategy.name, settings.strategy.parameters, USER_FOLDER)


def _key(settings: TraderSettings) -> SeriesKey:
    with naming_settings("symbol"):
        symbol = spot_symbol(settings.symbol)
    with naming_settings("timeframe"):
        timeframe = Timeframe.parse(settings.timeframe).name
    return SeriesKey(settings.exchange, symbol, timeframe)


def account_config(settings: TraderSettings, steps: MarketSteps) -> AccountConfig:
    """Return the account of these settings in a market with these steps."""
    return msgspec.structs.replace(
        settings.account, cash=float(asked_balance(settings)), steps=steps
    )


def _endpoint(settings: TraderSettings, stack: ExitStack) -> Endpoint:
    if settings.exchange != SIMULATOR_ID:
        return Endpoint(settings.exchange)
    from onetape.simulator.embedded import find_or_start

    return Endpoint(SIMULATOR_ID, stack.enter_context(find_or_start(settings.simulator_url)))


async def _trade(
    settings: TraderSettings,
    endpoint: Endpoint,
    key: SeriesKey,
    evaluator: StrategyEvaluator,
) -> None:
    stop = StopRequest()
    path = database_path(settings.db, key.exchange)
    bans = SharedRateLimitBans(path, key.exchange)
    with closing(bans), taking_command_signals(path, account_name(settings, key)):
        # The trader asks again by itself, and its stream goes on meanwhile.
        async with RestExchange(
            endpoint, patience_seconds=BRIEF_PATIENCE_SECONDS, sits_out_silence=False
        ) as exchange:
            exchange.share_silences(bans)
            market = await stop.unless_stopped(_ask(exchange, key))
            if market is None:
                print_line(f"{stop.name}: stopped before trading began")
                return
            await run_in_thread(
                stop, partial(trade_in_session, settings, exchange, key, evaluator, market)
            )


async def trade_in_session(
    settings: TraderSettings,
    exchange: RestExchange,
    key: SeriesKey,
    evaluator: StrategyEvaluator,
    market: Market,
    stop: StopRequest,
) -> None:
    """Open the database and trade until the stop; runs in the trading thread."""
    with open_store(database_path(settings.db, key.exchange), create=True) as store:
        check_kind(store, key.exchange)
        strategy = evaluator.strategy
        save_market(store, key.exchange, key.symbol, market.steps, exchange.now_ms())
        job = Job(
            settings=settings,
            key=key,
            timeframe=Timeframe.parse(key.timeframe),
            market=market,
            strategy=strategy,
            evaluator=evaluator,
            rules=account_config(settings, market.steps),
            start_balance=asked_balance(settings),
            store=store,
            session=make_session(settings, key, strategy, exchange.now_ms()),
        )
        try:
            await run_session(job, exchange, stop)
        finally:
            await evaluator.close()


async def _ask(exchange: RestExchange, key: SeriesKey) -> Market:
    """Return the market, after a look at the exchange's timeframes and clock."""
    market = await exchange.market(key.symbol)
    exchange.check_timeframe(key.timeframe)
    await exchange.compare_clocks()
    return market


def make_session(
    settings: TraderSettings, key: SeriesKey, strategy: LoadedStrategy, now_ms: int
) -> Session:
    """Return the record of a session that begins now.

    Args:
        settings: Of the trader.
        key: The series to trade.
        strategy: With its parameters.
        now_ms: Market time, epoch milliseconds.
    """
    tree = settings_tree(settings)
    rules = {**tree["account"], **tree["exits"]}
    del rules["cash"]
    return Session(
        session=uuid4().hex,
        app="trader",
        mode="paper",
        account=account_name(settings, key),
        exchange=key.exchange,
        symbol=key.symbol,
        timeframe=key.timeframe,
        strategy=strategy.name,
        parameters=strategy.parameters,
        code_digest=strategy.code_digest,
        started_ms=now_ms,
        rules=msgspec.to_builtins(rules, str_keys=True),
    )
