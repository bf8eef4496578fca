"""The exchange's view of the market: its trades one by one, and the offers after each."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, Protocol

from onetape.simulator.market.symbols import SpotSymbol

Side = Literal["BUY", "SELL"]
#: A cursor at (moment, AFTER_ALL) is past every trade of that millisecond.
AFTER_ALL: Final = 1 << 62
#: Time of a trade (epoch milliseconds) and its id: trades after it are still to come.
Cursor = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tick:
    """One trade of the market."""

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

    def find_last_trade(self, symbol: SpotSymbol, now_ms: int) -> Tick | None:
        """Return the last trade up to and including `now_ms`; None: no recent trade."""
        ...

    def find_next_hit(
        self, symbol: SpotSymbol, after: Cursor, until_ms: int, low: int | None, high: int | None
    ) -> Tick | None:
        """Return the first trade that reaches a price, after a cursor and up to `until_ms`.

        A trade reaches `low` (ticks) there or below, `high` there or above; None is never reached.
        """
        ...

    def iterate_offers(
        self, symbol: SpotSymbol, tick: Tick, side: Side
    ) -> Iterator[tuple[int, int]]:
        """Yield the offers after a trade: price (ticks), amount (steps), best first."""
        ...

    def compute_average_price(self, symbol: SpotSymbol, now_ms: int) -> Decimal | None:
        """Return the mean price of the last five minutes by volume, in ticks; None: unknown."""
        ...
