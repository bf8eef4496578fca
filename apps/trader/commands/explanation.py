"""Input, signal, checks and order of a trader on one candle, from the rows that it stored.

The strategy is evaluated again on the candles that are stored now, as in a backtest, to compare the
signals.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from msgspec import Struct

from onetape.core.clock import format_day, format_utc
from onetape.core.digits import Digits
from onetape.core.errors import DataError, OnetapeError
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill
from onetape.execution.positions import sum_position
from onetape.store.account_reading import StoredSession
from onetape.store.accounts import AccountSeries
from onetape.store.candles import read_last_closed
from onetape.store.database import Store
from onetape.store.decision_reading import (
    CandleRow,
    DecisionRecord,
    OrderRecord,
    read_candle,
    read_decided_range,
    read_decisions,
    read_filled_candles,
    read_orders,
    read_outages,
    read_sessions,
)
from onetape.store.latecomers import read_latecomers
from trader.commands.account_backtest import find_strategy_choice, make_backtest_config
from trader.commands.account_result import make_series_key, read_account_fills, read_digits

#: Names of the signals.
_SIGNALS: Final = {1: "BUY", -1: "SELL", 0: "HOLD"}


class InputRows(Struct, frozen=True):
    """The closed candles that were the strategy's input."""

    count: int
    """Number of candles."""
    first: int
    """Open of the first candle, epoch seconds."""


class PresentSignal(Struct, frozen=True):
    """Signal of the strategy on the candles that are stored now, as in a backtest."""

    signal: str
    """BUY, SELL or HOLD."""
    reason: str
    """Text of the strategy about the candle; may be empty."""


class TradedCandle(Struct, frozen=True):
    """Input, decisions and order of an account's trader on one candle."""

    account: AccountSeries
    strategy: str
    """Name of the strategy."""
    opened: int
    """Open of the candle, epoch seconds."""
    closed: int
    """Close of the candle, epoch seconds."""
    row: CandleRow | None
    """The stored candle; None: no such candle is stored."""
    rows: InputRows | None
    """Input of the strategy; None: unknown, because the strategy cannot be loaded."""
    inside: list[str]
    """Fills inside this candle, as texts."""
    position: str
    """Position at the close, as a text."""
    decisions: list[DecisionRecord]
    """Decisions on this candle; several if several sessions decided on it."""
    latecomers: list[str]
    """Latecomers of the entries at the close, as texts."""
    order: str
    """Text about the order after the signal and its fill, or the reason why there was no order."""
    now: PresentSignal | None
    """Signal that the strategy returns now; None if the strategy cannot be evaluated."""
    note: str
    """Reason why the strategy is not evaluated again; empty if it is."""
    digits: Digits
    """Decimals with which prices and amounts are shown."""

    @property
    def signal(self) -> str | None:
        """Return the signal that was decided on; None: there was no decision."""
        return _SIGNALS[self.decisions[-1].signal] if self.decisions else None


def explain_candle(
    store: Store, account: AccountSeries, moment: int, strategies: Sequence[str | None] = ()
) -> TradedCandle:
    """Return the decision and orders of an account on the candle that contains a moment.

    Args:
        store: The open database.
        account: Account, with its symbol.
        moment: Moment within the candle, epoch seconds.
        strategies: Names to load the strategy by, as for `find_strategy_choice`.

    Raises:
        DataError: the account decided on no candle near that moment.
        StoreError: the file cannot be read.
    """
    timeframe = Timeframe.parse(account.timeframe)
    opened = timeframe.floor(moment)
    closed = timeframe.next(opened)
    key = make_series_key(account)
    with store.read():
        _check_moment(store, account, opened)
        sessions = read_sessions(store, account)
        session = _find_session_at(sessions, closed * 1_000)
        decisions = read_decisions(store, account, opened, closed)
        orders = read_orders(store, account, opened, closed)
        fills = read_account_fills(store, account)
        digits = read_digits(store, account)
        row = read_candle(store, key, opened)
        decision_session = _find_decision_session(sessions, decisions) or session or sessions[-1]
        rows, now, note = _evaluate_now(store, account, decision_session, opened, strategies)
        filled = read_filled_candles(store, account)
        # An order is executed some moments after the candle whose price it takes.
        before_close = [one for one in fills if filled.get(one.client_order_id, closed) <= opened]
        order = (
            _describe_outcome(decisions[-1], orders, fills, digits)
            if decisions
            else explain_missing_decision(store, account, sessions, row, opened)
        )
    return TradedCandle(
        account=account,
        strategy=decision_session.strategy,
        opened=opened,
        closed=closed,
        row=row,
        rows=rows,
        inside=[
            _format_fills(one, fills, digits) for one in orders if one.filled_timestamp == opened
        ],
        position=_format_position(before_close, account, digits),
        decisions=decisions,
        latecomers=[one.text for one in read_latecomers(store, account.name, closed, closed + 1)],
        order=order,
        now=now,
        note=note,
        digits=digits,
    )


def _check_moment(store: Store, account: AccountSeries, opened: int) -> None:
    """Refuse a candle outside the range that the account has decided on.

    Raises:
        DataError: the candle lies outside; the text has the range.
    """
    known = read_decided_range(store, account)
    if known is None:
        raise DataError(
            f"account {account.name!r} has decided on no candle of {account.symbol} yet; "
            "uv run trader status shows what its trader waits for"
        )
    first, last = known
    if first <= opened <= last:
        return
    raise DataError(
        f"--at {format_day(opened)}: account {account.name!r} decided on the candles "
        f"from {format_utc(first)} to {format_utc(last)} UTC of {account.symbol}; "
        "choose a moment in them"
    )


def _find_session_at(sessions: Sequence[StoredSession], moment_ms: int) -> StoredSession | None:
    """Return the session that ran at a moment, or None."""
    for one in reversed(sessions):
        if one.started_ms <= moment_ms and (one.ended_ms is None or moment_ms <= one.ended_ms):
            return one
    return None


def _find_decision_session(
    sessions: Sequence[StoredSession], decisions: Sequence[DecisionRecord]
) -> StoredSession | None:
    if not decisions:
        return None
    return next((one for one in sessions if one.session == decisions[-1].session), None)


def _evaluate_now(
    store: Store,
    account: AccountSeries,
    session: StoredSession,
    opened: int,
    strategies: Sequence[str | None],
) -> tuple[InputRows | None, PresentSignal | None, str]:
    """Evaluate the strategy on the stored candles, as in a backtest.

    Returns:
        Its input, its signal, and an empty text; or None, None, and the reason of a failure.
    """
    # NumPy, the engine and the strategies take a third of a second to load.
    from onetape.backtest.backtest_runner import run_backtest
    from onetape.backtest.explain import explain
    from onetape.strategies import get_lookback
    from onetape.strategies.lookback_window import compute_window_size

    closed = Timeframe.parse(account.timeframe).next(opened)
    try:
        choice = find_strategy_choice(session, strategies)
        window = compute_window_size(get_lookback(choice.load()))
        present = read_last_closed(store, make_series_key(account), window, up_to=opened)
        rows = InputRows(len(present), int(present.timestamp[0])) if len(present) else None
        config = make_backtest_config(
            Path(store.path), [account], session, [choice], opened, closed
        )
        (part,) = explain(run_backtest(config), opened)
    except OnetapeError as error:
        return None, None, str(error)
    return rows, PresentSignal(part.signal, part.reason), ""


def _describe_outcome(
    decision: DecisionRecord,
    orders: Sequence[OrderRecord],
    fills: Sequence[Fill],
    digits: Digits,
) -> str:
    """Return a text with a decision's order and fill, or the reason why there is no order."""
    order = next((one for one in orders if one.decision == decision.decision), None)
    if order is not None:
        return _describe_order(order, fills, digits)
    if decision.signal == 0:
        failed = decision.failed_gates.get("strategy")
        return f"none ({failed})" if failed else "none (signal was HOLD)"
    if decision.failed_gates:
        name, why = next(iter(decision.failed_gates.items()))
        return f"none ({name}: {why})"
    if decision.action == "SELL":
        return "none (orders of any kind were forbidden; the exit is pending)"
    if decision.signal > 0:
        return "none (signal was BUY, but a position was open)"
    return "none (signal was SELL, but no position was open)"


def _describe_order(order: OrderRecord, fills: Sequence[Fill], digits: Digits) -> str:
    """Return a text with an order and its fills, or its status."""
    price = (
        "" if order.intended_price is None else f" at {digits.format_price(order.intended_price)}"
    )
    decided = _format_time(order.decided_ms)
    head = f"{order.type.replace('_', ' ')} {order.side}, decided {decided}{price}"
    order_fills = [one for one in fills if one.client_order_id == order.client_order_id]
    if order_fills:
        done = "; ".join(_format_fill(one, digits) for one in order_fills)
        return f"{head}; {done}"
    reason = f": {order.reason}" if order.reason else ""
    return f"{head}; {order.status}{reason}"


def _format_fills(order: OrderRecord, fills: Sequence[Fill], digits: Digits) -> str:
    order_fills = [one for one in fills if one.client_order_id == order.client_order_id]
    reason = f" ({order.reason})" if order.reason else ""
    return "; ".join(_format_fill(one, digits) for one in order_fills) + reason


def _format_fill(fill: Fill, digits: Digits) -> str:
    base, quote = split_symbol(fill.symbol)
    verb = "bought" if fill.side == "buy" else "sold"
    return (
        f"{verb} {digits.format_amount(fill.amount)} {base} at {digits.format_price(fill.price)} "
        f"{quote} on {_format_time(fill.executed_ms)}"
    )


def _format_position(fills: Sequence[Fill], account: AccountSeries, digits: Digits) -> str:
    base, quote = split_symbol(account.symbol)
    held = sum_position(fills, base, quote)
    if held.entry_order_id is None or held.base <= Decimal(0):
        return "none at the close"
    return f"{digits.format_amount(held.base)} {base} at the close"


def explain_missing_decision(
    store: Store,
    account: AccountSeries,
    sessions: Sequence[StoredSession],
    row: CandleRow | None,
    opened: int,
) -> str:
    """Return the reason why a candle between decided candles has no decision, as a text.

    Args:
        store: The open database.
        account: Account, with its symbol.
        sessions: Sessions of account and symbol, oldest first.
        row: The stored candle; None: it is not stored.
        opened: Open of the candle, epoch seconds.
    """
    timeframe = Timeframe.parse(account.timeframe)
    start_ms, end_ms = opened * 1_000, timeframe.next(opened) * 1_000
    if row is None:
        return "no decision: the candle is not stored; see uv run backfiller verify"
    if _find_session_at(sessions, end_ms) is None:
        before = [one for one in sessions if one.started_ms <= end_ms]
        ended = before[-1] if before else None
        if ended is None or ended.ended_ms is None:
            return "no decision: no session ran when it closed"
        return (
            "no decision: no session ran when it closed; the one before ended "
            f"{_format_time(ended.ended_ms)} ({ended.end_reason or 'an error'})"
        )
    outages = read_outages(store, account, start_ms, end_ms + timeframe.seconds * 1_000)
    if outages:
        from_ms, to_ms, reason = outages[0]
        until = "still going on" if to_ms is None else f"until {_format_time(to_ms)}"
        return f"no decision: outage from {_format_time(from_ms)}, {until}: {reason}"
    return "no decision: the trader could not decide; see uv run trader logs --problems"


def _format_time(moment_ms: int) -> str:
    return format_utc(moment_ms // 1_000)
