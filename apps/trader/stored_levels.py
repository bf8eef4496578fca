"""Prices of a strategy, which are stored with each decision next to the indicators.

A new session reads the levels of an open position from there, so a restart does not change them.
"""

from typing import Final

from onetape.core.strategy_levels import LevelRow, parse_level_values, update_levels
from onetape.store.database import Store
from onetape.store.ledger import DecidedSeries, read_decisions_with_levels

#: No candle is later, epoch seconds.
_END: Final = 1 << 60


def read_decided_levels(
    store: Store, series: DecidedSeries, start: int, end: int
) -> dict[int, LevelRow]:
    """Return the levels of candles that sessions of a series decided on, by their opens.

    Args:
        store: The open database.
        series: Account and market.
        start: First candle, epoch seconds.
        end: End of the range, exclusive.
    """
    rows = read_decisions_with_levels(store, series, start, end)
    found = {timestamp: parse_level_values(values) for timestamp, _, values in rows}
    return {timestamp: row for timestamp, row in found.items() if row is not None}


def read_position_levels(
    store: Store,
    series: DecidedSeries,
    signal_timestamp: int,
    entered: int,
    *,
    is_limit: bool = False,
) -> LevelRow | None:
    """Return the levels of the strategy that are in force for an open position; None: none.

    Args:
        store: The open database.
        series: Account and market.
        signal_timestamp: Open of the candle whose BUY led to the entry, epoch seconds.
        entered: Open of the candle that filled the entry, epoch seconds.
        is_limit: Whether the entry was a limit order, which no later BUY has changed.
    """
    held: LevelRow | None = None
    for timestamp, signal, values in read_decisions_with_levels(
        store, series, signal_timestamp, _END
    ):
        row = parse_level_values(values)
        is_of_entry = signal > 0 and timestamp < entered
        if is_limit:
            is_of_entry = timestamp == signal_timestamp
        held = row if is_of_entry else update_levels(held, row)
    return held
