"""Orders that account or market would not take, and why."""

from msgspec import Struct

from onetape.core.digits import number_text


class Refused(Struct, frozen=True, gc=False):
    """An order that the account or the market would not take.

    A run may refuse a hundred thousand orders, so the sentence is made where it is read, and Python
    looks for no circles among them.
    """

    kind: str
    """The sentence, with {} for each number: orders refused for one reason have one kind."""
    values: tuple[float, ...] = ()
    """The numbers."""

    @property
    def reason(self) -> str:
        """Return one sentence with the numbers."""
        return self.kind.format(*map(number_text, self.values))


def short_of(cash: float, what: str, wanted: float) -> Refused:
    """Return the refusal of an order that the cash does not pay; quote currency."""
    return Refused(f"cash {{}} is less than the {what} {{}}", (cash, wanted))


def too_small(found: str, value: float, what: str, least: float) -> Refused:
    """Return the refusal of an order under a minimum of the market.

    Args:
        found: What the order is, such as `sell of` or `buy worth`.
        value: Amount in base currency, or value in quote currency.
        what: `amount` or `value`.
        least: The market's minimum of it.
    """
    return Refused(f"{found} {{}} is under the market's least {what} {{}}", (value, least))


def unsellable_rest(amount: float, rest: float, least: float) -> Refused:
    """Return the refusal of a buy whose fee in coins leaves too few to be sold; base currency."""
    return Refused(
        "buy of {} would leave {} after its fee, under the market's least amount {}: it could not "
        "be sold",
        (amount, rest, least),
    )


def unsellable_at_stop(notional: float, sold: Refused) -> Refused:
    """Return the refusal of a buy that the market would not take back at its stop.

    Args:
        notional: Value of the buy, quote currency.
        sold: Why the sell at the stop is refused.
    """
    return Refused(
        f"buy worth {{}} could not be sold at its stop, where the {sold.kind}",
        (notional, *sold.values),
    )
