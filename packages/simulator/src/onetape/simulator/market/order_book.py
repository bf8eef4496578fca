"""The order book after each trade; depth, tickers and market orders all use it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from onetape.simulator.market.prng import extract_16_bits, hash_indices, make_key
from onetape.simulator.market.symbols import SpotSymbol

#: Number of offers on a side; Binance lists 5,000 at most.
LEVELS: Final = 1_000
#: Side of the offers: a buyer takes `ask`, a seller takes `bid`.
BookSide = Literal["bid", "ask"]
BOTH_SIDES: Final[tuple[BookSide, BookSide]] = ("bid", "ask")


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Best bid and ask at a moment, and the trade before it."""

    update_id: int
    """Binance's `lastUpdateId`: the id of the trade before."""
    bid: int
    """Highest price at which the market buys, in ticks; at least one tick below `ask`."""
    bid_amount: int
    """Amount offered at `bid`, in steps."""
    ask: int
    """Lowest price at which the market sells, in ticks."""
    ask_amount: int
    """Amount offered at `ask`, in steps."""
    last: int
    """Price of the last trade, in ticks."""
    last_amount: int
    """Amount of the last trade, in steps."""

    def iterate_levels(self, side: BookSide) -> Iterator[tuple[int, int]]:
        """Yield price (ticks) and amount (steps) of each offer, best first.

        The offers lie a tick apart, and each is larger than the one before by the size of the
        first.
        """
        bids = side == "bid"
        price, size = (self.bid, self.bid_amount) if bids else (self.ask, self.ask_amount)
        for level in range(1, LEVELS + 1):
            if price < 1:
                return
            yield price, size * level
            price += -1 if bids else 1


def make_book_after_trade(
    seed: int, symbol: SpotSymbol, trade_id: int, trade: tuple[int, int, bool]
) -> OrderBook:
    """Return the book that a trade left: its taker hit one side, the other is a tick away.

    Args:
        seed: Seed of the market.
        symbol: Symbol of the market.
        trade_id: Trade id of the trade.
        trade: Price (ticks), amount (steps), and whether the taker bought.
    """
    price, amount, bought = trade
    bid = max(price - 1, 1) if bought else price
    noise = hash_indices(make_key(seed, symbol.id, "book"), np.array([trade_id], dtype=np.int64))
    sizes = [1 + (int(extract_16_bits(noise, part)[0]) * symbol.lot >> 13) for part in (0, 1)]
    return OrderBook(trade_id, bid, sizes[0], bid + 1, sizes[1], price, amount)
