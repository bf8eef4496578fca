"""The positions that an account really traded, dated by the candles that filled them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import get_args

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, FloatArray
from onetape.core.symbols import split_symbol
from onetape.core.trading import Fill
from onetape.execution.positions import sum_position
from onetape.report import ExitKind
from onetape.store.decision_reading import OrderRecord
from trader.commands.round_trips import PRECISION, RoundTrip


class TradedPosition(Struct, frozen=True):
    """A position that an account really traded; times are opens of candles, epoch seconds."""

    symbol: str
    session: str
    """Id of the session that bought the position."""
    signal_timestamp: int | None
    """Open of the candle whose signal led to the entry; None: not stored."""
    entry_timestamp: int
    """Open of the candle that filled the entry, epoch seconds."""
    exit_timestamp: int | None
    """Open of the candle that filled the last sell, epoch seconds; None: open."""
    entry_price: float
    """Mean price of the entry's fills, quote currency."""
    exit_price: float
    """Mean price of the exit's fills, quote currency; the last close for an open position."""
    amount: float
    """Amount bought, base currency, before a fee taken from it."""
    fees: float
    """Fees in quote currency; a fee in base currency counts at the price of its fill."""
    profit: float
    """Profit after fees, quote currency; an open position counts at the last close."""
    exit_type: str
    """Type of the order that closed it, such as `market`, `stop_loss` or `command`; empty: open."""
    entry_reason: str
    """Stored reason of the entry; may be empty."""
    exit_reason: str
    """Stored reason of the exit; empty: none, or open."""
    fee_base: float = 0.0
    """Part of the fees that was taken from the coins, base currency."""
    left_over: float = 0.0
    """Amount bought that was neither sold nor taken as a fee, base currency.

    Below 0: coins of earlier positions were sold as well. 0 while the position is open.
    """

    @property
    def sold(self) -> float:
        """Return the amount sold of a closed position, base currency; 0 while it is open."""
        return 0.0 if self.is_open else self.amount - self.fee_base - self.left_over

    @property
    def is_open(self) -> bool:
        """Return whether the position is open."""
        return self.exit_timestamp is None

    @property
    def exit_kind(self) -> ExitKind:
        """Return the kind of exit by the backtest's names; a command counts as `signal`."""
        kinds: tuple[ExitKind, ...] = get_args(ExitKind)
        for kind in kinds:
            if kind == self.exit_type:
                return kind
        return "signal"


def make_traded_positions(
    trips: Sequence[RoundTrip],
    orders: Mapping[str, OrderRecord],
    candles: Candles,
) -> list[TradedPosition]:
    """Return the positions of round trips, with the candles and orders that made them.

    Args:
        trips: Round trips of one symbol, oldest first.
        orders: Orders by client order id.
        candles: Candles of the range; positions entered before it are left out.
    """
    found: list[TradedPosition] = []
    for trip in trips:
        position = _make_position(trip, orders, candles)
        if position is not None:
            found.append(position)
    return found


def _make_position(
    trip: RoundTrip, orders: Mapping[str, OrderRecord], candles: Candles
) -> TradedPosition | None:
    """Return the position of a round trip; None: it was entered before the candles."""
    fills = trip.fills
    sells = [one for one in fills if one.side == "sell"]
    entry = orders.get(trip.entry_order_id)
    entered = find_filled_candle(fills[0], orders, candles)
    if entered is None:
        return None
    left = orders.get(sells[-1].client_order_id) if sells else None
    is_open = trip.closed_ms is None
    last = float(candles.close[-1])
    base, quote = split_symbol(fills[0].symbol)
    with localcontext(prec=PRECISION):
        flow = float(trip.quote_flow)
        held = float(sum_position(fills, base, quote).base) if is_open else 0.0
        fees = sum((_convert_fee(one, base, quote) for one in fills), Decimal(0))
        fee_base = sum((one.fee for one in fills if one.fee_currency == base), Decimal(0))
        left_over = Decimal(0) if is_open else trip.bought - trip.sold - fee_base
    exit_price = trip.exit_price
    return TradedPosition(
        symbol=fills[0].symbol,
        session=fills[0].session,
        signal_timestamp=None if entry is None else entry.signal_timestamp,
        entry_timestamp=entered,
        exit_timestamp=None if is_open else find_filled_candle(sells[-1], orders, candles),
        entry_price=float(trip.entry_price),
        exit_price=last if is_open or exit_price is None else float(exit_price),
        amount=float(trip.bought),
        fees=float(fees),
        profit=flow + held * last,
        exit_type="" if is_open else "market" if left is None else left.type,
        entry_reason="" if entry is None else entry.reason,
        exit_reason="" if left is None or is_open else left.reason,
        fee_base=float(fee_base),
        left_over=float(left_over),
    )


def find_filled_candle(
    fill: Fill, orders: Mapping[str, OrderRecord], candles: Candles
) -> int | None:
    """Return the open of the candle by whose price a fill was made, epoch seconds.

    Orders of earlier versions did not store it: then it is the candle of the execution.

    Args:
        fill: The fill.
        orders: Orders by client order id.
        candles: Candles of the range.

    Returns:
        None: the candle is before the range.
    """
    order = orders.get(fill.client_order_id)
    if order is not None and order.filled_timestamp is not None:
        found = order.filled_timestamp
    else:
        index = int(np.searchsorted(candles.timestamp, fill.executed_ms // 1_000, side="right"))
        found = int(candles.timestamp[index - 1]) if index else -1
    return found if len(candles) and found >= int(candles.timestamp[0]) else None


def compute_symbol_profit(
    fills: Sequence[Fill], orders: Mapping[str, OrderRecord], candles: Candles
) -> FloatArray:
    """Return the profit of one symbol's fills at each close, quote currency, shape (n,).

    Args:
        fills: Fills of the symbol, oldest first.
        orders: Orders by client order id.
        candles: Candles of the range, n of them.
    """
    quote, base = np.zeros(len(candles)), np.zeros(len(candles))
    for fill in fills:
        candle = find_filled_candle(fill, orders, candles)
        index = 0 if candle is None else int(np.searchsorted(candles.timestamp, candle))
        if index < len(candles):
            flow = sum_position([fill], *split_symbol(fill.symbol))
            quote[index] += float(flow.quote)
            base[index] += float(flow.base)
    return np.cumsum(quote) + np.cumsum(base) * candles.close


def _convert_fee(fill: Fill, base: str, quote: str) -> Decimal:
    """Return a fee in quote currency; 0 for a fee in a third currency."""
    if fill.fee_currency == quote:
        return fill.fee
    return fill.fee * fill.price if fill.fee_currency == base else Decimal(0)
