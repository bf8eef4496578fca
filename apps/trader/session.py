"""A trading session: the stream and the strategy loop side by side, until somebody stops it."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Coroutine

from onetape.cli.output import print_line
from onetape.core.errors import OnetapeError
from onetape.exchange.rest import RestExchange
from onetape.store.leases import acquire_lease, release_lease, renew_lease
from onetape.store.ledger import cancel_unfinished_orders, end_session, start_session
from trader.decide import Decider
from trader.job import Job
from trader.paper import PaperBroker
from trader.tape import Tape
from trader.words import closing_line, decision_line, opening_lines

#: The strategy looks at least this often, and at once when a candle closes.
LOOP_SECONDS = 1.0
#: How long the first decision waits for the stream, which it needs to become an order.
FIRST_DECISION_PATIENCE_SECONDS = 3.0
#: A killed trader's account is free again after this.
LEASE_SECONDS = 20.0
LEASE_RENEWED_EVERY_SECONDS = 5.0


async def run_session(job: Job, exchange: RestExchange) -> None:
    """Trade until SIGTERM or Ctrl-C, then write down how it ended.

    Raises:
        SafetyRefusal: another process trades the account.
        OnetapeError: the session cannot go on; it is written down as ended by that.
    """
    lease = Lease(job)
    try:
        start_session(job.store, job.session)
        cancel_unfinished_orders(
            job.store,
            job.session.account,
            finished_ms=exchange.now_ms(),
            reason="the session that placed it ended",
        )
        await _trade(job, exchange, lease)
    finally:
        lease.release()


async def _trade(job: Job, exchange: RestExchange, lease: "Lease") -> None:
    stop = _StopRequest()
    tape = Tape(job, exchange)
    broker = PaperBroker(job)
    tasks: list[asyncio.Task[None]] = []
    reason = "an error"
    try:
        new_candles = await _unless_stopped(tape.warm_up(), stop)
        if new_candles is not None:
            for line in opening_lines(job, broker, new_candles):
                print_line(line)
            tasks = [
                asyncio.create_task(_watch(job, exchange, tape)),
                asyncio.create_task(_decide(job, exchange, tape, broker, lease)),
                asyncio.create_task(stop.wait()),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        reason = stop.name
    except OnetapeError as error:
        reason = str(error)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        now_ms = exchange.now_ms()
        broker.cancel_open_order(now_ms, f"session ended by {reason}")
        end_session(job.store, job.session.session, ended_ms=now_ms, reason=reason)
    print_line(closing_line(job, broker, reason))


async def _watch(job: Job, exchange: RestExchange, tape: Tape) -> None:
    """Write down what the stream tells, for ever."""
    # CCXT Pro takes a second to import; the warm-up did not need it.
    from onetape.websocket.websocket import WebSocketManager

    stale_after_seconds = job.settings.stale_after_seconds
    async with WebSocketManager(exchange, stale_after_seconds=stale_after_seconds) as manager:
        async for event in manager.events(job.key.symbol, job.key.timeframe):
            await tape.handle(event)


async def _decide(
    job: Job, exchange: RestExchange, tape: Tape, broker: PaperBroker, lease: "Lease"
) -> None:
    """Run the strategy every second, and at once when a candle closes, for ever."""
    decider = Decider(job, exchange, tape, broker)
    await tape.wait_until_live(FIRST_DECISION_PATIENCE_SECONDS)
    first = decider.decide_first()
    if first is not None:
        print_line(decision_line(job, first))
    while True:
        lease.keep()
        _say_fill(broker, exchange)
        await tape.close_overdue()
        tape.closed.clear()
        for verdict in decider.decide_new():
            print_line(decision_line(job, verdict))
        _say_fill(broker, exchange)
        try:
            await asyncio.wait_for(tape.closed.wait(), LOOP_SECONDS)
        except TimeoutError:
            continue


def _say_fill(broker: PaperBroker, exchange: RestExchange) -> None:
    said = broker.fill_open_order(exchange.now_ms())
    if said is not None:
        print_line(said)


class Lease:
    """The right to trade an account, kept alive while the session runs."""

    def __init__(self, job: Job) -> None:
        """Take it.

        Raises:
            SafetyRefusal: another process holds it.
        """
        self._store = job.store
        self._name = job.session.account
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        self._token = acquire_lease(
            job.store, self._name, holder, now_ms=_wall_ms(), seconds=LEASE_SECONDS
        )
        self._renew_at = time.monotonic() + LEASE_RENEWED_EVERY_SECONDS

    def keep(self) -> None:
        """Renew it when due.

        Raises:
            SafetyRefusal: it ran out, and another process took it.
        """
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + LEASE_RENEWED_EVERY_SECONDS
            renew_lease(
                self._store, self._name, self._token, now_ms=_wall_ms(), seconds=LEASE_SECONDS
            )

    def release(self) -> None:
        """Give it back."""
        release_lease(self._store, self._name, self._token)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class _StopRequest:
    """SIGTERM or Ctrl-C, turned into something to wait for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.name = ""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)

    def _stop(self, number: signal.Signals) -> None:
        self.name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


async def _unless_stopped(work: Coroutine[None, None, int], stop: _StopRequest) -> int | None:
    """Return what the work gives, or None where the stop came first."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopped):
        if not task.done():
            task.cancel()
    await asyncio.gather(working, stopped, return_exceptions=True)
    return None if working.cancelled() else working.result()
