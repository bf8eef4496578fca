"""The stop that should rest on the exchange, by the position, its level and the resting stops.

A stop covers the filled amount, so it is placed while an entry still fills, and again as more
fills. A higher level moves the stop only if that justifies a request: the level has to rise by a
fraction of the price, and some time has to pass between two changes. A lower level never moves the
stop.
"""

from decimal import ROUND_DOWN, Decimal
from typing import Final

from msgspec import Struct

from onetape.core.trading_rules import TradingRules

_ZERO: Final = Decimal(0)


class RestingStop(Struct, frozen=True):
    """A stop that rests on the exchange, or is on its way there."""

    client_order_id: str
    amount: Decimal
    """Amount that the stop may still sell, base currency."""
    price: Decimal


class StopPolicy(Struct, frozen=True):
    """Rules for when a resting stop is moved."""

    min_rise: Decimal = Decimal("0.001")
    """Minimum rise of the level that moves the stop, as a ratio of the stop's price."""
    pause_seconds: float = 10.0
    """Least time between two changes of a stop because of a higher level, seconds."""
    grow_seconds: float = 1.0
    """Least time between two changes of a stop because more was filled, seconds; an entry may be
    filled in many parts."""
    limit_offset: Decimal = _ZERO
    """Distance of a stop's lowest sell price below its level, as a ratio of the level."""


class Place(Struct, frozen=True):
    """Place a stop, because no stop rests."""

    amount: Decimal
    price: Decimal


class Withdraw(Struct, frozen=True):
    """Cancel a resting stop: no position is left, or the stop sells coins that are not held."""

    client_order_id: str
    reason: str


class Replace(Struct, frozen=True):
    """Replace a resting stop; if that takes two requests, cancel the resting stop first."""

    client_order_id: str
    """Client order id of the resting stop that is replaced."""
    amount: Decimal
    price: Decimal
    reason: str


class Unprotectable(Struct, frozen=True):
    """No stop can rest, because the market accepts none of this size or price: watch the level."""

    reason: str


ProtectionStep = Place | Withdraw | Replace | Unprotectable | None


def choose_protection_step(
    held: Decimal,
    level: Decimal | None,
    resting: tuple[RestingStop, ...],
    trading_rules: TradingRules,
    policy: StopPolicy,
    seconds_since_change: float,
    *,
    is_fixed: bool = False,
) -> ProtectionStep:
    """Return the next action for the protection of a position; None: no action.

    Args:
        held: Amount of the position, base currency, net of fees; 0 while flat.
        level: Price of the stop, quote currency; None: the rules have none.
        resting: The stops that are not over.
        trading_rules: Trading rules of the market.
        policy: Rules for when a resting stop is moved.
        seconds_since_change: Time since a stop was last placed or cancelled.
        is_fixed: Whether no stop may be moved because its level has risen.
    """
    amount = round_down(held, trading_rules.amount_step)
    if level is None or amount <= 0:
        reason = "no position is left" if amount <= 0 else "the rules have no stop"
        return Withdraw(resting[0].client_order_id, reason) if resting else None
    price = round_down(level, trading_rules.price_step)
    if not resting:
        fault = find_stop_fault(amount, price * (1 - policy.limit_offset), trading_rules)
        return Unprotectable(fault) if fault else Place(amount, price)
    stop, *surplus = sorted(resting, key=lambda one: one.price, reverse=True)
    if surplus:
        return Withdraw(surplus[0].client_order_id, "more than one stop rests")
    fault = find_stop_fault(amount, price * (1 - policy.limit_offset), trading_rules)
    changed = Replace(stop.client_order_id, amount, price, "the amount that is held has changed")
    if stop.amount > amount:
        # The stop would sell coins that were not bought here.
        return Withdraw(stop.client_order_id, changed.reason) if fault else changed
    if stop.amount < amount and not fault and seconds_since_change >= policy.grow_seconds:
        return changed
    if is_fixed:
        return None
    is_risen = price >= stop.price * (1 + policy.min_rise)
    if is_risen and seconds_since_change >= policy.pause_seconds:
        return Replace(stop.client_order_id, amount, price, "the level has risen")
    return None


def compute_sellable_amount(held: Decimal, free: Decimal, trading_rules: TradingRules) -> Decimal:
    """Return the sellable amount of a position: at most the bought and the free amount."""
    return round_down(max(min(held, free), _ZERO), trading_rules.amount_step)


def round_down(value: Decimal, step: Decimal | None) -> Decimal:
    """Return a value as a whole number of steps, rounded towards zero."""
    if step is None or not step:
        return value
    return (value / step).to_integral_value(rounding=ROUND_DOWN) * step


def find_stop_fault(amount: Decimal, price: Decimal, trading_rules: TradingRules) -> str:
    """Return the reason why the market refuses a stop of an amount and price; empty: it does not.

    Args:
        amount: Amount, base currency, in whole steps.
        price: Lowest price at which the stop sells.
        trading_rules: Trading rules of the market.
    """
    if amount < trading_rules.min_amount:
        return f"{amount} is below the market's minimum amount {trading_rules.min_amount}"
    if amount * price < trading_rules.min_notional:
        return (
            f"{amount * price:f} at the stop is below the market's minimum value "
            f"{trading_rules.min_notional}"
        )
    return ""
