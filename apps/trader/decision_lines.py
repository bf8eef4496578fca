"""Printed lines of a session: the opening lines, one line for each decision, and the last line."""

from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.simulated import ORIGIN_TEXTS
from onetape.core.timeframes import Timeframe
from onetape.core.trading_rules import format_decimal
from onetape.exchange.rest import RestExchange
from onetape.store.candles import read_last_closed
from onetape.store.simulated_source import read_origin
from trader.executor import Executor
from trader.session_context import SessionContext
from trader.strategy_runner import DecisionReport

DAY_SECONDS = 86_400


def format_opening_lines(
    context: SessionContext,
    exchange: RestExchange,
    executor: Executor,
    new_candles: int,
    refused: str,
) -> list[str]:
    """Return the lines that a session prints before its first decision.

    Args:
        context: Context of the traded symbol.
        exchange: Exchange whose clock has the market time.
        executor: Executor with the fills and the cash.
        new_candles: Number of candles that the warm-up has added to the database.
        refused: Reason why rows of the warm-up were refused; empty: none was.
    """
    session = context.session
    url, origin = exchange.endpoint.simulator_url, read_origin(context.store, context.key)
    source = ""
    if origin is not None:
        words = ORIGIN_TEXTS[origin].replace("the simulator", f"the simulator at {url}")
        source = f", market {words.replace('invented', 'INVENTED')}"
    parameters = ", ".join(f"{name} {value}" for name, value in session.parameters.items())
    return [
        f"{session.mode} trading {context.key} with {session.strategy} ({parameters}){source}",
        f"account {session.account}: {_format_cash(context, executor)}, "
        f"{_format_held_coins(context, executor)}, "
        f"{format_count(len(executor.fills), 'fill')} so far",
        *_describe_stored_candles(context, new_candles, refused),
        f"it is {format_utc(exchange.now_ms() // 1_000)}; all times are UTC",
    ]


def _describe_stored_candles(context: SessionContext, new_candles: int, refused: str) -> list[str]:
    """Return lines: how many of the candles that a decision needs are stored, and refused rows."""
    stored = len(read_last_closed(context.store, context.key, context.history))
    if not stored:
        return [f"candle store: no closed candle, in {context.store.path}"]
    new = f"{min(new_candles, stored)} of them new, in {context.store.path}"
    if stored == context.history:
        lines = [f"candle store: the last {stored} closed candles, {new}"]
    else:
        lines = [
            f"candle store: only {stored} of the last {context.history} closed candles, {new}; "
            "there are no others, and the first signals may differ from those after a full warm-up"
        ]
    return [*lines, f"rows of the exchange: {refused}"] if refused else lines


class DecisionLog:
    """Makes the lines of decisions, with a line before for each new day and for a warm-up gap."""

    def __init__(self, context: SessionContext) -> None:
        """Begin with the day on which the session started."""
        self._context = context
        self._wait = ""
        """The line about a wait for orders that was returned last; empty: none."""
        self._day = format_utc(context.session.started_ms // 1_000)[:10]

    def format_report(self, report: DecisionReport) -> list[str]:
        """Return the lines to print for a decision; the last one is the decision's."""
        return [*self._format_new_wait(report), *self._format_day_and_decision(report)]

    def _format_new_wait(self, report: DecisionReport) -> list[str]:
        """Return the line about the first possible order after a gap, unless returned before."""
        is_new = report.wait not in ("", self._wait)
        self._wait = report.wait
        return [report.wait] if is_new else []

    def _format_day_and_decision(self, report: DecisionReport) -> list[str]:
        closed = self._context.timeframe.next(report.decision.timestamp)
        day = format_utc(closed)[:10]
        line = format_decision_line(self._context, report)
        if day == self._day or self._context.timeframe.seconds >= DAY_SECONDS:
            return [line]
        self._day = day
        return [day, line]


def format_decision_line(context: SessionContext, report: DecisionReport) -> str:
    """Return a decision's line: `14:00 close 61,240 RSI 41.2 (buys under 30): HOLD, next 15:00`."""
    decision = report.decision
    closed = context.timeframe.next(decision.timestamp)
    following = context.timeframe.next(closed)
    blocked = f" ({report.blocked}: no order)" if report.blocked else ""
    text = f" {report.strategy_text}" if report.strategy_text else ""
    return (
        f"{_format_time(context.timeframe, closed)} close "
        f"{context.get_digits(report.candles).format_price(report.close)}{text}: "
        f"{decision.action}{blocked}, next {_format_time(context.timeframe, following)}"
    )


def format_closing_line(context: SessionContext, executor: Executor, reason: str) -> str:
    """Return the last line of a session: money, coins and number of fills.

    Args:
        context: Context of the traded symbol.
        executor: Executor with the fills and the cash.
        reason: Signal, or `an error`, that ended the session.
    """
    return (
        f"{reason}: stopped with {_format_cash(context, executor)} and "
        f"{_format_held_coins(context, executor)}, "
        f"{format_count(len(executor.fills), 'fill')}"
    )


def _format_cash(context: SessionContext, executor: Executor) -> str:
    return f"{context.digits.format_money(executor.cash)} {context.market.quote}"


def _format_held_coins(context: SessionContext, executor: Executor) -> str:
    return f"{format_decimal(executor.position.base)} {context.market.base}"


def _format_time(timeframe: Timeframe, timestamp: int) -> str:
    text = format_utc(timestamp)
    return text if timeframe.seconds >= DAY_SECONDS else text[11:]
