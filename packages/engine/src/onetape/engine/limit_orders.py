"""Limit orders that the BUYs of a strategy with limit prices lead to, and how candles fill them.

The order of a BUY with a limit is sent at the open that would fill a market order
(due_orders.py), and stays open for `expiry_candles` candles from the one at which it was due. In
each of these candles with a trade it is filled

    at the open         if the open is below the limit (taker, with slippage, at most the limit)
    at the limit        if the low is below the limit (maker)

A low that touches the limit fills nothing, also if it is below the limit by no more than the
rounding of floats. A SELL cancels the order before the next candle, and so
does an unexplained gap; a candle that opens outside the trading hours cancels it too. None of this
depends on the account, so it is computed from columns (entry guards: shared_account.py).
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from onetape.core.candles import Candles, IntArray
from onetape.core.price_steps import find_price_step
from onetape.core.trading_rules import count_floor_steps, multiply_step
from onetape.engine.account_config import AccountConfig
from onetape.engine.due_orders import OrderBars
from onetape.engine.exit_config import NOISE

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelColumns

#: Bars that are searched first for the fill of an order; each further block is four times as long.
_FIRST_BLOCK: Final = 64


class LimitOrder(NamedTuple):
    """A limit order of one BUY."""

    price: float
    """The limit, of whole price steps, quote currency."""
    due: int
    """Bar at which the BUY was due; the strategy's levels of the candle before it are those of the
    position."""
    last: int
    """Last bar in which the order may be filled."""
    end: int
    """Bar in which an order that is not filled ends; the number of bars: it is open at the end."""


class LimitFill(NamedTuple):
    """The fill of a limit order."""

    bar: int
    price: float
    """Open of the bar, or the limit; quote currency, before slippage."""
    is_inside: bool
    """Whether the order was filled inside the bar, at the limit, and not at the bar's open."""


def round_limit_down(price: float, step: float) -> float:
    """Return a limit rounded down to whole price steps, at least one; a step of 0 rounds nothing.

    Args:
        price: Limit of an order to buy, quote currency.
        step: Price step of the market, quote currency.
    """
    return multiply_step(max(1, count_floor_steps(price / step)), step) if step else price


def compute_fill_bound(limit: float) -> float:
    """Return the price below which a price is below a limit by more than the rounding of floats."""
    return limit * (1 - NOISE)


class LimitOrders:
    """The limit orders of one series, by the number of their BUY in `OrderBars.buys`."""

    def __init__(
        self,
        columns: "LevelColumns",
        start_index: int,
        candles: Candles,
        reached: Candles,
        orders: OrderBars,
        rules: AccountConfig,
        *,
        is_last_sell: bool,
    ) -> None:
        """Prepare.

        Args:
            columns: Prices of the strategy for all candles, with a limit column.
            start_index: First candle of the range.
            candles: Traded candles.
            reached: Traded candles whose lows reach no price where nothing was traded.
            orders: Due orders, and the bars that fill them.
            rules: Trading hours and price steps.
            is_last_sell: Whether the signal of the last candle is SELL.
        """
        self._prices = columns.limit
        self._columns = columns
        self._start = start_index
        self._candles = candles
        self._low = reached.low
        self._orders = orders
        self._rules = rules
        # The bar at which the SELL is due is the first one in which the order is not open any more.
        self._ends = _collect_ends(orders, columns, start_index)
        if is_last_sell:
            self._ends = np.append(self._ends, len(candles))
        self._closed = _find_closed_bars(rules, candles)

    def find(self, number: int) -> LimitOrder | None:
        """Return the limit order of a BUY; None: it is a market order.

        Args:
            number: Index into the BUYs. An order whose `last` is before the bar of the BUY has
                expired while it waited for a trade, and is never sent.
        """
        due, bar = int(self._orders.due[number]), int(self._orders.buys[number])
        row = self._start + due - 1
        price = np.nan if self._prices is None or row < 0 else float(self._prices[row])
        if np.isnan(price):
            return None
        timestamp, count = int(self._candles.timestamp[bar]), len(self._candles)
        limit = round_limit_down(price, find_price_step(self._rules.trading_rules, timestamp))
        last = due + self._columns.get_expiry(row) - 1
        ended = int(np.searchsorted(self._ends, bar, side="right"))
        if ended < len(self._ends):
            last = min(last, int(self._ends[ended]) - 1)
        end = last
        closed = int(np.searchsorted(self._closed, bar, side="right"))
        if closed < len(self._closed) and self._closed[closed] <= last:
            end = int(self._closed[closed])
            last = end - 1
        return LimitOrder(limit, due, min(last, count - 1), min(end, count))

    def find_fill(self, order: LimitOrder, bar: int) -> LimitFill | None:
        """Return the fill of an order; None: it is not filled.

        Args:
            order: The order.
            bar: Bar at whose open it is sent.
        """
        width, price, bound = _FIRST_BLOCK, order.price, compute_fill_bound(order.price)
        while bar <= order.last:
            is_below = self._low[bar : min(bar + width, order.last + 1)] < bound
            first = int(is_below.argmax())
            if is_below[first]:
                filled = bar + first
                open_ = float(self._candles.open[filled])
                is_inside = open_ >= bound
                return LimitFill(filled, price if is_inside else open_, is_inside)
            bar, width = bar + width, 4 * width
        return None


def _collect_ends(orders: OrderBars, columns: "LevelColumns", start_index: int) -> IntArray:
    """Return the bars before which each open order ends: due SELLs, and candles after a gap."""
    after_gaps = np.array(columns.after_gaps, dtype=np.int64) - start_index
    return np.unique(np.concatenate((orders.sell_signals, after_gaps)))


def _find_closed_bars(rules: AccountConfig, candles: Candles) -> IntArray:
    """Return the bars that open outside the trading hours."""
    if rules.entry_hours is None:
        return np.empty(0, dtype=np.int64)
    # Most runs have no trading hours, and load none of it.
    from onetape.engine.entry_hours_filter import find_rows_in_hours

    return np.flatnonzero(~find_rows_in_hours(rules.entry_hours, candles.timestamp))
