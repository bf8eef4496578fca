"""Kind of a table by its content: candles of a spot market, or similar rows.

Similar are rows of futures, of mark or index prices, and rows whose columns have another order.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Final

import numpy as np
from msgspec import Struct

from backfiller.formats.column_roles import FIELDS
from backfiller.formats.row_blocks import RowBlock, TableNotes
from onetape.core.candles import Candles
from onetape.core.errors import DataError

#: Number of columns after the sixth in Binance's rows: close time, quote volume, trades, three
#: more.
_BINANCE_OTHERS: Final = 6
#: Number of decimals with which Binance writes spot prices.
_SPOT_DECIMALS: Final = 8
#: Note on rows for which `is_unlike_spot` is true.
UNLIKE_SPOT: Final = (
    "Binance's archives of spot write 8 decimals, and this file has others: if it is of futures, "
    "whose archives have the same names, it does not belong among the candles of a spot market"
)
_PRICE_NAMES: Final = FIELDS[1:5]
_VALUE_NAMES: Final = FIELDS[1:]
#: Orders of the columns after the time in which exchanges publish rows.
_PUBLISHED: Final = (
    ("open", "high", "low", "close", "volume"),
    ("low", "high", "open", "close", "volume"),  # Coinbase
    ("open", "close", "high", "low", "volume"),  # KuCoin, Bitfinex
    ("open", "close", "low", "high", "volume"),  # HTX
    ("volume", "close", "high", "low", "open"),  # Gate
)
#: The usual order with open and close swapped.
_SWAPPED: Final = ("close", "high", "low", "open", "volume")
#: Minimum number of rows that distinguish open from close.
_FEWEST_ROWS: Final = 20
#: Factor by which the price jumps more between candles if open and close are swapped.
_JUMPS_APART: Final = 4
#: Number of rows that show the order of columns.
_ORDER_ROWS: Final = 50_000


def make_futures_header_error(source: str) -> DataError:
    """Return the error of a table with the header of Binance's futures; `source`: the table."""
    return DataError(
        f"{source} has the header of Binance's archives of futures (count, taker_buy_volume), and "
        "Onetape trades spot only; take the archive of spot, or add --spot if these are its candles"
    )


def make_futures_response_error(source: str, contract: str) -> DataError:
    """Return the error of an exchange's saved response about a contract.

    Args:
        source: The file.
        contract: The field that states it, with its value, such as `category linear`.
    """
    return DataError(
        f"{source} is a response about a contract ({contract}), and Onetape trades spot only; "
        "fetch the candles of the spot market, or add --spot if these are its candles"
    )


def is_unlike_spot(header: Sequence[str], first_row: Sequence[str]) -> bool:
    """Return whether rows of a Binance archive have other decimals than those of its spot archives.

    Args:
        header: The names of the columns; Binance's archives of spot have none.
        first_row: Cells of the first row.
    """
    decimals = {len(cell.partition(".")[2]) for cell in first_row[1:5]}
    is_archive = len(first_row) == len(FIELDS) + _BINANCE_OTHERS and not header
    return is_archive and decimals != {_SPOT_DECIMALS}


class KindCheck(Struct):
    """Refuses mark, index and premium prices by the columns after the sixth, which have no names.

    `add_block` is called with each block of the table, then `finish` once. Columns with names are
    not examined.
    """

    source: str
    is_spot: bool
    """Whether a flag states that these are candles of a spot market."""
    rows: int = 0
    """Number of rows with Binance's columns."""
    untraded_with_trades: int = 0
    """Number of rows with a count of trades and no volume."""
    foreign_quote_volume: int = 0
    """Number of rows whose quote volume does not fit volume and prices."""
    with_volume: int = 0
    """Number of rows with a volume."""

    def add_block(self, block: RowBlock) -> None:
        """Add one block of rows to the counts.

        Raises:
            DataError: the seventh column is neither Kraken's trades nor Binance's close time.
        """
        if not block.others:
            return
        self._check_seventh_column(block)
        if len(block.others) < _BINANCE_OTHERS:
            return
        volume, quote_volume, trades = block.prices[4], block.others[1], block.others[2]
        high, low = block.prices[1], block.prices[2]
        self.rows += len(volume)
        self.untraded_with_trades += int(np.count_nonzero((volume == 0) & (trades > 0)))
        traded = volume > 0
        self.with_volume += int(np.count_nonzero(traded))
        average = quote_volume[traded] / volume[traded]
        outside = (average > high[traded] * 1.01) | (average < low[traded] * 0.99)
        self.foreign_quote_volume += int(np.count_nonzero(outside))

    def finish(self, notes: TableNotes) -> None:
        """Check the counts of the whole table; add a note if it may be of futures.

        Raises:
            DataError: the table holds mark, index or premium prices.
        """
        if self.is_spot:
            return
        if self.rows > 1 and self.untraded_with_trades == self.rows:
            raise DataError(
                f"{self.source}: no row has a volume and each counts trades, as in Binance's "
                "archives of mark, index and premium prices; Onetape trades spot only (add --spot "
                "if these are candles of a spot market)"
            )
        if self.foreign_quote_volume * 2 > self.with_volume:
            notes.add(
                "its quote volume is not its volume times its price: if these are futures, they "
                "do not belong among the candles of a spot market"
            )

    def _check_seventh_column(self, block: RowBlock) -> None:
        """Check that it is Kraken's number of trades or Binance's close time.

        Raises:
            DataError: it is neither, so the order of the columns is unknown.
        """
        seventh = block.others[0]
        if len(block.others) == 1:
            foreign = seventh != np.rint(seventh)
        else:
            import pandas as pd

            times = pd.to_numeric(block.times, errors="coerce").to_numpy(dtype=np.float64)
            foreign = seventh <= times
        if np.any(foreign & np.isfinite(seventh)):
            raise DataError(
                f"{self.source} has no header and is neither Kraken's nor Binance's, so which "
                "column is which cannot be known; name them: --columns "
                "timestamp,open,high,low,close,volume, with - for any other"
            )


def find_better_column_order(candles: Candles) -> tuple[str, ...] | None:
    """Return the order of columns that makes the most rows sound; None: the present order does.

    A row is sound if high and low enclose open and close.

    Args:
        candles: Rows as they were read, oldest first, in the order time, open, high, low, close.

    Returns:
        The names of the columns as `--columns` takes them.
    """
    rows = candles[:_ORDER_ROWS]
    columns = (rows.open, rows.high, rows.low, rows.close, rows.volume)
    orders = {*((*order, "volume") for order in permutations(_PRICE_NAMES)), *_PUBLISHED}
    sound = {order: _count_sound_rows(order, columns) for order in sorted(orders)}
    most = max(sound.values())
    if sound[_VALUE_NAMES] >= most:
        return None
    best = [order for order in sound if sound[order] == most]
    published = [order for order in _PUBLISHED if order in best]
    # Rows are as sound with open and close swapped; a candle opens near the close before it.
    chosen = min(published or best, key=lambda order: _sum_jumps(order, columns))
    return ("timestamp", *chosen)


def has_swapped_open_and_close(candles: Candles) -> bool:
    """Return whether the columns open and close are swapped, by the jumps between candles.

    Both orders give sound candles, but a candle opens near the close of the candle before; with
    swapped columns the distance is far larger.

    Args:
        candles: Rows as they were read, oldest first; fewer than 20 show nothing.
    """
    rows = candles[:_ORDER_ROWS]
    if len(rows) < _FEWEST_ROWS:
        return False
    columns = (rows.open, rows.high, rows.low, rows.close, rows.volume)
    swapped = _sum_jumps(_SWAPPED, columns)
    return swapped * _JUMPS_APART < _sum_jumps(_VALUE_NAMES, columns)


#: Open, high, low, close and volume, each of shape (n,), in the order in which they were read.
Columns = tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]


def _count_sound_rows(order: tuple[str, ...], columns: Columns) -> int:
    """Return the number of sound rows if the columns have this order."""
    price = dict(zip(order, columns, strict=True))
    upper = np.maximum(price["open"], price["close"])
    lower = np.minimum(price["open"], price["close"])
    return int(np.count_nonzero((price["high"] >= upper) & (price["low"] <= lower)))


def _sum_jumps(order: tuple[str, ...], columns: Columns) -> float:
    """Return the sum of the distances between each open and the close before, in this order."""
    price = dict(zip(order, columns, strict=True))
    return float(np.nansum(np.abs(price["open"][1:] - price["close"][:-1])))
