"""The losses of an account against its limits. A breach lasts until a person clears it.

`advance_risk` adds a new value of the equity to the state and returns the next state. The equity is
computed from the database: the start balance of the account and the profit of its trades, open ones
at the present price. Deposits and other coins of the exchange account are not included, so that
moving money is neither a loss nor a gain.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from onetape.execution.risk_limits import RiskLimits

#: Limits whose breach lasts until a person clears it.
LimitName = Literal["daily loss", "drawdown", "orders per minute"]


class Breach(Struct, frozen=True):
    """A limit that was passed; entries wait until a person clears it."""

    limit: LimitName
    """Name of the limit."""
    at_ms: int
    """Time of the breach, epoch milliseconds."""
    reason: str
    """Description for a person, with the found and the allowed value."""


class RiskState(Struct, frozen=True):
    """Values that the limits of an account are measured from."""

    day: str
    """Day in the time zone of the limits, such as 2024-03-01."""
    day_equity: Decimal
    """Equity at the start of the day, or when a breach of that day was cleared."""
    peak_equity: Decimal
    """Highest equity since the start, or since a breach was cleared."""
    equity: Decimal
    """Equity at the last reading of the account."""
    breaches: tuple[Breach, ...] = ()
    """Breaches of limits, at most one of each limit, oldest first."""

    @property
    def reason(self) -> str | None:
        """Return the reason why entries wait, in one line; None: entries do not wait."""
        return "; ".join(breach.reason for breach in self.breaches) or None


def start_risk(limits: RiskLimits, equity: Decimal, now_ms: int) -> RiskState:
    """Return the initial state of an account: no loss and no breach.

    Args:
        limits: Limits of the account; their time zone defines the day.
        equity: Equity at the start, quote currency.
        now_ms: Current time, epoch milliseconds.
    """
    return RiskState(compute_day(limits, now_ms), equity, equity, equity)


def advance_risk(
    limits: RiskLimits, state: RiskState, equity: Decimal, now_ms: int, *, orders: int = 0
) -> RiskState:
    """Return the state after a new value of the equity.

    Args:
        limits: Limits of the account.
        state: State before the new value.
        equity: Equity now, quote currency, with open positions at the present price.
        now_ms: Current time, epoch milliseconds.
        orders: Number of orders that the account sent in the last minute.
    """
    day = compute_day(limits, now_ms)
    # A clock that was set back must not begin an earlier day again: its losses would not count.
    if day > state.day:
        state = replace(state, day=day, day_equity=equity)
    state = replace(state, peak_equity=max(state.peak_equity, equity), equity=equity)
    found = (
        _check_loss("daily loss", limits.max_daily_loss, state.day_equity, equity, now_ms),
        _check_loss("drawdown", limits.max_drawdown, state.peak_equity, equity, now_ms),
        _check_rate(limits, orders, now_ms),
    )
    known = {breach.limit for breach in state.breaches}
    fresh = tuple(breach for breach in found if breach is not None and breach.limit not in known)
    return replace(state, breaches=state.breaches + fresh)


def clear_breaches(state: RiskState) -> RiskState:
    """Return the state after a person has cleared the breaches: losses count from here on."""
    if not state.breaches:
        return state
    return RiskState(state.day, state.equity, state.equity, state.equity)


def compute_day(limits: RiskLimits, now_ms: int) -> str:
    """Return the day of a time in the time zone of the limits, such as 2024-03-01."""
    moment = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return moment.astimezone(limits.day_zone).date().isoformat()


def _check_loss(
    limit: LimitName, allowed: float, base: Decimal, equity: Decimal, now_ms: int
) -> Breach | None:
    loss = base - equity
    if base > 0 and loss < base * Decimal(str(allowed)):
        return None
    if base <= 0 and loss <= 0:
        return None
    lost = f"{loss / base:.2%}" if base > 0 else "all"
    return Breach(limit, now_ms, f"{limit} {lost}, allowed under {allowed:.2%}")


def _check_rate(limits: RiskLimits, orders: int, now_ms: int) -> Breach | None:
    allowed = limits.max_orders_per_minute
    if orders <= allowed:
        return None
    reason = f"{orders} orders in a minute, allowed {allowed}"
    return Breach("orders per minute", now_ms, reason)
