"""Runs the sessions of one account, one for each symbol, side by side until they are stopped."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from onetape.cli.stop import StopRequest, cancel_and_wait
from onetape.exchange.market_clock import SimulatorInfo
from onetape.exchange.rest import RestExchange
from onetape.store.sessions import start_session
from onetape.store.trader_states import insert_state_changes
from trader.account import describe_session_changes, open_or_continue_account
from trader.account_context import AccountContext, build_account_context
from trader.informative_fetchers import InformativeFetchers
from trader.lease import Lease
from trader.market_guard import check_market
from trader.session import TradingSession, report_end_errors
from trader.session_context import SessionContext
from trader.states import TraderStates
from trader.stream import MarketStreams, get_dial_file


async def run_session(
    context: SessionContext,
    exchange: RestExchange,
    stop: StopRequest,
    simulated: SimulatorInfo | None,
) -> None:
    """Trade one symbol; arguments and errors are those of `run_sessions`."""
    await run_sessions([context], exchange, stop, simulated)


async def run_sessions(
    contexts: Sequence[SessionContext],
    exchange: RestExchange,
    stop: StopRequest,
    simulated: SimulatorInfo | None,
) -> None:
    """Trade symbols of one account until SIGTERM or Ctrl-C, then store the ends of their sessions.

    An error that ends the session of one symbol ends all of them.

    Args:
        contexts: Context of each symbol, in the order of entries at one moment; at least one.
        exchange: Open; its event loop may be that of another thread.
        stop: Ends the sessions.
        simulated: Seed and time of the simulator's market; None for a real exchange.

    Raises:
        SafetyRefusal: another process trades a symbol, or the account was opened for something
            else.
        DataError: the file holds candles of another market, or was deleted or replaced.
        ConfigurationError: the first evaluation of a strategy failed, and no position and no order
            of the account is open.
        OnetapeError: the sessions cannot begin.
    """
    for context in contexts:
        check_market(context, exchange, simulated)
    async with AsyncExitStack() as stack:
        leases = [_take_lease(context, stack) for context in contexts]
        held = [
            open_or_continue_account(context, lease.fence)
            for context, lease in zip(contexts, leases, strict=True)
        ]
        account_context = build_account_context([context for context, _ in held], exchange.now_ms)
        streams = await stack.enter_async_context(
            MarketStreams(
                exchange,
                [context.key.symbol for context in contexts],
                stale_after_seconds=contexts[0].settings.stale_after_seconds,
                dial_file=get_dial_file(contexts[0].store.path, exchange.endpoint.exchange),
            )
        )
        fetchers = InformativeFetchers([context for context, _ in held], exchange)
        sessions = [
            _begin_session(context, exchange, lease, streams, account_context, lines, fetchers)
            for (context, lines), lease in zip(held, leases, strict=True)
        ]
        await _run_all([session.run(stop) for session in sessions])


def _take_lease(context: SessionContext, stack: AsyncExitStack) -> Lease:
    """Take the lease of a symbol; the stack releases it."""

    def release() -> None:
        # The end of the session has met and printed the error that the release meets.
        with report_end_errors(context, is_silent=True):
            lease.release()

    lease = Lease(context)
    stack.callback(release)
    return lease


def _begin_session(
    context: SessionContext,
    exchange: RestExchange,
    lease: Lease,
    streams: MarketStreams,
    account_context: AccountContext,
    lines: list[str],
    fetchers: InformativeFetchers,
) -> TradingSession:
    """Store the start of a symbol's session; return the session that trades."""
    states = TraderStates(
        now_ms=exchange.now_ms,
        write=partial(insert_state_changes, context.store, context.session.session),
    )
    changes = describe_session_changes(context)
    start_session(context.store, context.session, lease.fence, changes=changes)
    states.begin()
    if changes is not None:
        lines = [*lines, f"account {context.session.account}: {changes}"]
    return TradingSession(
        context, exchange, lease, streams, account_context, states, lines, fetchers
    )


async def _run_all(sessions: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run sessions side by side until all have ended; the first error ends them all."""
    running = [asyncio.create_task(session) for session in sessions]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await cancel_and_wait(*running)
