"""The series of a table's candles: by flags, by names, and by the distance between its rows."""

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from backfiller.formats.parts import Part, list_parts
from backfiller.formats.table_reader import ReadOptions
from onetape.cli.output import note
from onetape.core.errors import DataError, OnetapeError, UsageError
from onetape.core.message_text import format_count
from onetape.core.symbols import parse_spot_symbol
from onetape.core.timeframes import SECONDS_PER_UNIT, Timeframe

#: Timeframes that the distance between rows may show.
_TIMEFRAMES: Final = {
    Timeframe.parse(name).seconds: name
    for name in (
        "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    )
}  # fmt: skip
_SHORTEST_MONTH: Final = 28 * 86_400
_LONGEST_MONTH: Final = 31 * 86_400
#: Fewer rows may be far apart because candles are missing.
_STEPS_THAT_TELL: Final = 10
#: A distance of times that is rarer than one in this number does not show the timeframe.
_RARE: Final = 100
_EXCHANGE_ID: Final = re.compile(r"[a-z][a-z0-9_]*")


class Wanted(Struct, frozen=True):
    """Facts about the files from flags; None: names and contents must state them."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    read: ReadOptions = ReadOptions()
    """Options for reading the tables."""
    drop_last: bool = False
    """Whether the last candle of each table is left out, because it may not have closed."""


class Planned(Struct, frozen=True):
    """A table with the facts on its series that are known before reading it."""

    part: Part
    exchange: str
    symbol: str
    timeframe: str | None
    is_timeframe_named: bool
    """Whether the file's name states the timeframe, and no flag does."""
    is_guessed: bool
    """Whether the exchange is a guess from the style of the file's name."""
    is_symbol_flag: bool
    """Whether a flag gives the symbol."""

    @property
    def is_kraken_archive(self) -> bool:
        """Whether the table is one of Kraken's own archive, of Kraken's market."""
        return self.part.named.is_kraken_archive and self.exchange == "kraken"


class Failed(Struct, frozen=True):
    """A table that could not be imported."""

    source: str
    error: OnetapeError

    def make_document(self) -> dict[str, object]:
        """Return the failure for --json."""
        return {
            "source": self.source,
            "error": str(self.error),
            "exit_code": self.error.exit_code,
        }


def plan_import(
    files: Iterable[Path], wanted: Wanted, room: ExitStack
) -> tuple[list[Planned], list[Failed]]:
    """Return the tables to import, and those that cannot be imported; no table is read.

    Of an archive with several tables the flags choose some; for any other file a flag that
    contradicts its name wins, after a note on stderr.

    Args:
        files: Paths from the command line.
        wanted: Values of the flags.
        room: Exit stack that closes archives once their tables were read.

    Raises:
        UsageError: the flags leave out every table of the archives.
    """
    planned: list[Planned] = []
    failed: list[Failed] = []
    for file in files:
        try:
            parts = list_parts(file, room)
        except (UsageError, DataError) as error:
            failed.append(Failed(str(file), error))
            continue
        nameless: list[Part] = []
        # Where other names state their market, a name without one does not get the flag's market.
        is_flag_for_nameless = wanted.symbol is not None and all(map(_has_no_market_in_name, parts))
        for part in parts:
            if part.member and not _is_chosen(part, wanted):
                continue
            if part.member and _has_no_market_in_name(part) and not is_flag_for_nameless:
                nameless.append(part)
                continue
            try:
                planned.append(_plan(part, wanted))
            except (UsageError, DataError) as error:
                failed.append(Failed(part.source, error))
        _note_nameless(nameless)
    if not planned and not failed:
        raise UsageError("these files hold no table of a series that the flags name")
    return planned, failed


def _note_nameless(parts: list[Part]) -> None:
    if parts:
        more = f" and {format_count(len(parts) - 1, 'other table')}" if len(parts) > 1 else ""
        verb = "their names have" if len(parts) > 1 else "its name has"
        note(f"{parts[0].source}{more}: left out, {verb} no market")


def determine_timeframe(planned: Planned, distances: Mapping[int, int]) -> Timeframe:
    """Return the timeframe of a table, by the stated timeframe and by the times of its rows.

    Args:
        planned: Table, with the facts stated by flags and names.
        distances: Seconds between neighbouring rows, and how often they occur.

    Raises:
        UsageError: no timeframe is stated and the rows show none, or they contradict the stated
            one.
    """
    source, given = planned.part.source, planned.timeframe
    total = sum(distances.values())
    step = min(distances, key=lambda each: (-distances[each], each), default=0)
    by_rows = _find_timeframe_by_step(step, distances)
    if given is None:
        if by_rows is None:
            apart = f": its rows are {_format_step(step)} apart most often" if step else ""
            example = _format_step(step) if 0 < step < _SHORTEST_MONTH else "1h"
            raise UsageError(
                f"{source} does not state its timeframe{apart}; name it, such as --timeframe "
                f"{example}"
            )
        return Timeframe.parse(by_rows)
    timeframe = Timeframe.parse(given)
    is_most = distances.get(step, 0) * 2 > total
    differs = by_rows != given if timeframe.is_month else step != timeframe.seconds
    if is_most and differs and (step < timeframe.seconds or total >= _STEPS_THAT_TELL):
        raise UsageError(
            f"{source}: its rows are {_format_step(step)} apart, so they are not {given} candles"
        )
    # An exchange's own archive may be of a market that hardly trades.
    is_certain = planned.is_timeframe_named and (planned.part.named.codes_of or not is_most)
    if total and not is_certain and not _has_step(timeframe, distances):
        raise UsageError(
            f"{source}: no two rows are {given} apart (most often {_format_step(step)}), "
            f"so they are not {given} candles; name their timeframe with --timeframe"
        )
    return timeframe


def _has_step(timeframe: Timeframe, distances: Mapping[int, int]) -> bool:
    if timeframe.is_month:
        low = timeframe.count * _SHORTEST_MONTH
        return any(low <= step <= timeframe.count * _LONGEST_MONTH for step in distances)
    return timeframe.seconds in distances


def _find_timeframe_by_step(step: int, distances: Mapping[int, int]) -> str | None:
    """Return the timeframe that the rows show; None if they show no timeframe, or two."""
    if _SHORTEST_MONTH <= step <= _LONGEST_MONTH:
        return "1M"
    total = sum(distances.values())
    smaller = [
        each
        for each, count in distances.items()
        if each < step and each in _TIMEFRAMES and count * _RARE >= total
    ]
    return None if smaller else _TIMEFRAMES.get(step)


def _format_step(step: int) -> str:
    """Return a distance between rows as a timeframe: `3h` of 10,800 seconds."""
    if step in _TIMEFRAMES:
        return _TIMEFRAMES[step]
    unit = next(unit for unit in "dhms" if step % SECONDS_PER_UNIT[unit] == 0)
    return f"{step // SECONDS_PER_UNIT[unit]}{unit}"


def _is_chosen(part: Part, wanted: Wanted) -> bool:
    """Return whether a table of an archive belongs to the series that the flags name."""
    if wanted.timeframe is not None and part.named.timeframe not in (None, wanted.timeframe):
        return False
    if wanted.symbol is not None and part.named.either:
        return wanted.symbol in part.named.either
    if wanted.symbol is None or part.named.symbol is None:
        return True
    exchange = wanted.exchange or part.named.exchange
    return wanted.symbol == _find_common_symbol(exchange, part)


def _find_common_symbol(exchange: str | None, part: Part) -> str | None:
    """Return the symbol that a name states, in CCXT's codes."""
    symbol = part.named.symbol
    if symbol is None:
        return None
    if part.named.codes_of is None or exchange is None:
        return symbol
    codes = _load_common_codes(exchange)
    return "/".join(codes.get(code, code) for code in symbol.split("/"))


@cache
def _load_common_codes(exchange: str) -> Mapping[str, str]:
    # Only names in an exchange's own codes need CCXT, which takes a second to import.
    from onetape.exchange.catalogue import collect_common_codes

    return collect_common_codes(exchange)


def _has_no_market_in_name(part: Part) -> bool:
    """Return whether the name of a table does not state its market."""
    return not (part.named.symbol or part.named.either or part.named.other_kind)


def _plan(part: Part, wanted: Wanted) -> Planned:
    named = part.named
    if named.other_kind is not None and not wanted.read.is_spot:
        raise UsageError(
            f"{part.source} holds {named.other_kind} by its name, and Onetape trades spot only; "
            "add --spot if it holds candles of a spot market"
        )
    exchange = wanted.exchange or named.exchange
    if exchange is None or not _EXCHANGE_ID.fullmatch(exchange):
        fault = f"{exchange!r} is not an exchange id" if exchange else "its name has no exchange"
        raise UsageError(f"{part.source}: {fault}; add one such as --exchange binance")
    by_name = _find_common_symbol(exchange, part)
    if not named.is_guess:
        _note_contradiction(part, "exchange", wanted.exchange, named.exchange)
    _note_contradiction(part, "symbol", wanted.symbol, by_name)
    _note_contradiction(part, "timeframe", wanted.timeframe, named.timeframe)
    symbol = wanted.symbol or by_name
    if symbol is None:
        either = " or ".join(named.either)
        fault = f"its name may mean {either}" if either else "its name has no market"
        raise UsageError(f"{part.source}: {fault}; add --symbol {(*named.either, 'BTC/USDT')[0]}")
    if wanted.symbol is None and by_name is not None and by_name != named.symbol:
        note(f"{part.source}: {named.symbol} of {exchange} is {by_name}, by the names of CCXT")
    return Planned(
        part,
        exchange,
        parse_spot_symbol(symbol),
        wanted.timeframe or named.timeframe,
        is_timeframe_named=wanted.timeframe is None,
        is_guessed=wanted.exchange is None and named.is_guess,
        is_symbol_flag=wanted.symbol is not None,
    )


def _note_contradiction(part: Part, flag: str, given: str | None, found: str | None) -> None:
    if given is not None and found is not None and given != found:
        note(f"{part.source} is of {found} by its name; --{flag} {given} counts")
