"""The position of an account in one market: the sum of its fills. Amounts are Decimals.

A position begins with the first buy while no position is open ("flat"). It ends with the sell that
leaves fewer coins than the market's minimum order. The rest is dust: it is part of the account and
of no position. A later sell may include the dust, but no position depends on it, because dust may
leave the account without a fill.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct, field

from onetape.core.trading import Fill
from onetape.core.trading_rules import TradingRules

#: In a market without steps, a rest below this fraction of the amount bought is a rounding error.
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
    """Number of fills that the position was computed from."""
    earlier_dust: Decimal = Decimal(0)
    """Dust of earlier positions in `base` while a position is open; 0 while flat."""

    @property
    def open_amount(self) -> Decimal:
        """Return the amount of the position without earlier dust, base currency; 0 while flat."""
        return Decimal(0) if self.is_flat else self.base - self.earlier_dust

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
        trading_rules: Present trading rules of the market. The minimum amount separates dust from a
            position after a sell that was stored without the minimum amount of its time. None: any
            amount can be sold.
    """
    held = money = cost = bought = earlier_dust = Decimal(0)
    min_today = get_min_sell_amount(trading_rules)
    fees: dict[str, Decimal] = {}
    entry: str | None = None
    count = 0
    for fill in fills:
        count += 1
        value = fill.amount * fill.price
        before = held
        if fill.side == "buy":
            earlier_dust = max(held, Decimal(0)) if entry is None else earlier_dust
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
        earlier_dust = compute_dust_left(earlier_dust, held)
        minimum = min_today if fill.min_sell_amount is None else fill.min_sell_amount
        if fill.side == "sell" and held - earlier_dust < max(minimum, bought * _NOISE):
            cost, bought, earlier_dust, entry = Decimal(0), Decimal(0), Decimal(0), None
    return Position(held, money, cost, fees, entry, count, earlier_dust)


def compute_dust_left(earlier_dust: Decimal, held: Decimal) -> Decimal:
    """Return the part of earlier dust that is left; coins of the position are sold first.

    Args:
        earlier_dust: Dust of earlier positions before the sell, base currency.
        held: Amount held after the sell, dust included, base currency.
    """
    return max(min(earlier_dust, held), Decimal(0))


def get_min_sell_amount(trading_rules: TradingRules | None) -> Decimal:
    """Return the minimum amount of a sell in a market, base currency; 0 without trading rules."""
    return (
        Decimal(0)
        if trading_rules is None
        else max(trading_rules.min_amount, trading_rules.amount_step or Decimal(0))
    )
