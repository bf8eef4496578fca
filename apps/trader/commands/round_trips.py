"""Round trips of an account (position from its first buy to its last sell), made of its fills."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import Final

from msgspec import Struct

from onetape.core.trading import Fill
from onetape.core.trading_rules import TradingRules
from onetape.execution.positions import compute_dust_left, get_min_sell_amount, sum_position

#: Decimal digits of sums and products: amounts and prices have at most 30 digits each.
PRECISION: Final = 80
#: Fraction of the amount bought that rounding may leave over in a market without amount steps.
NOISE: Final = Decimal("1e-9")


class RoundTrip(Struct, frozen=True):
    """One position of an account, from its first buy to its last sell."""

    entry_order_id: str
    """Client order id of the order that opened the position."""
    opened_ms: int
    """Time of the first buy, epoch milliseconds."""
    closed_ms: int | None
    """Time of the last sell, epoch milliseconds; None: the position is open."""
    bought: Decimal
    """Amount bought, base currency, before any fee taken from it."""
    sold: Decimal
    """Amount sold, base currency."""
    entry_price: Decimal
    """Mean price of the buys, weighted by amount, quote currency."""
    exit_price: Decimal | None
    """Mean price of the sells, weighted by amount, quote currency; None before the first sell."""
    quote_flow: Decimal
    """Quote currency received minus spent, after fees in quote currency."""
    fees: dict[str, Decimal]
    """Fees of the round trip by currency."""
    fills: tuple[Fill, ...]
    """Fills of the position from its first buy on, oldest first.

    The next position may begin in the millisecond in which this position ends.
    """

    @property
    def profit(self) -> Decimal | None:
        """Return the profit after fees, quote currency; None while the position is open."""
        return None if self.closed_ms is None else self.quote_flow


def make_round_trips(
    fills: Iterable[Fill], base: str, quote: str, trading_rules: TradingRules | None = None
) -> list[RoundTrip]:
    """Return the round trips of an account in one symbol, oldest first; the last one may be open.

    As in `onetape.execution.positions.sum_position`, a position begins with the first buy after
    flat, and ends when less of its coins is left than the market accepts in an order.

    Args:
        fills: Fills of one account and symbol, oldest first.
        base: Base currency of the symbol.
        quote: Quote currency of the symbol.
        trading_rules: Trading rules of the market; None: any amount can be sold.
    """
    found: list[RoundTrip] = []
    opened: list[Fill] = []
    held = bought = carried = Decimal(0)
    today = get_min_sell_amount(trading_rules)
    with localcontext(prec=PRECISION):
        for fill in fills:
            is_sell = fill.side == "sell"
            opened.append(fill)
            if not (is_sell or bought):
                carried = max(held, Decimal(0))
            held += -fill.amount if is_sell else fill.amount
            held -= fill.fee if fill.fee_currency == base else 0
            bought += 0 if is_sell else fill.amount
            minimum = today if fill.min_sell_amount is None else fill.min_sell_amount
            carried = compute_dust_left(carried, held)
            if is_sell and held - carried < max(minimum, bought * NOISE):
                found += _make_round_trip(opened, base, quote, is_closed=True)
                opened, bought, carried = [], Decimal(0), Decimal(0)
        return [*found, *_make_round_trip(opened, base, quote, is_closed=False)]


def sum_fees(fills: Iterable[Fill]) -> dict[str, Decimal]:
    """Return the fees of fills, by currency."""
    fees: dict[str, Decimal] = {}
    with localcontext(prec=PRECISION):
        for fill in fills:
            fees[fill.fee_currency] = fees.get(fill.fee_currency, Decimal(0)) + fill.fee
    return fees


def _make_round_trip(
    fills: Sequence[Fill], base: str, quote: str, *, is_closed: bool
) -> list[RoundTrip]:
    """Return the round trip that fills make, as the only item; empty: there is no buy."""
    buys = [fill for fill in fills if fill.side == "buy"]
    sells = [fill for fill in fills if fill.side == "sell"]
    if not buys:
        return []
    trip = RoundTrip(
        entry_order_id=buys[0].client_order_id,
        opened_ms=buys[0].executed_ms,
        closed_ms=sells[-1].executed_ms if is_closed else None,
        bought=sum((fill.amount for fill in buys), Decimal(0)),
        sold=sum((fill.amount for fill in sells), Decimal(0)),
        entry_price=_compute_mean_price(buys),
        exit_price=_compute_mean_price(sells) if sells else None,
        quote_flow=sum_position(fills, base, quote).quote,
        fees=sum_fees(fills),
        fills=tuple(fills[fills.index(buys[0]) :]),
    )
    return [trip]


def _compute_mean_price(fills: Sequence[Fill]) -> Decimal:
    if len({fill.price for fill in fills}) == 1:
        return fills[0].price
    paid = sum((fill.price * fill.amount for fill in fills), Decimal(0))
    return paid / sum((fill.amount for fill in fills), Decimal(0))
