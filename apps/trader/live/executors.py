"""Makes the executor of a symbol: on paper, or with real orders."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from onetape.exchange.rest import RestExchange
from onetape.store.leases import Fence
from trader.account_funds import AccountFunds
from trader.brokers.paper_executor import PaperExecutor
from trader.executor import Executor
from trader.lease import Lease
from trader.live.live_executor import LiveExecutor
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.states import TraderStates

#: Pause between two checks of the orders without events, wall seconds.
DRIVE_SECONDS: Final = 0.25
#: Maximum time that a stop of the program waits for orders on their way, wall seconds.
SETTLE_SECONDS: Final = 3.5
#: Time until an unsent exit is left to the next start, so that its stop can be put back.
LEAVE_SECONDS: Final = 1.75


def make_executor(
    context: SessionContext,
    fence: Fence,
    funds: AccountFunds,
    exchange: RestExchange,
    states: TraderStates,
) -> Executor:
    """Return the executor that sends and books the orders of a symbol.

    Args:
        context: Context of the traded symbol; with a broker, orders are real.
        fence: The lease of account and symbol.
        funds: The money of the account.
        exchange: Exchange whose clock dates requests.
        states: Take problems with orders.
    """
    if context.broker is None:
        return PaperExecutor(context, fence, funds)
    return LiveExecutor(
        context, fence, funds, context.broker, exchange, states, times=context.times
    )


async def drive_orders(
    context: SessionContext,
    executor: Executor,
    exits: RuleRunner,
    exchange: RestExchange,
    lease: Lease,
    on_exit: Callable[[], None],
) -> None:
    """Go on with live orders once, and wait for the next events, for a moment at most.

    Args:
        context: Context of the traded symbol.
        executor: Has the orders.
        exits: Exits by the rules, which get the results of the orders.
        exchange: Exchange whose clock dates requests.
        lease: Renewed before anything is sent.
        on_exit: Called when a position has been sold: a BUY may wait for that.

    Raises:
        StoreError: the file cannot be written.
        SafetyRefusal: another process trades the account.
    """
    if not isinstance(executor, LiveExecutor) or context.broker is None:
        await asyncio.Event().wait()
        return
    reported = context.broker.reported
    reported.clear()
    lease.renew()
    held = executor.entry_order_id
    executor.drive(exchange.now_ms())
    exits.settle()
    if held is not None and executor.entry_order_id is None:
        on_exit()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRIVE_SECONDS):
            await reported.wait()


async def settle_orders(executor: Executor | None, exchange: RestExchange, lease: Lease) -> bool:
    """Wait at the end until no order is on its way and filled coins have their stop.

    An exit that cannot be sent in time is dropped and stays pending, so that its stop is put back.

    Returns:
        Whether that state was reached in time.
    """
    if not isinstance(executor, LiveExecutor):
        return True
    began = time.monotonic()
    deadline = began + SETTLE_SECONDS
    executor.note_ending()
    while not executor.is_at_rest and time.monotonic() < deadline:
        executor.broker.reported.clear()
        lease.renew()
        if time.monotonic() - began >= LEAVE_SECONDS:
            executor.drop_exit(exchange.now_ms(), "the program ends")
        executor.drive(exchange.now_ms())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRIVE_SECONDS / 5):
                await executor.broker.reported.wait()
    return executor.is_at_rest
