"""Finer candles inside a bar: which may be asked, where they come from, and what they said."""

import hashlib
from typing import Any, Final

import msgspec

from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow, SymbolRun
from onetape.backtest.remedies import repair_command
from onetape.core.candles import Candles, SeriesKey, first_fault
from onetape.core.clock import utc_text
from onetape.core.digest import data_digest
from onetape.core.digits import Digits
from onetape.core.errors import DataError
from onetape.core.timeframes import Timeframe
from onetape.engine import BarExit, Detail, Levels, exit_in_bar
from onetape.engine.exits import TARGET, TRAILING_STOP
from onetape.engine.intrabar import reader_of
from onetape.store.candles import closed_range, last_closed_before, stored_series
from onetape.store.database import Store
from onetape.store.gaps import explained_gaps
from onetape.store.reading import closed_between, has_volume

_SILENCES: Final = {
    "missing": "a {} candle is missing",
    "both": "the first {} candle that reached one allows both",
    "unlike": "the {} candles contradict this one",
}
#: Why a candle is ambiguous, and how it is taken then.
_BOTH: Final = ("stop and target both lie inside this candle", "taken as stopped, the worse")
_MOVED: Final = (
    "the high of this candle moves the trailing stop over its low",
    "taken at the worst price that it allows",
)


def detail_from(store: Store, window: CandleWindow, config: BacktestConfig) -> Detail | None:
    """Return the reader of finer candles; None where none are asked, or there is nothing to ask.

    Raises:
        DataError: none is stored in the range; the text has the command that fetches them.
    """
    finer = config.intrabar_timeframe()
    if finer is None:
        return None
    key = SeriesKey(window.key.exchange, window.key.symbol, finer.name)
    last = last_closed_before(store, key, window.end)
    if last is None or last < window.start:
        raise DataError(_nothing_text(store, key, window, config))
    if not config.account.exits.has_levels:
        return None
    return Detail(
        Timeframe.parse(window.key.timeframe),
        finer,
        lambda start, end: _sound(closed_between(store, key, start, end), key),
        explained_gaps(store, key),
        has_volume(store, key),
    )


def _sound(candles: Candles, key: SeriesKey) -> Candles:
    """Return the candles.

    Raises:
        DataError: a row breaks the rules of the table, whose guards plain SQL can switch off.
    """
    found = first_fault(candles)
    if found is not None:
        index, fault = found
        raise DataError(
            f"cannot read the candle {utc_text(int(candles.timestamp[index]))} UTC of {key}: "
            f"{fault}; delete that row and backfill it again"
        )
    return candles


def detail_in_memory(store: Store, window: CandleWindow, config: BacktestConfig) -> Detail | None:
    """Return the same for a reader that has no store: all finer candles of the range, read now.

    Raises:
        OnetapeError: as `detail_from` says.
    """
    detail = detail_from(store, window, config)
    if detail is None:
        return None
    candles = detail.read(window.start, window.end)
    return msgspec.structs.replace(detail, read=reader_of(candles))


def detail_identity(detail: Detail | None, window: CandleWindow) -> dict[str, Any] | None:
    """Return what the results of a run owe to its finer candles."""
    if detail is None:
        return None
    absent = hashlib.sha256(repr(detail.absent).encode()).hexdigest()
    candles = data_digest(detail.read(window.start, window.end))
    return {"timeframe": detail.finer.name, "candles": candles, "absent": absent}


def intrabar_note(detail: Detail, window: CandleWindow) -> str:
    """Return what a reader of an optimization must know of its finer candles."""
    stored = len(detail.read(window.start, window.end).timestamp)
    due = detail.finer.count_between(window.start, window.end)
    return (
        f"{detail.finer.name} candles tell what came first in a candle where they are stored: "
        f"{stored:,} of {due:,} of the range are"
    )


def explained_exit(run: SymbolRun, finer: str | None, bar: int, levels: Levels) -> list[str]:
    """Return who decided how a candle ended a position, where its own prices do not say it all.

    Args:
        run: The symbol's run.
        finer: Timeframe of the finer candles, or None.
        bar: Of the candles that were traded: one inside which a level ended a position.
        levels: That the position had in it.
    """
    candles, book = run.result.candles, run.result.book
    open_, high, low = (float(one[bar]) for one in (candles.open, candles.high, candles.low))
    own = exit_in_bar(open_, high, low, levels)
    told = book.told.get(bar)
    is_ambiguous = own is not None and own.is_ambiguous
    inside, taken = _BOTH if high >= levels.target else _MOVED
    if told is None or told.found is None or told.silence is not None:
        why = (
            "no finer candles were asked (--detail-timeframe)"
            if told is None or told.silence is None
            else _SILENCES[told.silence].format(finer)
        )
        if is_ambiguous:
            return [f"{inside}: {taken}, because {why}"]
        return [] if told is None else [f"filled at its level, because {why}"]
    who = f"the {finer} candle of {utc_text(told.opened)} UTC"
    did = _did(told.found, levels, run.digits)
    return [f"{inside}: {who} decided, it {did} first" if is_ambiguous else f"{who} {did}"]


def explained_survival(run: SymbolRun, finer: str | None, bar: int) -> list[str]:
    """Return why a candle that may have reached a trailing stop did not end the position."""
    told = run.result.book.told.get(bar)
    if told is None or not told.goes_on:
        return []
    return [f"{_MOVED[0]}: the {finer} candles show that the price was never under the stop"]


def _did(found: BarExit, levels: Levels, digits: Digits) -> str:
    """Return how a finer candle ended a position."""
    if found.kind == TRAILING_STOP and found.price != levels.stop:
        return f"met the trailing stop at {digits.price_text(found.price)}"
    level = "target" if found.kind == TARGET else "stop"
    beyond = found.price not in (levels.stop, levels.target)
    return f"opened beyond the {level}" if beyond else f"reached the {level}"


def _nothing_text(
    store: Store, key: SeriesKey, window: CandleWindow, config: BacktestConfig
) -> str:
    stored = closed_range(store, key)
    if stored is not None:
        after = Timeframe.parse(key.timeframe).next(stored[1])
        has = f"stored: {utc_text(stored[0])} to {utc_text(after)} UTC"
    else:
        traded = Timeframe.parse(window.key.timeframe)
        own = (one.key for one in stored_series(store) if one.key.names[:2] == key.names[:2])
        others = sorted(
            (Timeframe.parse(each.timeframe) for each in own), key=lambda it: it.seconds
        )
        names = [each.name for each in others if each.seconds < traded.seconds]
        has = f"stored under {traded.name}: {', '.join(names) or 'nothing'}"
    return (
        f"--detail-timeframe {key.timeframe}: no closed candle of {key} is stored from "
        f"{utc_text(window.start)} to {utc_text(window.end)} UTC ({has}); run: "
        f"{repair_command(key, config, window.start, window.end)} (or leave the flag out)"
    )
