"""Sessions of several symbols on one account, on a simulator whose clock the test moves."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from onetape.cli.stop import StopRequest
from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Session
from onetape.engine import AccountConfig
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.store.database import open_store
from onetape.store.ledger import read_fills
from session_harness import ACCOUNT, SessionHarness, SteppedMarket, make_evaluator
from trader.account import get_configured_balance
from trader.evaluator.process_evaluator import ProcessEvaluator
from trader.market_guard import find_simulated_market
from trader.run import make_account_config
from trader.session_context import SessionContext
from trader.sessions import run_sessions
from trader.settings import TraderSettings
from trader.settings_reload import make_session_rules

#: Kind (`buy`, or the type of the exit order), price, amount and fee of a fill.
Made = tuple[str, Decimal, Decimal, Decimal]


def make_key(symbol: str) -> SeriesKey:
    """Return the series of a symbol."""
    return SeriesKey("simulator", symbol, "1h")


def get_simulator_candles(opened: SteppedMarket, symbol: str, start: int, end: int) -> Candles:
    """Return the simulator's own final candles that open in `[start, end)`, epoch seconds."""
    bars = opened.simulator.market.get_candles(symbol, "1h", start, end)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Candles.from_columns(bars.timestamp, *columns)


def iterate_rows(candles: Candles) -> list[Candle]:
    """Return candles one by one."""
    columns = (
        candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume,
    )  # fmt: skip
    return [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]


class SymbolDesk:
    """Running sessions, one for each symbol."""

    def __init__(self, desks: Mapping[str, SessionHarness]) -> None:
        """Take the sessions by symbol."""
        self.desks = desks

    @property
    def first(self) -> SessionHarness:
        """Return the session of the first symbol, for database queries."""
        return next(iter(self.desks.values()))

    async def until_decided(self, timestamp: int, symbols: Sequence[str] | None = None) -> None:
        """Wait until the candle of a time was decided on for each of some symbols; None: all."""
        for symbol in symbols or self.desks:
            await self.desks[symbol].until(
                lambda symbol=symbol: self.desks[symbol].has_decided(timestamp)
            )

    def made(self, symbol: str) -> list[Made]:
        """Return the fills of a symbol, oldest first."""
        types = dict(self.first.query("SELECT client_order_id, type FROM orders"))
        account = self.first.context.session.account
        return [
            (
                "buy" if trade.side == "buy" else types[trade.client_order_id],
                trade.price,
                trade.amount,
                trade.fee,
            )
            for trade in read_fills(self.first.store, account, symbol)
        ]


@asynccontextmanager
async def run_symbol_sessions(
    market: SteppedMarket,
    db: Path,
    strategies: Mapping[str, str],
    *,
    account: AccountConfig | None = None,
    number: int = 1,
    account_name: str = ACCOUNT,
    cash: str | None = None,
    **settings: Any,
) -> AsyncGenerator[SymbolDesk]:
    """Run sessions while the block lasts; then stop them cleanly.

    Args:
        market: Market of the sessions.
        db: Database file.
        strategies: Symbols in the order of entries, each with the strategy that trades it.
        account: Costs, sizes and exits.
        number: Part of the ids of the sessions.
        account_name: Name of the account.
        cash: Its start balance.
        settings: Other settings of the trader.
    """
    exchange = await asyncio.to_thread(
        RestExchange,
        Endpoint("simulator", market.proxy.url),
        first_pause_seconds=0.01,
        retry_seconds=0.08,
    )
    exchange.clock = market.simulator.clock
    stop = StopRequest()
    values = TraderSettings(
        exchange="simulator",
        symbol=",".join(strategies),
        account_name=account_name,
        account=account or AccountConfig(),
        cash=None if cash is None else Decimal(cash),
        **settings,
    )
    evaluators: dict[str, ProcessEvaluator] = {}
    for name in strategies.values():
        if name not in evaluators:
            evaluators[name] = make_evaluator(name)
            await evaluators[name].load()
    async with exchange:
        with open_store(db, create=True) as store, pytest.MonkeyPatch.context() as patch:
            # On a busy machine the first decision would come before the stream, without an entry.
            patch.setattr("trader.decision_loop.FIRST_DECISION_TIMEOUT_SECONDS", 60.0)
            contexts: list[SessionContext] = []
            for symbol, name in strategies.items():
                info, chosen = await exchange.fetch_market(symbol), evaluators[name].strategy
                key = make_key(symbol)
                session = Session(
                    f"session-{number}-{symbol}", "trader", "paper", account_name, *key.names,
                    chosen.name, {}, "0", exchange.now_ms(), make_session_rules(values),
                )  # fmt: skip
                context = SessionContext(
                    settings=values,
                    key=key,
                    timeframe=Timeframe.parse(key.timeframe),
                    market=info,
                    strategy=chosen,
                    evaluator=evaluators[name],
                    rules=make_account_config(values, info.trading_rules),
                    start_balance=get_configured_balance(values),
                    store=store,
                    session=session,
                )
                contexts.append(structs.replace(context, prefix=f"{symbol}: "))
            simulated = await find_simulated_market(exchange)
            task = asyncio.create_task(run_sessions(contexts, exchange, stop, simulated))
            desks = {
                context.key.symbol: SessionHarness(
                    context, strategies[context.key.symbol], stop, task, store
                )
                for context in contexts
            }
            try:
                yield SymbolDesk(desks)
            finally:
                stop.request("the test")
                await asyncio.wait({task})
                for evaluator in evaluators.values():
                    await evaluator.close()
    if not task.cancelled():
        task.result()
