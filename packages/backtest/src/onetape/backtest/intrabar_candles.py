"""Intrabar candles of a backtest: their source, and texts on the exits that they decided."""

import hashlib
from typing import Any, Final

import msgspec

from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow, SymbolRun
from onetape.backtest.repair_commands import format_repair_command
from onetape.core.candles import Candles, SeriesKey, find_first_fault
from onetape.core.clock import format_utc
from onetape.core.digest import compute_data_digest
from onetape.core.digits import Digits
from onetape.core.errors import DataError
from onetape.core.timeframes import Timeframe
from onetape.engine import BarExit, IntrabarSource, Levels, find_exit_in_bar
from onetape.engine.exits import TARGET, TRAILING_STOP, find_exit_after_limit
from onetape.engine.intrabar import make_candle_reader
from onetape.store.candles import (
    read_closed_range,
    read_last_closed_timestamp,
    read_series_summaries,
)
from onetape.store.database import Store
from onetape.store.gaps import read_explained_gaps
from onetape.store.reading import has_volume, read_closed_between

_UNDECIDED: Final = {
    "missing": "a {} candle is missing",
    "both": "the first {} candle that reached one allows both",
    "unlike": "the {} candles contradict this one",
}
#: Reasons why a candle is ambiguous, each with the exit that is then taken.
_BOTH: Final = ("stop and target both lie inside this candle", "taken as stopped, the worse exit")
_MOVED: Final = (
    "the high of this candle moves the trailing stop over its low",
    "taken at the worst price that it allows",
)


def load_intrabar(
    store: Store, window: CandleWindow, config: BacktestConfig, *, has_levels: bool
) -> IntrabarSource | None:
    """Return the source of the intrabar candles; None without --timeframe-detail or without levels.

    Args:
        store: The open database.
        window: Candles of the run.
        config: Configuration of the symbol.
        has_levels: Whether account or strategy may give a stop or a target.

    Raises:
        DataError: no candle is stored in the range; the text has the command that fetches them.
    """
    intrabar_timeframe = config.get_intrabar_timeframe()
    if intrabar_timeframe is None:
        return None
    key = SeriesKey(window.key.exchange, window.key.symbol, intrabar_timeframe.name)
    last = read_last_closed_timestamp(store, key, window.end)
    if last is None or last < window.start:
        raise DataError(_describe_nothing_stored(store, key, window, config))
    if not has_levels:
        return None
    return IntrabarSource(
        Timeframe.parse(window.key.timeframe),
        intrabar_timeframe,
        lambda start, end: _check_candles(read_closed_between(store, key, start, end), key),
        read_explained_gaps(store, key),
        has_volume(store, key),
    )


def _check_candles(candles: Candles, key: SeriesKey) -> Candles:
    """Return the candles after a check of each row.

    Raises:
        DataError: a row is no valid candle; plain SQL can switch off the guards of the table.
    """
    found = find_first_fault(candles)
    if found is not None:
        index, fault = found
        raise DataError(
            f"cannot read the candle {format_utc(int(candles.timestamp[index]))} UTC of {key}: "
            f"{fault}; delete that row and backfill it again"
        )
    return candles


def load_intrabar_into_memory(
    store: Store, window: CandleWindow, config: BacktestConfig
) -> IntrabarSource | None:
    """Return a source that holds all intrabar candles of the range in memory, without the store.

    Raises:
        OnetapeError: see `load_intrabar`.
    """
    # The strategy of a trial may give stops: this is known once it is evaluated.
    intrabar = load_intrabar(store, window, config, has_levels=True)
    if intrabar is None:
        return None
    candles = intrabar.read(window.start, window.end)
    return msgspec.structs.replace(intrabar, read=make_candle_reader(candles))


def compute_intrabar_identity(
    intrabar: IntrabarSource | None, window: CandleWindow
) -> dict[str, Any] | None:
    """Return timeframe and digests of the intrabar candles that the results depend on."""
    if intrabar is None:
        return None
    absent = hashlib.sha256(repr(intrabar.absent).encode()).hexdigest()
    candles = compute_data_digest(intrabar.read(window.start, window.end))
    return {"timeframe": intrabar.intrabar_timeframe.name, "candles": candles, "absent": absent}


def describe_intrabar_candles(intrabar: IntrabarSource, window: CandleWindow) -> str:
    """Return a note with the number of intrabar candles that are stored in the range."""
    stored = len(intrabar.read(window.start, window.end).timestamp)
    due = intrabar.intrabar_timeframe.count_between(window.start, window.end)
    return (
        f"{intrabar.intrabar_timeframe.name} candles decide "
        f"what came first in a candle where they are stored: {stored:,} of {due:,} of the range are"
    )


def explain_exit(
    run: SymbolRun, timeframe: str | None, bar: int, levels: Levels, limit: float
) -> list[str]:
    """Return the reason of an exit in a candle whose own prices allow several exits.

    Args:
        run: The symbol's run.
        timeframe: Timeframe of the intrabar candles; None: none were used.
        bar: Index of the candle, inside which a level ended a position, among the traded ones.
        levels: Levels of the position in the bar.
        limit: Price of the entry before slippage: the limit, if it was filled inside the bar.
    """
    candles, fill_log = run.result.candles, run.result.fill_log
    open_, high, low = (float(one[bar]) for one in (candles.open, candles.high, candles.low))
    by_bar = find_exit_in_bar(open_, high, low, levels)
    if bar in fill_log.inside_entries:
        by_bar = find_exit_after_limit(limit, high, low, levels)
    inside = fill_log.intrabar_exits.get(bar)
    is_ambiguous = by_bar is not None and by_bar.is_ambiguous
    cause, taken = _BOTH if high >= levels.target else _MOVED
    if inside is None or inside.exit is None or inside.undecided is not None:
        why = (
            "no intrabar candles were used (--timeframe-detail)"
            if inside is None or inside.undecided is None
            else _UNDECIDED[inside.undecided].format(timeframe)
        )
        if is_ambiguous:
            return [f"{cause}: {taken}, because {why}"]
        return [] if inside is None else [f"filled at its level, because {why}"]
    candle = f"the {timeframe} candle of {format_utc(inside.timestamp)} UTC"
    event = _describe_intrabar_exit(inside.exit, levels, run.digits)
    return [f"{cause}: {candle} decided, it {event} first" if is_ambiguous else f"{candle} {event}"]


def explain_no_exit(run: SymbolRun, timeframe: str | None, bar: int) -> list[str]:
    """Return the reason why a candle that may have reached a trailing stop ended no position."""
    inside = run.result.fill_log.intrabar_exits.get(bar)
    if inside is None or not inside.is_position_open:
        return []
    if bar in run.result.fill_log.inside_entries:
        return [f"the {timeframe} candles show that the price reached no level after the fill"]
    return [f"{_MOVED[0]}: the {timeframe} candles show that the price was never under the stop"]


def _describe_intrabar_exit(found: BarExit, levels: Levels, digits: Digits) -> str:
    """Return the text on the exit of a position in an intrabar candle."""
    if found.kind == TRAILING_STOP and found.price != levels.stop:
        return f"met the trailing stop at {digits.format_price(found.price)}"
    level = "target" if found.kind == TARGET else "stop"
    beyond = found.price not in (levels.stop, levels.target)
    return f"opened beyond the {level}" if beyond else f"reached the {level}"


def _describe_nothing_stored(
    store: Store, key: SeriesKey, window: CandleWindow, config: BacktestConfig
) -> str:
    """Return the text that no intrabar candles of the range are stored, with a remedy."""
    stored = read_closed_range(store, key)
    if stored is not None:
        after = Timeframe.parse(key.timeframe).next(stored[1])
        has = f"stored: {format_utc(stored[0])} to {format_utc(after)} UTC"
    else:
        traded = Timeframe.parse(window.key.timeframe)
        keys = (one.key for one in read_series_summaries(store))
        timeframes = sorted(
            (Timeframe.parse(each.timeframe) for each in keys if each.names[:2] == key.names[:2]),
            key=lambda one: one.seconds,
        )
        names = [each.name for each in timeframes if each.seconds < traded.seconds]
        has = f"stored under {traded.name}: {', '.join(names) or 'nothing'}"
    return (
        f"--timeframe-detail {key.timeframe}: no closed candle of {key} is stored from "
        f"{format_utc(window.start)} to {format_utc(window.end)} UTC ({has}); run: "
        f"{format_repair_command(key, config, window.start, window.end)} (or leave the flag out)"
    )
