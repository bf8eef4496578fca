"""Round trips: what each position of an account earned, from its stored trades."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Final

from msgspec import Struct

from onetape.core.trading import Trade
from onetape.execution.positions import position_of

#: Digits of sums and products: amounts and prices have at most 30 digits each.
PRECISION: Final = 80


class RoundTrip(Struct, frozen=True):
    """One position of an account, from its first buy to its last sell."""

    entry_order_id: str
    """Client order id of the order that opened the position."""
    opened_ms: int
    closed_ms: int | None
    """None: the position is open."""
    bought: Decimal
    """Base currency, before any fee taken from it."""
    sold: Decimal
    """Base currency."""
    entry_price: Decimal
    """Quote currency; the mean of several fills, by amount."""
    exit_price: Decimal | None
    """Quote currency; None before the first sell."""
    quote_flow: Decimal
    """Quote currency that the trades brought, less what they took; fees in it are deducted."""
    fees: dict[str, Decimal]
    """By currency."""

    @property
    def profit(self) -> Decimal | None:
        """Return the profit after fees, quote currency; None while the position is open."""
        return None if self.closed_ms is None else self.quote_flow


def round_trips(
    trades: Iterable[Trade], base: str, quote: str, unfinished: Collection[str] = ()
) -> list[RoundTrip]:
    """Return the positions of an account in one symbol, oldest first.

    An account has one position at a time: a position begins with a buy and ends with the sells
    after it. What a sell leaves because of the market's amount step belongs to the next position.

    Args:
        trades: Of one account and symbol, oldest first.
        base: Base currency of the symbol.
        quote: Quote currency of the symbol.
        unfinished: Client order ids of orders that are not finished: a position whose last sell
            is one of them is still open.
    """
    found: list[RoundTrip] = []
    buys: list[Trade] = []
    with localcontext(prec=PRECISION):
        for side, group in groupby(trades, key=lambda trade: trade.side):
            if side == "buy":
                buys = list(group)
                found.append(_round_trip(buys, [], base, quote, is_closed=False))
            elif buys:
                sells = list(group)
                is_closed = sells[-1].client_order_id not in unfinished
                found[-1] = _round_trip(buys, sells, base, quote, is_closed=is_closed)
    return found


def fees_of(trades: Iterable[Trade]) -> dict[str, Decimal]:
    """Return the fees that trades paid, by currency."""
    fees: dict[str, Decimal] = {}
    with localcontext(prec=PRECISION):
        for trade in trades:
            fees[trade.fee_currency] = fees.get(trade.fee_currency, Decimal(0)) + trade.fee
    return fees


def _round_trip(
    buys: Sequence[Trade], sells: Sequence[Trade], base: str, quote: str, *, is_closed: bool
) -> RoundTrip:
    trades = [*buys, *sells]
    return RoundTrip(
        entry_order_id=buys[0].client_order_id,
        opened_ms=buys[0].executed_ms,
        closed_ms=sells[-1].executed_ms if is_closed else None,
        bought=sum((trade.amount for trade in buys), Decimal(0)),
        sold=sum((trade.amount for trade in sells), Decimal(0)),
        entry_price=_mean_price(buys),
        exit_price=_mean_price(sells) if sells else None,
        quote_flow=position_of(trades, base, quote).quote,
        fees=fees_of(trades),
    )


def _mean_price(trades: Sequence[Trade]) -> Decimal:
    if len({trade.price for trade in trades}) == 1:
        return trades[0].price
    paid = sum((trade.price * trade.amount for trade in trades), Decimal(0))
    return paid / sum((trade.amount for trade in trades), Decimal(0))
