"""Read bid and ask of all stored tickers of a market, from which a spread is measured."""

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import FloatArray
from onetape.store.database import Store

_ROW: Final = np.dtype([("timestamp_ms", np.int64), ("bid", np.float64), ("ask", np.float64)])


class Quotes(Struct, frozen=True):
    """Best bid and best ask of a market at n moments, oldest first; columns of shape (n,)."""

    timestamp_ms: NDArray[np.int64]
    """Time of each ticker, epoch milliseconds."""
    bid: FloatArray
    """Highest price of an order to buy, quote currency; 0: the exchange sent none."""
    ask: FloatArray
    """Lowest price of an order to sell, quote currency; 0: the exchange sent none."""


def read_quotes(store: Store, exchange: str, symbol: str) -> Quotes:
    """Return bid and ask of every stored ticker of a market.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp_ms, coalesce(bid, 0.0), coalesce(ask, 0.0) FROM ticker_data "
            "WHERE exchange = ? AND symbol = ? ORDER BY timestamp_ms",
            (exchange, symbol),
        )
        table = np.fromiter(rows, dtype=_ROW)
    return Quotes(*(table[name].copy() for name in ("timestamp_ms", "bid", "ask")))


def read_quoted_markets(store: Store) -> list[tuple[str, str]]:
    """Return exchange and symbol of each market with stored tickers, sorted.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT DISTINCT exchange, symbol FROM ticker_data ORDER BY 1, 2"
        ).fetchall()
    return [(exchange, symbol) for exchange, symbol in rows]
