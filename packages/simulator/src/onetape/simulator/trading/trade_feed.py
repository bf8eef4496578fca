"""The interface through which the exchange reads the market: its trades, and the offers after each.

`market_trade_feed.py` implements it for the simulated market.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, Protocol

from onetape.simulator.market.symbols import SpotSymbol

Side = Literal["BUY", "SELL"]
#: Id above every trade id: the cursor (time, AFTER_ALL) is after all trades of that time.
AFTER_ALL: Final = 1 << 62
#: Position in the trades of a market: time (epoch milliseconds) and id of the last matched trade.
Cursor = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MarketTrade:
    """One trade of the market; prices are whole ticks, amounts whole steps."""

    id: int
    """Trade id, rising from trade to trade within a market."""
    time_ms: int
    """Time of the trade, epoch milliseconds UTC."""
    price: int
    """Price of the trade, in ticks."""
    amount: int
    """Amount of the trade, in steps."""
    buys: bool
    """Whether the taker of the trade bought."""


class TradeFeed(Protocol):
    """The market's trades in time order; results depend on the arguments alone."""

    def is_trading(self, symbol: SpotSymbol, now_ms: int) -> bool:
        """Return whether orders are taken at `now_ms`."""
        ...

    def find_last_trade(self, symbol: SpotSymbol, now_ms: int) -> MarketTrade | None:
        """Return the last trade up to and including `now_ms`.

        None: the market is closed, or had no trade yet.
        """
        ...

    def find_next_hit(
        self, symbol: SpotSymbol, after: Cursor, until_ms: int, low: int | None, high: int | None
    ) -> MarketTrade | None:
        """Return the first trade that reaches a price; None: no trade does.

        Args:
            symbol: The market.
            after: Only trades after this cursor count.
            until_ms: Only trades up to this time count, epoch milliseconds.
            low: Price in ticks that is reached at or below it; None: not used.
            high: Price in ticks that is reached at or above it; None: not used.
        """
        ...

    def iterate_offers(
        self, symbol: SpotSymbol, trade: MarketTrade, side: Side
    ) -> Iterator[tuple[int, int]]:
        """Yield the offers that a taker of a side finds after a trade, best first.

        Each is a price (ticks) and an amount (steps).
        """
        ...

    def compute_average_price(self, symbol: SpotSymbol, now_ms: int) -> Decimal | None:
        """Return the mean price of the last five minutes, weighted by volume, in ticks.

        None: the market is closed, or had no trade yet.
        """
        ...
