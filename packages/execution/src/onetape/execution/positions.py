"""The position that results from the fills of one market. Amounts are Decimals.

A position begins with the first buy after flat. It ends when less is left of its coins than the
market's least order. The rest is dust: no position, but part of the account. The next sell may
include it; the next position does not need it, because dust may leave the account.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct, field

from onetape.core.trading import Fill
from onetape.core.trading_rules import TradingRules

#: Part of the amount bought that sums of rounded amounts may leave in a market without steps.
_NOISE: Final = Decimal("1e-9")


class Position(Struct, frozen=True):
    """The sum of an account's fills in one market."""

    base: Decimal = Decimal(0)
    """Amount held, base currency, fees taken from it deducted; dust included."""
    quote: Decimal = Decimal(0)
    """Proceeds of sells less cost of buys, quote currency; negative while a position is open."""
    cost: Decimal = Decimal(0)
    """Cost of the open position, quote currency, without fees; 0 while flat."""
    fees: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Fees of all fills by currency; negative for rebates."""
    entry_order_id: str | None = None
    """Client order id of the order that opened the position; None while flat."""
    fills: int = 0
    carried: Decimal = Decimal(0)
    """Dust of earlier positions in `base` while a position is open; 0 while flat."""

    @property
    def own(self) -> Decimal:
        """Return the amount of the open position without earlier dust, base currency."""
        return Decimal(0) if self.is_flat else self.base - self.carried

    @property
    def is_flat(self) -> bool:
        """Return whether there is no position; coins that are held then are dust."""
        return self.entry_order_id is None

    @property
    def dust(self) -> Decimal:
        """Return the dust: base currency held outside of a position."""
        return self.base if self.is_flat else Decimal(0)


def sum_position(
    fills: Iterable[Fill], base: str, quote: str, trading_rules: TradingRules | None = None
) -> Position:
    """Return the position that results from fills of one market.

    Args:
        fills: Fills of one account and market, in the order of their execution.
        base: Base currency; a fee paid in it is deducted from the amount held.
        quote: Quote currency; a fee paid in it is deducted from the money.
        trading_rules: Trading rules of the market today; they distinguish dust from a position
            after a sell
            that was stored without the least amount of its time. None: any amount could be sold.
    """
    held = money = cost = bought = carried = Decimal(0)
    today = get_least_amount(trading_rules)
    fees: dict[str, Decimal] = {}
    entry: str | None = None
    count = 0
    for fill in fills:
        count += 1
        value = fill.amount * fill.price
        before = held
        if fill.side == "buy":
            carried = max(held, Decimal(0)) if entry is None else carried
            held, money, cost, bought = (
                held + fill.amount, money - value, cost + value, bought + fill.amount,
            )  # fmt: skip
            entry = entry or fill.client_order_id
        else:
            held, money = held - fill.amount, money + value
            cost -= cost * min(fill.amount / before, Decimal(1)) if before > 0 else cost
        fees[fill.fee_currency] = fees.get(fill.fee_currency, Decimal(0)) + fill.fee
        if fill.fee_currency == base:
            held -= fill.fee
        elif fill.fee_currency == quote:
            money -= fill.fee
        carried = compute_dust_left(carried, held)
        least = today if fill.least_amount is None else fill.least_amount
        if fill.side == "sell" and held - carried < max(least, bought * _NOISE):
            cost, bought, carried, entry = Decimal(0), Decimal(0), Decimal(0), None
    return Position(held, money, cost, fees, entry, count, carried)


def compute_dust_left(carried: Decimal, held: Decimal) -> Decimal:
    """Return the remaining earlier dust; coins bought for the position are sold first."""
    return max(min(carried, held), Decimal(0))


def get_least_amount(trading_rules: TradingRules | None) -> Decimal:
    """Return the minimum amount of a sell in a market, base currency; 0 without trading rules."""
    return (
        Decimal(0)
        if trading_rules is None
        else max(trading_rules.min_amount, trading_rules.amount_step or Decimal(0))
    )
