"""`trader status`: the state of traders, as blocks of text and as JSON."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from onetape.core.clock import format_utc
from onetape.core.digits import Digits
from onetape.core.message_text import format_count, format_duration
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.store.account_reading import OpenOrder
from trader.commands.status_record import Protection, StopPlace, TraderStatus
from trader.rendering.blocks import (
    format_block,
    format_exact_amount,
    format_exact_fees,
    format_fees,
    wrap_text,
)


def format_status(
    statuses: Sequence[tuple[TraderStatus, Digits]], database: Path, *, width: int | None = None
) -> str:
    """Return a block for each trader, then the database and the number of traders by state.

    Args:
        statuses: States of traders, each with the decimals of its market; at least one.
        database: Path of the database.
        width: Maximum characters of a line; None: no limit.
    """
    blocks = [_format_status_block(status, digits, width) for status, digits in statuses]
    counts: dict[str, int] = {}
    for status, _ in statuses:
        counts[status.condition] = counts.get(status.condition, 0) + 1
    summary = ", ".join(f"{count} {condition}" for condition, count in counts.items())
    last = (
        f"database: {database}; {format_count(len(statuses), 'trader')}: {summary}; times are UTC"
    )
    return "\n\n".join([*blocks, "\n".join(wrap_text(last, "", "  ", width))])


def make_status_document(status: TraderStatus) -> dict[str, Any]:
    """Return the state of a trader for --json; money is text with all digits."""
    result, session = status.result, status.session
    account, trip, protection = result.account, result.open_trip, status.protection
    return {
        "account": account.name,
        "mode": account.mode,
        "exchange": account.exchange,
        "symbol": account.symbol,
        "timeframe": account.timeframe,
        "strategy": account.strategy,
        "parameters": None if session is None else session.parameters,
        "session": None if session is None else session.session,
        "state": status.condition,
        "since_ms": status.since_ms,
        "reason": status.reason,
        "remedy": status.remedy,
        "pause": status.pause,
        "halt": status.halt,
        "holder": status.holder,
        "renewed_seconds": status.renewed_seconds,
        "market_time_ms": status.now_ms,
        "last_closed_candle": status.last_closed,
        "candle_age_seconds": status.candle_age_seconds,
        "decision": status.decision,
        "position": None
        if trip is None
        else {
            "amount": format_exact_amount(result.held),
            "entry_price": format_exact_amount(trip.entry_price),
            "opened_ms": trip.opened_ms,
        },
        "stop": None
        if status.stop_place is None
        else {
            "place": status.stop_place.place,
            "price": format_exact_amount(status.stop_place.price),
            "reason": status.stop_place.reason,
            "unprotected_seconds": status.stop_place.unprotected_seconds,
        },
        "protection": protection,
        "open_orders": status.open_orders,
        "exit_obligations": status.obligations,
        "currency": account.currency,
        "start_balance": format_exact_amount(account.start_balance),
        "last_price": format_exact_amount(result.last_price),
        "realised_profit": format_exact_amount(result.realised),
        "unrealised_profit": format_exact_amount(result.unrealised),
        "equity": format_exact_amount(result.equity),
        "fees": format_exact_fees(result.fees),
        "round_trips": len(result.closed_trips),
        "last_problem": status.last_problem,
        "last_late": status.last_late,
    }


def _format_status_block(status: TraderStatus, digits: Digits, width: int | None) -> str:
    result = status.result
    account = result.account
    rows = [
        ("reason", status.reason),
        ("what to do", status.remedy),
        (
            "entries" if status.halt is None else "orders",
            "" if status.pause is None else f"{status.halt or status.pause}; trader resume ends it",
        ),
        ("market", f"{account.exchange} {account.symbol} {account.timeframe}, {account.mode}"),
        ("strategy", _format_strategy(status)),
        ("process", _format_process(status)),
        ("last candle", _format_last_candle(status)),
        ("last decision", _format_decision(status)),
        ("position", _format_position(status, digits)),
        ("stop", format_stop_place(status.stop_place, digits)),
        ("protection", _format_protection(status.protection, digits)),
        *(("open order", _format_order(order, digits)) for order in status.open_orders),
        *(
            ("pending exit", f"{one.reason or one.cause}, decided {_format_time(one.created_ms)}")
            for one in status.obligations
        ),
        ("profit", _format_profit(status, digits)),
        ("last problem", _format_last_problem(status)),
        ("last late", "" if status.last_late is None else status.last_late.text),
    ]
    return format_block(_format_title(status), rows, width)


def _format_title(status: TraderStatus) -> str:
    title = f"{status.result.account.name}: {status.condition}"
    if status.since_ms is None:
        return title
    lasted = format_duration(max(0, status.now_ms - status.since_ms) / 1_000)
    return f"{title} since {_format_time(status.since_ms)} ({lasted})"


def _format_strategy(status: TraderStatus) -> str:
    name = status.result.account.strategy
    if status.session is None:
        return name
    values = ", ".join(f"{key} {value}" for key, value in status.session.parameters.items())
    return f"{name} ({values})" if values else name


def _format_process(status: TraderStatus) -> str:
    if status.holder is None:
        return "no process has traded this account"
    if status.condition in ("stopped", "failed", "dead"):
        return f"not running; the last one was {status.holder}"
    if status.renewed_seconds is None:
        return status.holder
    return f"{status.holder}, lease renewed {status.renewed_seconds:.1f} s ago"


def _format_last_candle(status: TraderStatus) -> str:
    if status.last_closed is None or status.candle_age_seconds is None:
        return "no closed candle is stored"
    closed = Timeframe.parse(status.result.account.timeframe).next(status.last_closed)
    return f"closed {format_utc(closed)}, {format_duration(status.candle_age_seconds)} ago"


def _format_decision(status: TraderStatus) -> str:
    decision = status.decision
    if decision is None:
        return "none in this session"
    signal = {1: "BUY", -1: "SELL", 0: "HOLD"}[decision.signal]
    closed = Timeframe.parse(status.result.account.timeframe).next(decision.timestamp)
    is_blocked = decision.signal != 0 and decision.blocked is not None
    blocked = f", no order: {decision.blocked}" if is_blocked else ""
    return f"signal {signal} at the close of {format_utc(closed)}{blocked}"


def _format_position(status: TraderStatus, digits: Digits) -> str:
    result = status.result
    base, quote = split_symbol(result.account.symbol)
    trip = result.open_trip
    if trip is None:
        left = (
            f", {digits.format_amount(result.held)} {base} left by rounding" if result.held else ""
        )
        return f"none{left}"
    text = (
        f"{digits.format_amount(result.held)} {base}, bought at "
        f"{digits.format_price(trip.entry_price)} {quote} on {_format_time(trip.opened_ms)}"
    )
    price = result.last_price
    if price is None:
        return text
    change = float(price / trip.entry_price - 1)
    return f"{text}; price now {digits.format_price(price)} ({change:+.2%})"


def format_stop_place(found: StopPlace | None, digits: Digits) -> str:
    """Return a text about where a live position's stop is; empty: paper, or no position."""
    if found is None:
        return ""
    price = "" if found.price is None else digits.format_price(float(found.price))
    text = "NONE"
    if found.place == "exchange":
        text = f"stop {price} on the exchange"
    elif found.place == "here":
        text = f"stop {price} watched locally, by this process alone"
    reason = f" ({found.reason})" if found.reason else ""
    seconds = found.unprotected_seconds
    unprotected = "" if seconds is None else f"; {seconds:,.1f} s without one there so far"
    return f"{text}{reason}{unprotected}"


def _format_protection(protection: Protection | None, digits: Digits) -> str:
    if protection is None:
        return ""
    parts: list[str] = []
    if protection.stop is not None:
        kind = protection.stop_kind.replace("_", " ")
        parts.append(f"{kind} {digits.format_price(protection.stop)}")
    if protection.target is not None:
        parts.append(f"target {digits.format_price(protection.target)}")
    if protection.time_stop_candles is not None:
        parts.append(f"time stop in {format_count(protection.time_stop_candles, 'candle')}")
    if protection.is_rejected:
        parts.append("the market refused an exit: only a SELL of the strategy sells now")
    return ", ".join(parts)


def _format_order(order: OpenOrder, digits: Digits) -> str:
    amount = "" if order.amount is None else f" {digits.format_amount(order.amount)}"
    reason = f": {order.reason}" if order.reason else ""
    since = f"{order.status} since {_format_time(order.decided_ms)}"
    return f"{order.side}{amount} ({order.type}), {since}{reason}"


def _format_profit(status: TraderStatus, digits: Digits) -> str:
    result = status.result
    currency = result.account.currency
    unrealised = (
        "unknown" if result.unrealised is None else _format_money(result.unrealised, digits)
    )
    parts = [
        f"realised {_format_money(result.realised, digits)} {currency} in "
        f"{format_count(len(result.closed_trips), 'round trip')}",
        f"unrealised {unrealised} {currency}",
        f"fees {format_fees(result.fees)}",
    ]
    if result.equity is not None and result.total_return is not None:
        parts.append(
            f"equity {digits.format_money(result.equity)} {currency} "
            f"({float(result.total_return):+.2%})"
        )
    return "; ".join(parts)


def _format_money(amount: Decimal, digits: Digits) -> str:
    return digits.format_money(amount, signed=True)


def _format_last_problem(status: TraderStatus) -> str:
    problem = status.last_problem
    if problem is None or problem.reason == status.reason:
        return ""
    remedy = f"; {problem.remedy}" if problem.remedy else ""
    return f"{_format_time(problem.at_ms)} {problem.state}: {problem.reason}{remedy}"


def _format_time(moment_ms: int) -> str:
    return format_utc(moment_ms // 1_000)
