"""The trades of the simulated market, as the exchange reads them to match orders.

`MarketTradeFeed` implements `trade_feed.TradeFeed`; its trades are those that the streams send.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import numpy as np

from onetape.simulator.market.bars import TIMEFRAMES, concat_bars
from onetape.simulator.market.order_book import make_book_after_trade
from onetape.simulator.market.simulated_market import BATCH_DAYS, SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.market.trades import Trades
from onetape.simulator.trading.trade_feed import Cursor, MarketTrade, Side

_MINUTE: Final = TIMEFRAMES["1m"]
#: Range of minute bars that is searched at a time for a trade that reaches a price, seconds.
_PIECE_SECONDS: Final = BATCH_DAYS * 86_400
#: Minutes of the mean price that filters use (Binance's `avgPriceMins`).
AVERAGE_MINUTES: Final = 5
#: Amount that is offered at the last price with a stepped clock, in steps; more than any order.
_ENDLESS: Final = 1 << 60


class MarketTradeFeed:
    """Trades of a simulated market, and the offers after each of them; without a state.

    The offers depend on the clock:

    - While the clock runs: the order book that `depth` shows (`market/order_book.py`).
    - With a stepped clock (`held`): any amount at the price of the last trade. So a market order
      that is sent at the close of a bar is filled at the open of the next, as in a backtest.
    """

    def __init__(self, market: SimulatedMarket, *, held: bool) -> None:
        """Initialise with a market.

        Args:
            market: The simulated market.
            held: Whether a stepped clock holds the price while orders are sent.
        """
        self._market = market
        self._held = held

    def is_trading(self, symbol: SpotSymbol, now_ms: int) -> bool:
        """Return whether orders are taken: the market is listed and the exchange has no outage."""
        now = now_ms // 1_000
        return self._market.is_open(symbol, now) and not self._market.is_without_events(now, symbol)

    def find_last_trade(self, symbol: SpotSymbol, now_ms: int) -> MarketTrade | None:
        """Return the last trade up to and including `now_ms`.

        None: the market is closed, or had no trade yet.
        """
        if not self._market.is_open(symbol, now_ms // 1_000):
            return None
        trades = self._market.get_last_trades(symbol, now_ms)
        return _make_market_trade(trades, len(trades) - 1) if len(trades) else None

    def find_next_hit(
        self, symbol: SpotSymbol, after: Cursor, until_ms: int, low: int | None, high: int | None
    ) -> MarketTrade | None:
        """Return the first trade after a cursor whose price is at most `low` or at least `high`.

        None: no trade reaches one of them.

        Args:
            symbol: The market.
            after: Time and id of a trade; only later trades count.
            until_ms: Last time that counts, epoch milliseconds.
            low: Price in ticks; None: no price is low enough.
            high: Price in ticks; None: no price is high enough.
        """
        if low is None and high is None:
            return None
        first, last = after[0] // 60_000 * 60, until_ms // 60_000 * 60
        found = self._find_hit_in_minute(symbol, first, after, until_ms, low, high)
        start = first + 60
        while found is None and start < last:
            end = min(start + _PIECE_SECONDS, last)
            for minute in self._find_minutes_that_reach(symbol, start, end, low, high):
                found = self._find_hit_in_minute(symbol, minute, after, until_ms, low, high)
                if found is not None:
                    return found
            start = end
        if found is None and last > first:
            found = self._find_hit_in_minute(symbol, last, after, until_ms, low, high)
        return found

    def iterate_offers(
        self, symbol: SpotSymbol, trade: MarketTrade, side: Side
    ) -> Iterator[tuple[int, int]]:
        """Yield price (ticks) and amount (steps) of each offer after a trade, best first."""
        if self._held:
            yield trade.price, _ENDLESS
            return
        columns = (trade.price, trade.amount, trade.buys)
        book = make_book_after_trade(self._market.seed, symbol, trade.id, columns)
        yield from book.iterate_levels("ask" if side == "BUY" else "bid")

    def compute_average_price(self, symbol: SpotSymbol, now_ms: int) -> Decimal | None:
        """Return the mean price of the last five minutes, weighted by volume, in ticks.

        Without a trade in these minutes it is the last price. None: the market is closed, or had no
        trade yet.
        """
        minute = now_ms // 60_000 * 60
        start = minute - (AVERAGE_MINUTES - 1) * 60
        whole = self._market.get_bars(symbol, _MINUTE, start, minute)
        bars = concat_bars(
            (whole, self._market.get_running_trades(symbol, now_ms).make_bar(minute))
        )
        volume = int(bars.volume.sum())
        if volume:
            return Decimal(int(bars.quote.sum())) / volume
        last = self.find_last_trade(symbol, now_ms)
        return None if last is None else Decimal(last.price)

    def _find_minutes_that_reach(
        self, symbol: SpotSymbol, start: int, end: int, low: int | None, high: int | None
    ) -> list[int]:
        """Return the open times of minutes whose prices reach `low` or `high`, oldest first."""
        bars = self._market.get_bars(symbol, _MINUTE, start, end)
        reached = np.zeros(len(bars), dtype=np.bool_)
        if low is not None:
            reached |= bars.low <= low
        if high is not None:
            reached |= bars.high >= high
        minutes: list[int] = bars.timestamp[reached & (bars.volume > 0)].tolist()
        return minutes

    def _find_hit_in_minute(
        self,
        symbol: SpotSymbol,
        minute: int,
        after: Cursor,
        until_ms: int,
        low: int | None,
        high: int | None,
    ) -> MarketTrade | None:
        """Return the first trade of a minute that reaches `low` or `high`; None: none."""
        if not self._market.is_open(symbol, minute):
            return None
        trades = self._market.get_trades(symbol, minute)
        to_come = (trades.time_ms > after[0]) | (
            (trades.time_ms == after[0]) & (trades.id > after[1])
        )
        reached = np.zeros(len(trades), dtype=np.bool_)
        if low is not None:
            reached |= trades.price <= low
        if high is not None:
            reached |= trades.price >= high
        rows = np.flatnonzero(reached & to_come & (trades.time_ms <= until_ms))
        return _make_market_trade(trades, int(rows[0])) if len(rows) else None


def _make_market_trade(trades: Trades, row: int) -> MarketTrade:
    return MarketTrade(
        int(trades.id[row]),
        int(trades.time_ms[row]),
        int(trades.price[row]),
        int(trades.amount[row]),
        bool(trades.buys[row]),
    )
