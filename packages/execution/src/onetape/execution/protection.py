"""Decides what to do with a position's stop order at the exchange: place, replace or cancel it.

`choose_protection_step` compares the position and the level of its stop with the stop orders that
rest at the exchange. A stop covers the filled amount, so it is placed while an entry still fills,
and replaced as more fills. A higher level (a trailing stop) replaces the stop only if the level has
risen by a fraction of the price, and some time has passed since the last change. A lower level
never moves the stop.
"""

from decimal import ROUND_DOWN, Decimal
from typing import Final

from msgspec import Struct

from onetape.core.trading_rules import TradingRules

_ZERO: Final = Decimal(0)


class RestingStop(Struct, frozen=True):
    """A stop order that rests at the exchange, or is on its way there."""

    client_order_id: str
    amount: Decimal
    """Amount that the stop may still sell, base currency."""
    price: Decimal
    """Level at which the stop sells, quote currency."""


class StopPolicy(Struct, frozen=True):
    """Rules for when a resting stop is replaced."""

    min_rise: Decimal = Decimal("0.001")
    """Minimum rise of the level that moves the stop, as a fraction of the stop's price."""
    pause_seconds: float = 10.0
    """Minimum time between two changes of a stop because of a higher level, seconds."""
    grow_seconds: float = 1.0
    """Minimum time between two changes of a stop because more was filled, seconds; an entry may be
    filled in many parts."""
    limit_offset: Decimal = _ZERO
    """Distance of a stop's lowest sell price below its level, as a fraction of the level."""


class PlaceStop(Struct, frozen=True):
    """Step: place a stop, because no stop rests."""

    amount: Decimal
    """Amount of the stop, base currency."""
    price: Decimal
    """Level of the stop, quote currency."""


class CancelStop(Struct, frozen=True):
    """Step: cancel a resting stop, which has no position or would sell coins that are not held."""

    client_order_id: str
    """Client order id of the resting stop."""
    reason: str
    """Reason of the cancellation, as a text."""


class ReplaceStop(Struct, frozen=True):
    """Step: replace a resting stop; if that takes two requests, cancel the resting stop first."""

    client_order_id: str
    """Client order id of the resting stop that is replaced."""
    amount: Decimal
    """Amount of the new stop, base currency."""
    price: Decimal
    """Level of the new stop, quote currency."""
    reason: str
    """Reason of the replacement, as a text."""


class Unprotectable(Struct, frozen=True):
    """Step: watch the level in the trader, because the market accepts no such stop."""

    reason: str
    """Rule of the market that the stop would break, as a text."""


ProtectionStep = PlaceStop | CancelStop | ReplaceStop | Unprotectable | None


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
        resting: The stop orders that are not over.
        trading_rules: Trading rules of the market.
        policy: Rules for when a resting stop is replaced.
        seconds_since_change: Time since a stop was last placed or cancelled.
        is_fixed: Whether a risen level may not move the stop; a smaller position still does.
    """
    amount = round_down(held, trading_rules.amount_step)
    if level is None or amount <= 0:
        reason = "no position is left" if amount <= 0 else "the rules have no stop"
        return CancelStop(resting[0].client_order_id, reason) if resting else None
    price = round_down(level, trading_rules.price_step)
    if not resting:
        refusal = find_stop_refusal(amount, price * (1 - policy.limit_offset), trading_rules)
        return Unprotectable(refusal) if refusal else PlaceStop(amount, price)
    stop, *surplus = sorted(resting, key=lambda stop: stop.price, reverse=True)
    if surplus:
        return CancelStop(surplus[0].client_order_id, "more than one stop rests")
    refusal = find_stop_refusal(amount, price * (1 - policy.limit_offset), trading_rules)
    changed = ReplaceStop(
        stop.client_order_id, amount, price, "the amount that is held has changed"
    )
    if stop.amount > amount:
        # The stop would sell coins that were not bought here.
        return CancelStop(stop.client_order_id, changed.reason) if refusal else changed
    if stop.amount < amount and not refusal and seconds_since_change >= policy.grow_seconds:
        return changed
    if is_fixed:
        return None
    is_risen = price >= stop.price * (1 + policy.min_rise)
    if is_risen and seconds_since_change >= policy.pause_seconds:
        return ReplaceStop(stop.client_order_id, amount, price, "the level has risen")
    return None


def compute_sellable_amount(held: Decimal, free: Decimal, trading_rules: TradingRules) -> Decimal:
    """Return the amount of a position that an order can sell, base currency, in whole steps.

    Args:
        held: Amount of the position, base currency.
        free: Amount that no order locks at the exchange, base currency.
        trading_rules: Trading rules of the market.
    """
    return round_down(max(min(held, free), _ZERO), trading_rules.amount_step)


def round_down(value: Decimal, step: Decimal | None) -> Decimal:
    """Return a value rounded towards zero to a multiple of the step; None: no rounding."""
    if step is None or not step:
        return value
    return (value / step).to_integral_value(rounding=ROUND_DOWN) * step


def find_stop_refusal(amount: Decimal, price: Decimal, trading_rules: TradingRules) -> str:
    """Return the reason why the market would refuse a stop; empty: the market accepts the stop.

    Args:
        amount: Amount, base currency, in whole steps.
        price: Lowest price at which the stop sells, quote currency.
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
