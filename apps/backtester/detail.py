"""Finer candles inside a bar: which may be asked, where they come from, and what they said."""

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from backtester.load import Tape, repair_command
from backtester.settings import BacktesterSettings
from onetape.core.candles import Candles, SeriesKey, first_fault
from onetape.core.clock import utc_text
from onetape.core.digest import data_digest
from onetape.core.errors import DataError, UsageError
from onetape.core.resample import check_multiple
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.engine import BarExit, Detail, Levels, Rules, exit_in_bar
from onetape.engine.detail import reader_of
from onetape.engine.exits import TARGET, TRAILING_STOP
from onetape.store.candles import closed_range, last_closed_before, stored_series
from onetape.store.database import Store
from onetape.store.gaps import explained_gaps
from onetape.store.reading import closed_between, has_volume

if TYPE_CHECKING:
    from backtester.run import Backtest
    from onetape.core.digits import Digits

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


def finer_timeframe(settings: BacktesterSettings) -> Timeframe | None:
    """Return the timeframe that is asked about the inside of a candle, or None.

    Raises:
        UsageError: it is none, or the traded candles are not made of whole ones of it.
    """
    if settings.detail_timeframe is None:
        return None
    finer, traded = Timeframe.parse(settings.detail_timeframe), Timeframe.parse(settings.timeframe)
    if finer.seconds >= traded.seconds:
        raise UsageError(
            f"--detail-timeframe must be under the timeframe {traded.name}, found {finer.name}"
        )
    try:
        check_multiple(finer, traded)
    except UsageError as error:
        raise UsageError(
            f"--detail-timeframe must divide the timeframe {traded.name}, found {finer.name}; "
            f"choose one such as {'1m' if traded.seconds > 60 else '1s'}"
        ) from error
    return finer


def detail_from(
    store: Store, tape: Tape, settings: BacktesterSettings, rules: Rules
) -> Detail | None:
    """Return the reader of finer candles; None where none are asked, or there is nothing to ask.

    Raises:
        UsageError: as `finer_timeframe` says.
        DataError: none is stored in the range; the text has the command that fetches them.
    """
    finer = finer_timeframe(settings)
    if finer is None:
        return None
    key = SeriesKey(tape.key.exchange, tape.key.symbol, finer.name)
    last = last_closed_before(store, key, tape.end)
    if last is None or last < tape.start:
        raise DataError(_nothing_text(store, key, tape, settings))
    if not rules.exits.has_levels:
        return None
    return Detail(
        Timeframe.parse(tape.key.timeframe),
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


def detail_in_memory(
    store: Store, tape: Tape, settings: BacktesterSettings, rules: Rules
) -> Detail | None:
    """Return the same for a reader that has no store: all finer candles of the range, read now.

    Raises:
        OnetapeError: as `detail_from` says.
    """
    detail = detail_from(store, tape, settings, rules)
    if detail is None:
        return None
    candles = detail.read(tape.start, tape.end)
    return msgspec.structs.replace(detail, read=reader_of(candles))


def detail_identity(detail: Detail | None, tape: Tape) -> dict[str, Any] | None:
    """Return what the results of a run owe to its finer candles."""
    if detail is None:
        return None
    absent = hashlib.sha256(repr(detail.absent).encode()).hexdigest()
    candles = data_digest(detail.read(tape.start, tape.end))
    return {"timeframe": detail.finer.name, "candles": candles, "absent": absent}


def told_digest(backtest: "Backtest") -> str:
    """Return the SHA-256, in hex, of what the finer candles said in a run."""
    said = [sorted(part.result.book.told.items()) for part in (backtest, *backtest.others)]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def detail_words(backtest: "Backtest") -> dict[str, str]:
    """Return what finer candles were asked and how often they knew, for the assumptions."""
    finer, rules = backtest.settings.detail_timeframe, backtest.result.rules
    if finer is None:
        return {}
    if not rules.exits.has_levels:
        return {"detail": f"{finer} candles are asked nothing: there is no stop and no target"}
    parts = (backtest, *backtest.others)
    told = [each for part in parts for each in part.result.book.told.values()]
    exits = [each for each in told if not each.goes_on]
    known = sum(each.silence is None for each in exits)
    went_on = len(told) - len(exits)
    trails = rules.exits.trailing_stop is not None
    return {
        "detail": f"{finer} candles tell whether stop or target came first, "
        f"{'move the trailing stop, ' if trails else ''}and fill at its open a "
        f"level that one of them opens beyond: they told {known:,} of "
        f"{counted(len(exits), 'exit')} inside a candle"
        + (f", and that {counted(went_on, 'candle')} ended no position" if went_on else "")
    }


def search_note(detail: Detail, tape: Tape) -> str:
    """Return what a reader of a search must know of its finer candles."""
    stored = len(detail.read(tape.start, tape.end).timestamp)
    due = detail.finer.count_between(tape.start, tape.end)
    return (
        f"{detail.finer.name} candles tell what came first in a candle where they are stored: "
        f"{stored:,} of {due:,} of the range are"
    )


def explained_exit(backtest: "Backtest", bar: int, levels: Levels) -> list[str]:
    """Return who decided how a candle ended a position, where its own prices do not say it all.

    Args:
        backtest: The run.
        bar: Of the candles that were traded: one inside which a level ended a position.
        levels: That the position had in it.
    """
    candles, book = backtest.result.candles, backtest.result.book
    open_, high, low = (float(one[bar]) for one in (candles.open, candles.high, candles.low))
    own = exit_in_bar(open_, high, low, levels)
    told, finer = book.told.get(bar), backtest.settings.detail_timeframe
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
    did = _did(told.found, levels, backtest.digits)
    return [f"{inside}: {who} decided, it {did} first" if is_ambiguous else f"{who} {did}"]


def explained_survival(backtest: "Backtest", bar: int) -> list[str]:
    """Return why a candle that may have reached a trailing stop did not end the position."""
    told = backtest.result.book.told.get(bar)
    if told is None or not told.goes_on:
        return []
    finer = backtest.settings.detail_timeframe
    return [f"{_MOVED[0]}: the {finer} candles show that the price was never under the stop"]


def _did(found: BarExit, levels: Levels, digits: "Digits") -> str:
    """Return how a finer candle ended a position."""
    if found.kind == TRAILING_STOP and found.price != levels.stop:
        return f"met the trailing stop at {digits.price_text(found.price)}"
    level = "target" if found.kind == TARGET else "stop"
    beyond = found.price not in (levels.stop, levels.target)
    return f"opened beyond the {level}" if beyond else f"reached the {level}"


def _nothing_text(store: Store, key: SeriesKey, tape: Tape, settings: BacktesterSettings) -> str:
    stored = closed_range(store, key)
    if stored is not None:
        after = Timeframe.parse(key.timeframe).next(stored[1])
        has = f"stored: {utc_text(stored[0])} to {utc_text(after)} UTC"
    else:
        traded = Timeframe.parse(tape.key.timeframe)
        own = (one.key for one in stored_series(store) if one.key.names[:2] == key.names[:2])
        others = sorted(
            (Timeframe.parse(each.timeframe) for each in own), key=lambda it: it.seconds
        )
        names = [each.name for each in others if each.seconds < traded.seconds]
        has = f"stored under {traded.name}: {', '.join(names) or 'nothing'}"
    return (
        f"--detail-timeframe {key.timeframe}: no closed candle of {key} is stored from "
        f"{utc_text(tape.start)} to {utc_text(tape.end)} UTC ({has}); run: "
        f"{repair_command(key, settings, tape.start, tape.end)} (or leave the flag out)"
    )
