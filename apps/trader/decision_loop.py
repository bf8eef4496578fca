"""Two loops of a session: one closes candles over REST, the other decides on closed candles.

`run_decisions` runs once a second and when a candle closes: it starts the strategy on new closed
candles, takes its results, sends and fills orders, checks the forming candle for exits, and reports
problems.
"""

import asyncio
import contextlib

from onetape.cli.output import print_line
from trader.decision_lines import DecisionLog
from trader.executor import Executor
from trader.exit_orders import ExitOrders
from trader.gap_backfiller import GapBackfiller
from trader.lease import Lease
from trader.outage import OutageNotice
from trader.pending_decisions import PendingDecisions
from trader.rate_limit_notice import RATE_LIMIT_PROBLEM, RateLimitNotice
from trader.rule_runner import RuleRunner
from trader.strategy_runner import DecisionReport, StrategyRunner
from trader.stream_recorder import StreamRecorder
from trader.supervisor import Supervisor
from trader.wait_notice import CANDLES_PROBLEM, WaitNotice
from trader.warm_up import WarmUp

#: Longest interval between two checks for a decision; a closed candle is checked at once.
LOOP_SECONDS = 1.0
#: Longest interval between two checks while a decision waits for a candle of another market, which
#: the session of that market may store.
INPUT_SECONDS = 0.1
#: Time that pending exits wait for the first candles over REST, wall seconds.
WARM_UP_TIMEOUT_SECONDS = 3.0
#: Maximum time that the first decision waits for the stream, without which it makes no order.
FIRST_DECISION_TIMEOUT_SECONDS = 3.0


async def close_candles(
    gap_backfiller: GapBackfiller, recorder: StreamRecorder, supervisor: Supervisor
) -> None:
    """Close candles over REST that the stream has left open, then wait a moment.

    It is one step of the session's REST task, and runs next to the decisions: the strategy does not
    wait for REST.

    Args:
        gap_backfiller: Fetches the candles.
        recorder: Sets its event `ended` when a candle must be closed.
        supervisor: Gets the success of a request, which ends a problem of REST.

    Raises:
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    recorder.ended.clear()
    await gap_backfiller.close_overdue()
    await recorder.catch_up()
    if not gap_backfiller.is_refused:
        supervisor.note_success("REST")
    await _wait_for_event(LOOP_SECONDS, recorder.ended)


async def run_decisions(
    warm_up: WarmUp,
    recorder: StreamRecorder,
    gap_backfiller: GapBackfiller,
    executor: Executor,
    runner: StrategyRunner,
    lease: Lease,
    rule_runner: RuleRunner,
    orders: ExitOrders,
    pending: PendingDecisions,
    supervisor: Supervisor,
    rate_limit: RateLimitNotice,
) -> None:
    """Decide on closed candles every second, and at once when one closes, until cancelled.

    Until the candles of the warm-up are stored, nothing is decided; pending exits, and exits that
    candles of the stream lead to, are sent.

    Args:
        warm_up: Warm-up of the session; its events end the first wait.
        recorder: Recorder of the stream; shows whether the market is watched.
        gap_backfiller: Sets its event `closed` when there may be a candle to decide on.
        executor: Executor of the symbol, whose open order is checked.
        runner: Evaluates the strategy and makes the decisions.
        lease: Renewed in each round.
        rule_runner: Finds exits of the forming candle, and fills orders.
        orders: Sends pending exits.
        pending: Symbols of the account that are being decided on.
        supervisor: Gets the problems: no candle to decide on, rate limit, stream outage.
        rate_limit: Finds the problem of refused requests.

    Raises:
        SafetyRefusal: another process trades the account.
        StoreError: the file cannot be read or written.
        OnetapeError: the strategy failed in its first evaluation, and nothing is open.
    """
    await _wait_for_event(WARM_UP_TIMEOUT_SECONDS, warm_up.tried)
    while not warm_up.done.is_set():
        recorder.note_running()
        _print_fill(executor, orders, rule_runner, runner.decided, is_live=recorder.live)
        rule_runner.watch_forming(runner.decided)
        rule_runner.watch_held()
        supervisor.note_working()
        await _wait_for_event(LOOP_SECONDS, warm_up.done)
    await recorder.wait_until_live(FIRST_DECISION_TIMEOUT_SECONDS)
    lease.renew()
    log, waiting = DecisionLog(runner.context), WaitNotice(runner.context, gap_backfiller)
    symbol = runner.context.key.symbol
    stale_after_seconds = runner.context.settings.stale_after_seconds
    outage = OutageNotice(recorder, supervisor, stale_after_seconds=stale_after_seconds)
    try:
        while True:
            gap_backfiller.closed.clear()
            recorder.note_running()
            if not runner.is_first and runner.start_next():
                # The request is sent now: the code below runs while the strategy does.
                await asyncio.sleep(0)
            lease.renew_if_due()
            for line in runner.evaluate_again():
                print_line(line)
            _print_fill(executor, orders, rule_runner, runner.decided, is_live=recorder.live)
            has_decided = runner.is_first
            for report in runner.decide_new():
                has_decided = True
                _print_decision(log, report)
                _print_fill(executor, orders, rule_runner, runner.decided, is_live=recorder.live)
            pending.note(symbol, is_pending=runner.is_deciding)
            # Other work waits for pending decisions: symbols and traders decide at the same moment.
            if not runner.is_deciding:
                await pending.wait_for_others()
            if has_decided and runner.start_next():
                pending.note(symbol, is_pending=runner.is_deciding)
            if not runner.is_deciding:
                recorder.note_running()
                rule_runner.watch_forming(runner.exits_watched_after)
                rule_runner.watch_held()
                _print_fill(executor, orders, rule_runner, runner.decided, is_live=recorder.live)
                supervisor.note_working()
                supervisor.report(CANDLES_PROBLEM, waiting.find_problem(runner.started))
                supervisor.report(RATE_LIMIT_PROBLEM, rate_limit.find_problem())
                outage.report_outage()
            seconds = INPUT_SECONDS if runner.is_input_awaited else LOOP_SECONDS
            await _wait_for_event(seconds, gap_backfiller.closed)
    finally:
        pending.note(symbol, is_pending=False)
        await runner.stop()


def _print_decision(log: DecisionLog, report: DecisionReport) -> None:
    """Print a decision; a HOLD on a candle from before the session is left out."""
    if report.is_missed and report.decision.action == "HOLD":
        # After a long outage there may be thousands of them.
        return
    *notes, line = log.format_report(report)
    for text in notes:
        print_line(text)
    decision = report.decision
    print_line(
        line,
        event="candle",
        candle=decision.timestamp,
        close=report.close,
        signal=decision.signal,
        action=decision.action,
        blocked=report.blocked,
        indicators=dict(decision.indicators),
    )


def _print_fill(
    executor: Executor,
    orders: ExitOrders,
    rule_runner: RuleRunner,
    decided: int | None,
    *,
    is_live: bool,
) -> None:
    """Send a pending exit, fill the order to sell if its price has come, and print both results."""
    sent = orders.resend()
    if sent is not None:
        print_line(sent)
    rule_runner.fill()
    waiting = executor.describe_new_wait(decided, is_live=is_live)
    if waiting is not None:
        print_line(waiting)


async def _wait_for_event(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, at most this long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
