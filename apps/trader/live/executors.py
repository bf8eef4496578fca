"""Makes the executor that carries out a symbol's orders, and runs it in the session's event loop.

`make_executor` chooses paper or real orders. `drive_orders` is repeated while the session trades,
and `settle_orders` waits for orders under way when the program ends.
"""

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
#: Time after which a stop of the program drops an unsent exit, so that the stop order is placed
#: again; the exit is pending at the next start. Wall seconds.
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
        context: Context of the traded symbol; if it has a broker, orders are real.
        fence: The lease of account and symbol.
        funds: The money of the account.
        exchange: Exchange whose clock dates requests.
        states: State of the trader, where problems with orders are reported.
    """
    if context.broker is None:
        return PaperExecutor(context, fence, funds)
    return LiveExecutor(
        context, fence, funds, context.broker, exchange, states, times=context.times
    )


async def drive_orders(
    context: SessionContext,
    executor: Executor,
    rule_runner: RuleRunner,
    exchange: RestExchange,
    lease: Lease,
    on_exit: Callable[[], None],
) -> None:
    """Take the steps of live orders that are due, then wait for events, 0.25 s at most.

    With an executor on paper this waits forever: paper orders need no such steps.

    Args:
        context: Context of the traded symbol.
        executor: Executor of the symbol's orders.
        rule_runner: Runner of stops and targets; it gets the results of the orders.
        exchange: Exchange whose clock dates requests.
        lease: Lease of account and symbol; it is renewed before anything is sent.
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
    rule_runner.settle()
    if held is not None and executor.entry_order_id is None:
        on_exit()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRIVE_SECONDS):
            await reported.wait()


async def settle_orders(executor: Executor | None, exchange: RestExchange, lease: Lease) -> bool:
    """Wait, before the program ends, until no order is on its way and a position has its stop.

    An exit that cannot be sent in time is dropped and stays pending, so that its stop is placed
    again.

    Args:
        executor: Executor of the symbol's orders; None, or one on paper: nothing is waited for.
        exchange: Exchange whose clock dates requests.
        lease: Lease of account and symbol; it is renewed meanwhile.

    Returns:
        Whether that state was reached within `SETTLE_SECONDS`.
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
    return executor.is_at_rest and not executor.is_unprotected
