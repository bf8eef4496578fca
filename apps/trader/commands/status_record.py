"""A trader's present state (condition, position, stop, decision), read from its database."""

import math
import socket
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from onetape.core.message_text import format_duration
from onetape.core.symbols import SIMULATOR_ID
from onetape.core.timeframes import Timeframe
from onetape.core.trading import ExitObligation
from onetape.store.account_reading import (
    OpenOrder,
    StoredDecision,
    StoredSession,
    is_lease_holder_alive,
    read_entry,
    read_highest_since,
    read_last_decision,
    read_last_problem,
    read_last_session,
    read_lease,
    read_newest_time,
    read_open_obligations,
    read_open_orders,
    read_state,
)
from onetape.store.accounts import AccountSeries
from onetape.store.candles import read_candle_at, read_last_closed
from onetape.store.database import Store
from onetape.store.event_reading import CLEAN_ENDS
from onetape.store.latecomers import Latecomer, read_last_latecomer
from onetape.store.leases import make_lease_name
from onetape.store.ledger import DecidedSeries
from onetape.store.live_accounts import read_delisted_difference
from onetape.store.market_data import read_trading_rules
from onetape.store.orders import read_signal_timestamp
from onetape.store.stop_states import read_stop_state
from onetape.store.trader_states import StateChange
from trader.commands.account_result import AccountResult, make_series_key, read_result
from trader.control_state import format_pause, read_control_state
from trader.states import STARTING, WAITING

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelRow

#: State of a trader, running or not. `stopped`: ended by a person; `failed`: ended by an error;
#: `dead`: the process ended without storing its end.
Condition = Literal["trading", "degraded", "halted", "stopped", "failed", "dead"]
#: Exit codes of `trader status`, in addition to 0.
EXIT_DEGRADED: Final = 10
EXIT_HALTED: Final = 11
EXIT_NOT_RUNNING: Final = 12
#: Time without a renewal of its lease after which a trader cannot write or hangs, wall seconds.
LATE_RENEWAL_SECONDS: Final = 5.0
_LATE_REMEDY: Final = (
    "see what it printed: the disk may be full, the file locked or read-only; "
    "restart it if it hangs"
)
_EXIT_CODES: Final[dict[Condition, int]] = {
    "trading": 0,
    "stopped": 0,
    "degraded": EXIT_DEGRADED,
    "halted": EXIT_HALTED,
    "failed": EXIT_NOT_RUNNING,
    "dead": EXIT_NOT_RUNNING,
}


class Protection(Struct, frozen=True):
    """Stop, target and time stop of an open position for the next candle, by the rules."""

    stop: float | None
    """Price of the stop, quote currency; None: no stop."""
    stop_kind: str
    """Kind of the stop: `stop_loss` or `trailing_stop`."""
    target: float | None
    """Price of the target, quote currency; None: no target."""
    time_stop_candles: int | None
    """Candles until the time stop sells; None: no time stop."""
    is_rejected: bool
    """Whether the market refused an exit, so that only a SELL of the strategy closes it."""


class StopPlace(Struct, frozen=True):
    """Where the stop of a live position is."""

    place: Literal["exchange", "here", "none"]
    """`exchange`: an order rests there; `here`: the running trader watches the price; `none`."""
    price: Decimal | None
    """Price of the stop, quote currency; None: no stop."""
    reason: str
    """Reason why no stop rests at the exchange; empty: one does, or the reason is unknown."""
    unprotected_seconds: float | None
    """Time that the position had no stop at the exchange, market time; None: unknown."""


class TraderStatus(Struct, frozen=True):
    """The present state of the trader of one account in one symbol."""

    result: AccountResult
    """The account, its fills and its profit."""
    condition: Condition
    since_ms: int | None
    """Market time since which the condition holds; None: unknown."""
    reason: str
    """Reason of the condition; empty while the trader trades."""
    remedy: str
    """Action that a person should take; empty: none."""
    session: StoredSession | None
    """The last session; None: none is stored."""
    holder: str | None
    """Process and computer that trade the account now, or traded it last; None: none did."""
    renewed_seconds: float | None
    """Time since the process renewed its lease, wall seconds; None: never."""
    last_closed: int | None
    """Open of the newest closed candle, epoch SECONDS; None: none is stored."""
    candle_age_seconds: float | None
    """Time since the close of the newest closed candle, market time, seconds."""
    decision: StoredDecision | None
    """Last decision of the session; None: none yet."""
    stop_place: StopPlace | None
    """Place of the stop of an open live position; None on paper and while flat."""
    protection: Protection | None
    """Levels of stop, target and time stop; None: no position, or no level is set."""
    open_orders: list[OpenOrder]
    obligations: list[ExitObligation]
    """Pending exits."""
    last_problem: StateChange | None
    """Last change of the state to degraded or halted; None: never."""
    last_late: Latecomer | None
    """Last time that this symbol was a latecomer of entries; None: never."""
    pause: str | None
    """Text of the command that forbids entries; None: no command does."""
    halt: str | None
    """Text of the command that forbids all orders; None: no command does."""
    now_ms: int
    """Market time, epoch milliseconds; for a simulator, the newest time that is stored."""

    @property
    def is_here(self) -> bool:
        """Return whether the process that trades the account, or did last, is of this computer."""
        return self.holder is not None and self.holder.endswith(f" on {socket.gethostname()}")


def read_status(store: Store, account: AccountSeries) -> TraderStatus:
    """Read the present state of the trader of an account in one symbol.

    Raises:
        StoreError: the file cannot be read.
    """
    key = make_series_key(account)
    wall_ms = time.time_ns() // 1_000_000
    with store.read():
        result = read_result(store, account)
        session = read_last_session(store, account.name, account.symbol)
        name = make_lease_name(account.name, account.symbol)
        lease = read_lease(store, name)
        state = None if session is None else read_state(store, session.session)
        is_running = lease is not None and is_lease_holder_alive(store, name, lease, wall_ms)
        condition, since_ms, reason, remedy = _choose_condition(
            session, state, is_running=is_running
        )
        is_starting = lease is not None and lease.holder.startswith(STARTING)
        if is_running and is_starting and not reason.startswith(WAITING):
            condition, since_ms, remedy = "degraded", None, ""
            reason = "it is starting, and its session has not begun yet"
        renewed_ms = None if lease is None else lease.renewed_ms
        renewed_seconds = None if renewed_ms is None else max(0, wall_ms - renewed_ms) / 1_000
        gone = None if is_running else read_delisted_difference(store, account.name, account.symbol)
        if gone is not None:
            # A start has left the symbol out, because it cannot be traded.
            condition, reason = "stopped", str(gone.document.get("text"))
            remedy = f"uv run trader reconcile --forget {gone.number} frees its money and its slot"
        is_waiting = is_running and reason.startswith(WAITING)
        if condition == "trading" and (renewed_seconds or 0.0) >= LATE_RENEWAL_SECONDS:
            condition, since_ms, remedy = "degraded", None, _LATE_REMEDY
            reason = (
                "its process runs and has written nothing to the database for "
                f"{format_duration(renewed_seconds or 0.0)}"
            )
        now_ms = wall_ms
        if account.exchange == SIMULATOR_ID:
            now_ms = read_newest_time(store, key) or account.opened_ms
        newest = read_last_closed(store, key, 1)
        opened = int(newest.timestamp[0]) if len(newest) else None
        age = None
        if opened is not None:
            closed = Timeframe.parse(key.timeframe).next(opened)
            age = max(0.0, now_ms / 1_000 - closed)
        controls = read_control_state(store, account.name)
        pause, halt = controls.pause, controls.halt
        orders = read_open_orders(store, account)
        protection = None if session is None else _compute_protection(store, result, session)
        return TraderStatus(
            result=result,
            condition=condition,
            since_ms=since_ms,
            reason=reason,
            remedy=remedy,
            session=session,
            holder=None if lease is None else lease.holder,
            renewed_seconds=renewed_seconds,
            last_closed=opened,
            candle_age_seconds=age,
            decision=None if session is None else read_last_decision(store, session.session),
            stop_place=_find_stop_place(
                store,
                result,
                protection,
                orders,
                unwatched="the trader waits for the exchange"
                if is_waiting
                else ("" if is_running else "no trader runs"),
                now_ms=now_ms,
            ),
            protection=protection,
            open_orders=orders,
            obligations=read_open_obligations(store, account),
            last_problem=read_last_problem(store, account.name, account.symbol),
            last_late=read_last_latecomer(store, account.name, account.symbol),
            pause=None if pause is None else format_pause(pause),
            halt=None if halt is None else format_pause(halt),
            now_ms=now_ms,
        )


def choose_exit_code(statuses: Iterable[TraderStatus]) -> int:
    """Return the exit code of `trader status` for health checks: that of the worst trader.

    Returns:
        0 if a trader runs and all are trading; one that a person stopped does not count. 10 if one
        is degraded, 11 if one is halted. 12 if one failed or was killed, or none runs.
    """
    conditions: list[Condition] = [one.condition for one in statuses]
    worst = max((_EXIT_CODES[one] for one in conditions), default=EXIT_NOT_RUNNING)
    is_any_running = any(one in ("trading", "degraded", "halted") for one in conditions)
    return worst if is_any_running else EXIT_NOT_RUNNING


def _choose_condition(
    session: StoredSession | None, state: StateChange | None, *, is_running: bool
) -> tuple[Condition, int | None, str, str]:
    """Return the condition of a trader, its beginning (market time, ms), reason and remedy."""
    start_again = "start the trader again with the same settings"
    if session is None:
        return "stopped", None, "no session of this account is stored", "start a trader on it"
    if is_running and state is not None and state.reason.startswith(WAITING):
        # A start waits; the session is the one before it.
        return state.state, state.at_ms, state.reason, state.remedy
    if session.ended_ms is not None:
        end = session.end_reason or ""
        if end in CLEAN_ENDS:
            return "stopped", session.ended_ms, f"ended by {end}", ""
        return "failed", session.ended_ms, f"ended by {end or 'an error'}", start_again
    if not is_running:
        return "dead", None, "its process ended without storing an end", start_again
    if state is None:
        return "trading", session.started_ms, "", ""
    reason = "" if state.state == "trading" else state.reason
    return state.state, state.at_ms, reason, state.remedy


def _find_stop_place(
    store: Store,
    result: AccountResult,
    protection: Protection | None,
    orders: list[OpenOrder],
    *,
    unwatched: str,
    now_ms: int,
) -> StopPlace | None:
    """Return where the stop of an open live position is; None: on paper, or no position.

    Args:
        store: The open database.
        result: Result of the account in the symbol, with the position.
        protection: Stop and target by the rules; None: no levels.
        orders: Open orders of the account in the symbol.
        unwatched: Reason why no process watches the level; empty: one does.
        now_ms: Market time, epoch milliseconds.
    """
    trip = result.open_trip
    if result.account.mode != "live" or trip is None:
        return None
    state = read_stop_state(store, trip.entry_order_id)
    unprotected = None if state is None else state.compute_unprotected_ms(now_ms) / 1_000
    resting = [one.stop_price for one in orders if one.stop_price and one.status == "open"]
    if resting and (state is None or state.place == "exchange"):
        return StopPlace("exchange", resting[0], "" if state is None else state.reason, unprotected)
    level = None if protection is None else protection.stop
    if state is None and level is None:
        return StopPlace("none", None, "the rules have no stop", None)
    if unwatched:
        return StopPlace("none", None, unwatched, unprotected)
    if state is None:
        return StopPlace("here", Decimal(repr(level)), "", None)
    if state.place == "none":
        return StopPlace("none", None, state.reason, unprotected)
    return StopPlace("here", state.price, state.reason, unprotected)


def _compute_protection(
    store: Store, result: AccountResult, session: StoredSession
) -> Protection | None:
    """Return the levels of the open position by the rules of a session; None without levels."""
    trip = result.open_trip
    if trip is None:
        return None
    # NumPy and the engine take 0.1 s; most traders hold nothing that needs them.
    from onetape.engine.exits import EXIT_KINDS, compute_levels
    from trader.commands.account_backtest import parse_account_config
    from trader.limit_entries import read_limit_entry_of

    # Targets are net of fees: an entry must first earn the fees of the account.
    exits = parse_account_config(session.rules, 10_000.0).exits
    entry = read_entry(store, trip.entry_order_id)
    key = make_series_key(result.account)
    row = (
        None
        if entry.filled_timestamp is None
        else read_candle_at(store, key, entry.filled_timestamp)
    )
    if row is None:
        return None
    is_live = result.account.mode == "live"
    limit = None if is_live else read_limit_entry_of(store, trip.entry_order_id)
    own = _read_own_levels(
        store, result.account, trip.entry_order_id, row.timestamp, is_limit=limit is not None
    )
    if not exits.is_any and own is None:
        return None
    highest, age = read_highest_since(store, key, row.timestamp)
    steps = read_trading_rules(store, key.exchange, key.symbol)
    price_step = 0.0 if steps is None else float(steps.price_step or 0)
    # On paper, levels are measured from the open or the limit; live, from the price paid.
    entered = float(trip.entry_price) if is_live else row.open
    if limit is not None and limit.is_inside(row.open):
        # The high of the candle may be before the fill inside it.
        entered = limit.limit
        highest = max(read_highest_since(store, key, row.timestamp + 1)[0], row.close)
    levels = compute_levels(exits, entered, max(highest, entered), age, price_step, own)
    bars = exits.time_stop_bars
    return Protection(
        stop=levels.stop if math.isfinite(levels.stop) else None,
        stop_kind=EXIT_KINDS[levels.stop_kind],
        target=levels.target if math.isfinite(levels.target) else None,
        time_stop_candles=None if bars is None else max(0, bars - age),
        is_rejected=entry.is_exit_rejected,
    )


def _read_own_levels(
    store: Store, account: AccountSeries, entry_order_id: str, entered: int, *, is_limit: bool
) -> "LevelRow | None":
    """Return stop and target that the strategy has given an open position; None: none."""
    from trader.stored_levels import read_position_levels

    bought = read_signal_timestamp(store, entry_order_id)
    if bought is None:
        return None
    series = DecidedSeries(
        account.name, account.mode, account.exchange, account.symbol, account.timeframe
    )
    return read_position_levels(store, series, bought, entered, is_limit=is_limit)
