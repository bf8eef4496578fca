"""Bars: candles as integer columns, and how longer bars are built from shorter ones.

Prices are whole ticks and amounts whole steps of their market (`symbols.SpotSymbol`), so sums are
exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from onetape.core.timeframes import Timeframe
from onetape.simulator.market.prng import BoolArray, IntArray

#: Every interval of Binance spot but 1s.
INTERVALS: Final = (
    "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M",
)  # fmt: skip
TIMEFRAMES: Final = {name: Timeframe.parse(name) for name in INTERVALS}


@dataclass(frozen=True, slots=True)
class Bars:
    """Candles of one market, oldest first; all arrays have shape (n,)."""

    timestamp: IntArray
    """Opens of the bars, epoch seconds UTC, strictly increasing."""
    open: IntArray
    """First price of each bar, in ticks."""
    high: IntArray
    """Highest price of each bar, in ticks."""
    low: IntArray
    """Lowest price of each bar, in ticks."""
    close: IntArray
    """Last price of each bar, in ticks."""
    volume: IntArray
    """Traded amount of each bar, in steps."""
    quote: IntArray
    """Traded value of each bar, in ticks times steps."""
    trades: IntArray
    """Number of trades of each bar."""
    first_id: IntArray
    """Id of the first trade of each bar; ids have no gaps, so the last is first_id + trades - 1."""
    buy_volume: IntArray
    """The part of `volume` whose taker bought."""
    buy_quote: IntArray
    """The part of `quote` whose taker bought."""

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.timestamp)

    def __getitem__(self, rows: slice) -> "Bars":
        """Return the bars of a slice, as views of the same memory."""
        return Bars(*(column[rows] for column in self.get_columns()))

    def get_columns(self) -> tuple[IntArray, ...]:
        """Return the columns in the order of the fields."""
        return tuple(getattr(self, name) for name in COLUMNS)

    def select_between(self, start: int, end: int) -> "Bars":
        """Return the bars that open in `[start, end)`, epoch seconds."""
        low, high = np.searchsorted(self.timestamp, (start, end))
        return self[int(low) : int(high)]


COLUMNS: Final = tuple(field.name for field in fields(Bars))
NO_BARS: Final = Bars(*(np.empty(0, dtype=np.int64) for _ in COLUMNS))


def concat_bars(parts: Sequence[Bars]) -> Bars:
    """Return the rows of several bars as one, in the order given."""
    full = [part for part in parts if len(part)]
    if len(full) <= 1:
        return full[0] if full else NO_BARS
    columns = zip(*(part.get_columns() for part in full), strict=True)
    return Bars(*(np.concatenate(column) for column in columns))


def compute_opens(timeframe: Timeframe, start: int, end: int) -> IntArray:
    """Return the opens of all candles that open in `[start, end)`, epoch seconds, shape (n,)."""
    first = timeframe.ceil(start)
    if not timeframe.is_month:
        return np.arange(first, max(end, first), timeframe.seconds, dtype=np.int64)
    opens: list[int] = []
    while first < end:
        opens.append(first)
        first = timeframe.next(first)
    return np.array(opens, dtype=np.int64)


def flatten_untraded_bars(picked: Bars, opens: IntArray, is_untraded: BoolArray) -> Bars:
    """Return a bar for each open; an open without a trade gets a flat bar of volume 0.

    A flat bar has the close before it as its four prices.

    Args:
        picked: Bar of each open, or the last bar before it if the open has no trade; shape (n,).
        opens: Opens of the bars, epoch seconds, shape (n,).
        is_untraded: Whether an open has no trade, shape (n,).
    """
    traded, close = (~is_untraded).astype(np.int64), picked.close
    return Bars(
        timestamp=opens,
        open=np.where(is_untraded, close, picked.open),
        high=np.where(is_untraded, close, picked.high),
        low=np.where(is_untraded, close, picked.low),
        close=close,
        volume=picked.volume * traded,
        quote=picked.quote * traded,
        trades=picked.trades * traded,
        # The id of the next trade, as if that were the first trade of this bar.
        first_id=picked.first_id + np.where(is_untraded, picked.trades, 0),
        buy_volume=picked.buy_volume * traded,
        buy_quote=picked.buy_quote * traded,
    )


def group_bars(bars: Bars, opens: IntArray, *, has_volume: bool = True) -> Bars:
    """Return one bar for each open that has bars: the bars from that open to the next one.

    As on Binance, a bar without a trade (volume 0 and a single price) supplies no price to a longer
    bar that has trades. A bar with volume 0 whose price moved, as in recorded files, counts as
    traded.

    Args:
        bars: Bars to group, none before `opens[0]`.
        opens: Opens of the longer bars, epoch seconds, ascending, shape (k,).
        has_volume: Whether the source of the bars reports volume; where it does not, every bar
            counts as traded.

    Returns:
        At most k bars; an open whose range has no bars gives none.
    """
    if not len(bars):
        return NO_BARS
    if len(bars) == len(opens) == 1 and bars.volume[0] > 0:
        # A fast path for the forming candle of a minute, which is read many times a second.
        return Bars(opens, *bars.get_columns()[1:])
    edge = np.searchsorted(bars.timestamp, opens)
    ends = np.append(edge[1:], len(bars))
    full = ends > edge
    edge, ends = edge[full], ends[full]
    is_untraded = (bars.volume == 0) & (bars.high == bars.low) & has_volume
    opened, high, low, close = _compute_group_prices(bars, is_untraded, edge, ends)
    return Bars(
        opens[full],
        opened,
        high,
        low,
        close,
        np.add.reduceat(bars.volume, edge),
        _sum_groups(bars.quote, edge),
        np.add.reduceat(bars.trades, edge),
        bars.first_id[edge],
        np.add.reduceat(bars.buy_volume, edge),
        _sum_groups(bars.buy_quote, edge),
    )


def merge_two_bars(bar: Bars, later: Bars) -> Bars:
    """Return one bar that lasts from the open of the first to the close of the second.

    The bar equals the one that `group_bars` makes of both, and takes a fraction of the time.

    Args:
        bar: One bar.
        later: One bar after it; both have trades.
    """
    early, late = ([column.tolist()[0] for column in each.get_columns()] for each in (bar, later))
    return Bars(
        *map(
            make_column,
            (
                *early[:2],
                max(early[2], late[2]),
                min(early[3], late[3]),
                late[4],
                *(first + second for first, second in zip(early[5:8], late[5:8], strict=True)),
                early[8],
                *(first + second for first, second in zip(early[9:], late[9:], strict=True)),
            ),
        )
    )


def compute_values(price: IntArray, amount: IntArray) -> IntArray:
    """Return price times amount, shape (n,).

    The elements are Python's integers (dtype object) where sums of a few might exceed 64 bits.
    """
    if len(price) and float(np.max(price.astype(float) * amount)) >= 2.0**59:
        price = price.astype(object)
    return price * amount


def make_column(value: int) -> IntArray:
    """Return a column of one row, as a Python integer where it is too large for 64 bits."""
    return np.array([value], dtype=np.int64 if abs(value) < 2**63 else object)


def _sum_groups(values: IntArray, edge: IntArray) -> IntArray:
    """Return exact sums of groups: as Python's integers where 64 bits might not hold them."""
    if (
        float(values.max()) * len(values) >= 2.0**62
        and float(values.astype(float).sum()) >= 2.0**62
    ):
        values = values.astype(object)
    return np.add.reduceat(values, edge)


def _compute_group_prices(
    bars: Bars, is_untraded: BoolArray, edge: IntArray, ends: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return open, high, low and close of the groups `[edge, ends)`, from their traded bars."""
    high, low, close = bars.high, bars.low, bars.close[ends - 1]
    if not is_untraded.any():
        highest, lowest = np.maximum.reduceat(high, edge), np.minimum.reduceat(low, edge)
        return bars.open[edge], highest, lowest, close
    # Row of the next traded bar for each group; a group without one is flat at its close.
    traded = np.append(np.flatnonzero(~is_untraded), len(bars))
    first = traded[np.searchsorted(traded, edge)]
    has_no_trade = first >= ends
    last = traded[np.maximum(np.searchsorted(traded, ends) - 1, 0)]
    highest = np.maximum.reduceat(np.where(is_untraded, 0, high), edge)
    lowest = np.minimum.reduceat(np.where(is_untraded, np.iinfo(np.int64).max, low), edge)
    opened = bars.open[np.minimum(first, len(bars) - 1)]
    return (
        np.where(has_no_trade, close, opened),
        np.where(has_no_trade, close, highest),
        np.where(has_no_trade, close, lowest),
        np.where(has_no_trade, close, bars.close[np.minimum(last, len(bars) - 1)]),
    )
