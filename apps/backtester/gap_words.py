"""Candles that are missing in a range without a known cause, and what can be done about them."""

import shlex
from collections.abc import Sequence

from backtester.settings import BacktesterSettings
from onetape.core.candles import SeriesKey
from onetape.core.clock import utc_text
from onetape.core.quirks import quirks_of
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.store.database import Store
from onetape.store.gaps import UNPROVEN, ledger_of

Range = tuple[int, int]


def gap_text(
    store: Store,
    key: SeriesKey,
    settings: BacktesterSettings,
    bad: Sequence[Range],
    stored: Range,
    repair: str,
) -> str:
    """Return how many candles are missing, where first, and the remedies that can work.

    Args:
        store: The open database.
        key: The series.
        settings: Of the run.
        bad: Unexplained holes of the range, sorted; at least one.
        stored: Open of the first stored candle and the close of the last one, epoch seconds.
        repair: The command that gets the missing candles.
    """
    timeframe = Timeframe.parse(key.timeframe)
    missing = sum(timeframe.count_between(*hole) for hole in bad)
    many = f" in {len(bad)} places, first" if len(bad) > 1 else ""
    ends = f"{utc_text(stored[0])} to {utc_text(stored[1])} UTC"
    return (
        f"{key} has {counted(missing, 'candle')} missing{many} from {utc_text(bad[0][0])} UTC "
        f"(stored: {ends}); run: {repair}{_again(store, key, bad)} "
        f"({_accept(key, settings)}or go on without them: --allow-gaps)"
    )


def _again(store: Store, key: SeriesKey, bad: Sequence[Range]) -> str:
    """Return when to run the command, where the exchange has left candles out already."""
    known = ledger_of(store, key, bad[0][0], bad[-1][1])
    if quirks_of(key.exchange).newest_only or all(each.state != UNPROVEN for each in known):
        return ""
    return ", 2 minutes after the last run: a second answer fetches or proves the gap"


def _accept(key: SeriesKey, settings: BacktesterSettings) -> str:
    """Return the command that accepts a gap, where an exchange cannot prove old ones."""
    if not quirks_of(key.exchange).newest_only:
        return ""
    db = "" if settings.db is None else f" --db {shlex.quote(str(settings.db))}"
    return f"or accept the gap: uv run backfiller gaps --accept FROM..TO --because REASON{db}; "
