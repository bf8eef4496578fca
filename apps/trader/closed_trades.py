"""Closed trades of an account for its entry guards, computed from stored fills.

All symbols of the account count, those that other processes trade too. A restart changes nothing,
because the fills are the only record of these trades.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from typing import Final

from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill, Mode
from onetape.engine import ClosedTrade, count_candles_needed
from onetape.engine.entry_guards import EntryGuard
from onetape.store.accounts import AccountSeries, read_account_series
from onetape.store.database import Store
from onetape.store.ledger import read_fills, read_newest_fill_id
from onetape.store.market_data import read_trading_rules
from onetape.store.orders import read_filled_timestamp, read_order_type
from trader.commands.round_trips import PRECISION, RoundTrip, make_round_trips

#: Types of orders that end a position at a stop.
_STOPS: Final = ("stop_loss", "trailing_stop")


class ClosedTrades:
    """Closed trades of one account, read again once there is another fill."""

    def __init__(self, store: Store, account: str, mode: Mode, timeframe: Timeframe) -> None:
        """Initialise; nothing is read yet.

        Args:
            store: The open database.
            account: Name of the account.
            mode: Mode of the fills: paper or live.
            timeframe: Timeframe in which entry guards count.
        """
        self._store = store
        self._account = account
        self._mode: Mode = mode
        self._timeframe = timeframe
        self._known: tuple[int, Sequence[EntryGuard]] | None = None
        """Newest fill, and the guards, of the last reading; None: nothing was read."""
        self._trades: tuple[ClosedTrade, ...] = ()

    def read(self, guards: Sequence[EntryGuard]) -> tuple[ClosedTrade, ...]:
        """Return the closed trades that guards look at, in any order.

        Args:
            guards: Guards of the account.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._store.read():
            newest = read_newest_fill_id(self._store, self._account, self._mode)
            if self._known != (newest, guards):
                self._trades = tuple(self._iterate_trades(guards))
                self._known = newest, guards
        return self._trades

    def _iterate_trades(self, guards: Sequence[EntryGuard]) -> Iterator[ClosedTrade]:
        series = read_account_series(self._store, self._account)
        trips = [(one, trip) for one in series for trip in self._read_closed_trips(one)]
        newest_ms = max((trip.closed_ms or 0 for _, trip in trips), default=0)
        needed_ms = count_candles_needed(guards) * self._timeframe.average_seconds * 1_000
        for one, trip in trips:
            if newest_ms - (trip.closed_ms or 0) <= needed_ms:
                yield self._make_closed_trade(one, trip)

    def _read_closed_trips(self, series: AccountSeries) -> list[RoundTrip]:
        """Return the closed positions of the account in one symbol, oldest first."""
        fills = read_fills(
            self._store, self._account, series.symbol, exchange=series.exchange, mode=self._mode
        )
        rules = read_trading_rules(self._store, series.exchange, series.symbol)
        trips = make_round_trips(fills, *split_symbol(series.symbol), rules)
        return [trip for trip in trips if trip.closed_ms is not None]

    def _make_closed_trade(self, series: AccountSeries, trip: RoundTrip) -> ClosedTrade:
        sell = trip.fills[-1]
        candle = read_filled_timestamp(self._store, sell.client_order_id)
        if candle is None:
            candle = self._timeframe.floor(sell.executed_ms // 1_000)
        return ClosedTrade(
            symbol=series.symbol,
            timestamp=candle,
            profit_ratio=_compute_profit_ratio(trip, split_symbol(series.symbol)[1]),
            is_stop=read_order_type(self._store, sell.client_order_id) in _STOPS,
            # An order does not state it. Entries at this open come after the exit now.
            is_inside=False,
        )


def _compute_profit_ratio(trip: RoundTrip, quote: str) -> float:
    """Return the profit of a closed position divided by its cost.

    Fees count where they are paid in the symbol's own currencies, as in a backtest.
    """

    def compute_cost(fill: Fill) -> Decimal:
        return fill.price * fill.amount + (fill.fee if fill.fee_currency == quote else 0)

    with localcontext(prec=PRECISION):
        cost = sum((compute_cost(one) for one in trip.fills if one.side == "buy"), Decimal(0))
        return float(trip.quote_flow / cost)
