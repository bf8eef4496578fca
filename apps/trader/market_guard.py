"""Checks that the stored candles are from the market that is connected, so that they are not mixed.

A simulator may be started again with another seed or at an earlier time while a trader runs. The
check is made at the start and on each connection.
"""

import asyncio

from onetape.core.clock import format_utc
from onetape.core.errors import DataError, ExchangeUnreachable
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.market_clock import SimulatorInfo, fetch_simulator_info
from onetape.exchange.rest import RestExchange
from onetape.store.candles import read_last_closed_timestamp
from onetape.store.simulated_source import ensure_simulated_source
from trader.gap_backfiller import NEVER
from trader.session_context import SessionContext


async def fetch_and_check_market(context: SessionContext, exchange: RestExchange) -> None:
    """Request the market's identity and time; refuse a market other than that of the database.

    Raises:
        StoreError: as for `check_market`.
        DataError: as for `check_market`, if the market is a simulator's.
        ExchangeUnreachable: the simulator does not state its market, or the exchange its time; or
            the exchange sent a time before stored candles, as an old response of a cache has.
    """
    simulated = await find_simulated_market(exchange)
    if simulated is None:
        # Market time goes on from the response, so that no closed candle seems to lie in the
        # future.
        await exchange.compare_clocks()
        fault = _find_time_fault(context, exchange.now_ms())
        if fault is not None:
            raise ExchangeUnreachable(f"{context.key.exchange} sent a wrong time: {fault}")
    else:
        ensure_simulated_source(context.store, simulated.source)
        _check_time(context, simulated.now_ms)


async def find_simulated_market(exchange: RestExchange) -> SimulatorInfo | None:
    """Return seed and time of a simulator's market; None for a real exchange, without a request.

    Raises:
        ExchangeUnreachable: the simulator does not state its market.
    """
    return await asyncio.to_thread(fetch_simulator_info, exchange.endpoint)


def check_market(
    context: SessionContext, exchange: RestExchange, simulated: SimulatorInfo | None
) -> None:
    """Refuse a market other than that of the database, at the start; no request is sent.

    Args:
        context: Context of the traded symbol.
        exchange: Exchange whose clock, compared before, has the market time.
        simulated: Seed and time of the simulator's market; None for a real exchange.

    Raises:
        StoreError: the file belongs to another seed of the simulator.
        DataError: a stored closed candle lies later than the market's time, so no candle would be
            decided on.
    """
    if simulated is not None:
        ensure_simulated_source(context.store, simulated.source)
    # A simulator may have stopped responding since: then its clock stands still.
    known_ms = 0 if simulated is None else simulated.now_ms
    _check_time(context, max(known_ms, exchange.now_ms()))


def _check_time(context: SessionContext, now_ms: int) -> None:
    fault = _find_time_fault(context, now_ms)
    if fault is not None:
        is_simulated = context.key.exchange == SIMULATOR_ID
        remedy = "start the simulator with a later --start" if is_simulated else "set the clock"
        raise DataError(f"{fault}; {remedy}, or choose another file with --db")


def _find_time_fault(context: SessionContext, now_ms: int) -> str | None:
    """Return a text if a market time contradicts the closed candles of the file, or None."""
    newest = read_last_closed_timestamp(context.store, context.key, NEVER)
    if newest is None:
        return None
    is_simulated = context.key.exchange == SIMULATOR_ID
    # The clock of the simulator is its market's; the computer's clock may be a little slow.
    known = context.timeframe.next(newest) if is_simulated else newest
    now = now_ms // 1_000
    if known <= now:
        return None
    return (
        f"{context.store.path} holds {context.key} candles up to {format_utc(newest)}, but the "
        f"market's time is {format_utc(now)}"
    )
