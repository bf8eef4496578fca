"""Whose candles a table holds: by flags, by names, and by the distance between its rows."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from backfiller.formats.parts import Part, parts_of
from onetape.cli.output import note
from onetape.core.candles import IntArray
from onetape.core.errors import UsageError
from onetape.core.timeframes import Timeframe

#: Lengths that the distance between rows may stand for.
_TIMEFRAMES: Final = {
    Timeframe.parse(name).seconds: name
    for name in (
        "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    )
}  # fmt: skip
_SHORTEST_MONTH: Final = 28 * 86_400
#: Fewer rows may be far apart because candles are missing.
_STEPS_THAT_TELL: Final = 10
_EXCHANGE_ID: Final = re.compile(r"[a-z][a-z0-9_]*")


class Wanted(Struct, frozen=True):
    """What flags say of the files; None: their names and contents must."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    time_unit: str | None = None
    """What times count: s, ms, us, ns or iso."""
    drop_last: bool = False
    """Leave out the last candle of each table, which may not have been over when it was made."""


class Planned(Struct, frozen=True):
    """A table, and whose candles it holds as far as is known before it is read."""

    part: Part
    exchange: str
    symbol: str
    timeframe: str | None


def plan_import(files: Iterable[Path], wanted: Wanted) -> list[Planned]:
    """Return what is to be imported; no table is read.

    Of an archive with several tables the flags choose some; for any other file they must not
    contradict its name.

    Raises:
        UsageError: a flag is missing, or contradicts a name, or nothing is left to import.
        DataError: an archive is damaged.
    """
    planned: list[Planned] = []
    for part in (part for file in files for part in parts_of(file)):
        if part.member and not _is_chosen(part, wanted):
            continue
        if part.member and part.named.symbol is None:
            note(f"{part.source}: left out, its name does not say its market")
            continue
        planned.append(_plan(part, wanted))
    if not planned:
        raise UsageError("these files hold no table of a series that the flags name")
    return planned


def timeframe_of(planned: Planned, timestamps: IntArray) -> Timeframe:
    """Return the timeframe of a table, by what was said of it and by the times of its rows.

    Args:
        planned: What was said.
        timestamps: Epoch seconds, ascending; those below zero could not be read.

    Raises:
        UsageError: nothing was said and the rows do not tell, or they contradict what was said.
    """
    source, said = planned.part.source, planned.timeframe
    found, counts = np.unique(np.diff(np.unique(timestamps[timestamps >= 0])), return_counts=True)
    step = int(found[np.argmax(counts)]) if len(found) else 0
    by_rows = "1M" if _SHORTEST_MONTH <= step <= 31 * 86_400 else _TIMEFRAMES.get(step)
    if said is None:
        if by_rows is None:
            raise UsageError(f"{source} does not say its timeframe; add --timeframe 1h")
        return Timeframe.parse(by_rows)
    timeframe = Timeframe.parse(said)
    most = int(counts.max()) * 2 > int(counts.sum()) if len(counts) else False
    differs = by_rows != said if timeframe.is_month else step != timeframe.seconds
    if most and differs and (step < timeframe.seconds or counts.sum() >= _STEPS_THAT_TELL):
        raise UsageError(
            f"{source}: its rows are {by_rows or f'{step} s'} apart, so they are no {said} candles"
        )
    return timeframe


def _is_chosen(part: Part, wanted: Wanted) -> bool:
    """Return whether a table of an archive is of the series that the flags name."""
    pairs = (
        (wanted.symbol, part.named.symbol),
        (wanted.timeframe, part.named.timeframe),
    )
    return all(said is None or named is None or said == named for said, named in pairs)


def _plan(part: Part, wanted: Wanted) -> Planned:
    said = part.named
    exchange = wanted.exchange or said.exchange
    if exchange is None or not _EXCHANGE_ID.fullmatch(exchange):
        fault = f"{exchange!r} is no exchange id" if exchange else "its name says no exchange"
        raise UsageError(f"{part.source}: {fault}; add one such as --exchange binance")
    if said.exchange is not None and not said.by_habit:
        _agree(part, "exchange", wanted.exchange, said.exchange)
    _agree(part, "symbol", wanted.symbol, said.symbol)
    _agree(part, "timeframe", wanted.timeframe, said.timeframe)
    symbol = wanted.symbol or said.symbol
    if symbol is None:
        raise UsageError(f"{part.source}: its name says no market; add --symbol BTC/USDT")
    return Planned(part, exchange, symbol, wanted.timeframe or said.timeframe)


def _agree(part: Part, flag: str, given: str | None, found: str | None) -> None:
    if given is not None and found is not None and given != found:
        raise UsageError(
            f"{part.source} is of {found} by its name, and --{flag} says {given}; "
            "leave the flag out, or rename the file"
        )
