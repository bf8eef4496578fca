"""Orders that account or market would not take, and why."""

from typing import NamedTuple

from onetape.core.digits import number_text


class Refused(NamedTuple):
    """An order that the account or the market would not take."""

    reason: str
    """One sentence with the numbers."""


def short_of(cash: float, what: str, wanted: float) -> Refused:
    """Return the refusal of an order that the cash does not pay; quote currency."""
    return Refused(f"cash {number_text(cash)} is less than the {what} {number_text(wanted)}")


def too_small(found: str, value: float, what: str, least: float) -> Refused:
    """Return the refusal of an order under a minimum of the market.

    Args:
        found: What the order is, such as `sell of` or `buy worth`.
        value: Amount in base currency, or value in quote currency.
        what: `amount` or `value`.
        least: The market's minimum of it.
    """
    return Refused(
        f"{found} {number_text(value)} is under the market's least {what} {number_text(least)}"
    )


def unsellable_rest(amount: float, rest: float, least: float) -> Refused:
    """Return the refusal of a buy whose fee in coins leaves too few to be sold; base currency."""
    return Refused(
        f"buy of {number_text(amount)} would leave {number_text(rest)} after its fee, under the "
        f"market's least amount {number_text(least)}: it could not be sold"
    )


def unsellable_at_stop(notional: float, sold: Refused) -> Refused:
    """Return the refusal of a buy that the market would not take back at its stop.

    Args:
        notional: Value of the buy, quote currency.
        sold: Why the sell at the stop is refused.
    """
    return Refused(
        f"buy worth {number_text(notional)} could not be sold at its stop, where the {sold.reason}"
    )
