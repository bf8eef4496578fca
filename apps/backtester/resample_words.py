"""Where a timeframe is not stored: the command that builds it from smaller stored candles."""

import shlex

from backtester.settings import BacktesterSettings
from onetape.core.candles import SeriesKey
from onetape.core.errors import UsageError
from onetape.core.resample import check_multiple
from onetape.core.timeframes import Timeframe
from onetape.store.candles import closed_range, stored_series
from onetape.store.database import Store


def resample_words(store: Store, key: SeriesKey, settings: BacktesterSettings) -> str:
    """Return what else than fetching helps, in brackets; empty where nothing smaller is stored.

    Args:
        store: The open database.
        key: A series without a closed candle.
        settings: Of the run.
    """
    smaller = _largest_smaller(store, key)
    if smaller is None:
        return ""
    command = (
        f"uv run backfiller resample --exchange {key.exchange} --symbol {key.symbol} "
        f"--timeframe {smaller} --into {key.timeframe}"
    )
    db = "" if settings.db is None else f" --db {shlex.quote(str(settings.db))}"
    return f" (or build them from the stored {smaller} candles: {command}{db})"


def _largest_smaller(store: Store, key: SeriesKey) -> str | None:
    """Return the largest stored timeframe that whole candles of the wanted one are made of."""
    wanted, found = Timeframe.parse(key.timeframe), list[Timeframe]()
    for summary in stored_series(store):
        each = summary.key
        if (each.exchange, each.symbol) != (key.exchange, key.symbol):
            continue
        try:
            timeframe = Timeframe.parse(each.timeframe)
            check_multiple(timeframe, wanted)
        except UsageError:  # another series of the file, which is none of our concern
            continue
        if closed_range(store, each) is not None:
            found.append(timeframe)
    return max(found, key=lambda one: one.average_seconds).name if found else None
