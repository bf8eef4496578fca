"""A trading session: the stream and the strategy loop side by side, until somebody stops it."""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Coroutine, Generator
from typing import Any

from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest, ended
from onetape.core.errors import ConfigurationError, OnetapeError, SafetyRefusal, StoreError
from onetape.core.words import counted
from onetape.exchange.rest import RestExchange
from onetape.store.ledger import cancel_unfinished_orders
from onetape.store.sessions import close_blind_intervals, end_session, start_session
from trader.account import changes_since_last_session, hold_account
from trader.decide import Decider, Verdict
from trader.exits import PaperExits
from trader.fill import Filler
from trader.job import Job
from trader.lease import Lease
from trader.paper import PaperBroker
from trader.same_market import check_same_market
from trader.tape import Tape
from trader.waiting import WaitNotice
from trader.words import Diary, closing_line, opening_lines

#: The strategy looks at least this often, and at once when a candle closes.
LOOP_SECONDS = 1.0
#: How long the first decision waits for the stream, which it needs to become an order.
FIRST_DECISION_PATIENCE_SECONDS = 3.0
#: How long a session whose file failed waits for it once more, to write how it ended.
TIDY_PATIENCE_SECONDS = 0.5


async def run_session(job: Job, exchange: RestExchange, stop: StopRequest) -> None:
    """Trade until SIGTERM or Ctrl-C, then write down how it ended.

    Raises:
        SafetyRefusal: another process trades the account, or it was opened for something else.
        DataError: the file holds candles of another market, or of a later market time.
        ConfigurationError: the strategy failed on a candle, or answered with junk.
        OnetapeError: the session cannot go on; it is written down as ended by that.
    """
    await check_same_market(job, exchange)
    lease = Lease(job)
    try:
        job, lines = hold_account(job, lease.fence)
        changes = changes_since_last_session(job)
        start_session(job.store, job.session, lease.fence, changes=changes)
        if changes is not None:
            lines.append(f"account {job.session.account}: {changes}")
        cancelled = cancel_unfinished_orders(
            job.store,
            job.session.account,
            lease.fence,
            finished_ms=exchange.now_ms(),
            reason="the session that placed it ended",
        )
        if cancelled:
            orders = counted(cancelled, "open order")
            lines.append(f"cancelled without a fill: {orders} of a session that was killed")
        await _trade(job, exchange, stop, lease, lines)
    finally:
        with _tidying(job):
            lease.release()


async def _trade(
    job: Job, exchange: RestExchange, stop: StopRequest, lease: Lease, notes: list[str]
) -> None:
    filler = Filler(job, exchange)
    tape = Tape(job, exchange, filler)
    broker = PaperBroker(job, lease.fence)
    reason = "an error"
    try:
        new_candles = await stop.unless_stopped(_warm_up(filler))
        if new_candles is not None:
            for line in (
                *opening_lines(job, exchange, broker, new_candles, filler.refused),
                *notes,
            ):
                print_line(line)
            exits = PaperExits(job, exchange, broker, lease)
            decider = Decider(job, exchange, tape, broker, lease, exits)
            await _run_until_stopped(
                stop,
                _watch(job, exchange, tape),
                _close(filler, tape),
                _decide(exchange, tape, filler, broker, decider, lease, exits),
            )
        reason = stop.name
    except Exception as error:
        reason = str(error) if isinstance(error, OnetapeError) else f"{type(error).__name__}"
        raise
    finally:
        now_ms = exchange.now_ms()
        with _tidying(job):
            close_blind_intervals(job.store, job.session.session, to_ms=now_ms)
            end_session(job.store, job.session.session, ended_ms=now_ms, reason=reason)
            cancelled = broker.cancel_open_order(now_ms, f"session ended by {reason}")
            if cancelled is not None:
                print_line(cancelled)
        print_line(closing_line(job, broker, stop.name or "an error"))


async def _warm_up(filler: Filler) -> int:
    # CCXT Pro takes a second or more to import; nobody should wait for it later.
    importing = asyncio.to_thread(importlib.import_module, "onetape.websocket.websocket")
    new_candles, _ = await asyncio.gather(filler.warm_up(), importing)
    return new_candles


async def _run_until_stopped(stop: StopRequest, *work: Coroutine[Any, Any, None]) -> None:
    """Run tasks side by side until the stop; the first error ends them all and is raised."""
    tasks = [asyncio.create_task(one) for one in (*work, stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await ended(*tasks)


async def _watch(job: Job, exchange: RestExchange, tape: Tape) -> None:
    """Write down what the stream tells, for ever."""
    from onetape.websocket.websocket import WebSocketManager

    stale_after_seconds = job.settings.stale_after_seconds
    async with (
        WebSocketManager(exchange, stale_after_seconds=stale_after_seconds) as manager,
        contextlib.aclosing(manager.events(job.key.symbol, job.key.timeframe)) as events,
    ):
        async for event in events:
            await tape.handle(event)


async def _close(filler: Filler, tape: Tape) -> None:
    """Close over REST what the stream does not, for ever; the strategy never waits for it."""
    while True:
        tape.ended.clear()
        await filler.close_overdue()
        await tape.catch_up()
        await _within(LOOP_SECONDS, tape.ended)


async def _decide(
    exchange: RestExchange,
    tape: Tape,
    filler: Filler,
    broker: PaperBroker,
    decider: Decider,
    lease: Lease,
    exits: PaperExits,
) -> None:
    """Run the strategy every second, and at once when a candle closes, for ever."""
    await tape.wait_until_live(FIRST_DECISION_PATIENCE_SECONDS)
    lease.renew()
    diary, waiting = Diary(decider.job), WaitNotice(decider.job, filler)
    first = decider.decide_first()
    if decider.missed is not None:
        print_line(decider.missed)
    for verdict in [first] if first is not None else []:
        _say(diary, verdict)
    while True:
        filler.closed.clear()
        lease.renew()
        _say_fill(broker, exchange, lease, decider.decided)
        for verdict in decider.decide_new():
            _say(diary, verdict)
            _say_fill(broker, exchange, lease, decider.decided)
        exits.watch_forming(decider.decided)
        why = waiting.line(decider.decided)
        if why is not None:
            print_line(why)
        await _within(LOOP_SECONDS, filler.closed)


def _say(diary: Diary, verdict: Verdict) -> None:
    for line in diary.lines(verdict):
        print_line(line)


def _say_fill(
    broker: PaperBroker, exchange: RestExchange, lease: Lease, decided: int | None
) -> None:
    if broker.has_open_order:
        # The strategy may have thought for long since the last time.
        lease.renew()
    for said in (
        broker.fill_open_order(exchange.now_ms(), decided),
        broker.waiting_line(decided),
    ):
        if said is not None:
            print_line(said)


@contextlib.contextmanager
def _tidying(job: Job) -> Generator[None]:
    """Let a session write how it ended, also where an error is on its way out.

    Where that error comes from the file or the lease, it is tried once more, for a moment only: the
    lock may be gone by now, but nobody should wait twice for one that is not. What fails then is
    part of the error that is already known; the next session tidies up.
    """
    if not isinstance(sys.exception(), StoreError | SafetyRefusal):
        yield
        return
    job.store.patience_seconds = TIDY_PATIENCE_SECONDS
    with contextlib.suppress(StoreError, ConfigurationError, SafetyRefusal):
        yield


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, at most this long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
