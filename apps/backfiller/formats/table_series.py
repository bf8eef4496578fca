"""The series of an imported table: exchange, symbol and timeframe, by flags and file names.

A timeframe that neither states is found by the distance between the rows.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from backfiller.formats.table_files import TableFile, list_table_files
from backfiller.formats.table_reader import ReadOptions
from onetape.cli.output import note
from onetape.core.errors import DataError, OnetapeError, UsageError
from onetape.core.message_text import format_count
from onetape.core.symbols import parse_spot_symbol
from onetape.core.timeframes import SECONDS_PER_UNIT, Timeframe

#: Timeframes by the distance between rows, in seconds.
_TIMEFRAMES: Final = {
    Timeframe.parse(name).seconds: name
    for name in (
        "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    )
}  # fmt: skip
_SHORTEST_MONTH: Final = 28 * 86_400
_LONGEST_MONTH: Final = 31 * 86_400
#: Minimum number of distances that can contradict a shorter timeframe: missing candles make some
#: distances longer.
_FEWEST_STEPS: Final = 10
#: A distance must occur at least once in so many to show the timeframe.
_RARE: Final = 100
_EXCHANGE_ID: Final = re.compile(r"[a-z][a-z0-9_]*")


class ImportFlags(Struct, frozen=True):
    """Flags of an import; None: the names and contents of the files must state the fact."""

    exchange: str | None = None
    symbol: str | None = None
    """Symbol in CCXT's codes, such as BTC/USDT."""
    timeframe: str | None = None
    read_options: ReadOptions = ReadOptions()
    """Options for reading the tables."""
    drop_last: bool = False
    """Whether the last candle of each table is left out, because it may not have closed."""


class PlannedTable(Struct, frozen=True):
    """A table with the facts on its series that are known before reading it."""

    table_file: TableFile
    exchange: str
    symbol: str
    timeframe: str | None
    """Timeframe by flag or name; None: the distances between the rows decide."""
    is_timeframe_named: bool
    """Whether no flag states the timeframe, so that a stated one is from the file's name."""
    is_guessed: bool
    """Whether the exchange is a guess from the style of the file's name."""
    is_symbol_flag: bool
    """Whether a flag gives the symbol."""

    @property
    def is_kraken_archive(self) -> bool:
        """Whether the table is of Kraken's own archive and imported as a market of Kraken."""
        return self.table_file.name_facts.is_kraken_archive and self.exchange == "kraken"


class FailedTable(Struct, frozen=True):
    """A table that could not be imported, or whose candles contradict the stored ones."""

    source: str
    """Printable name of the file or archive member."""
    error: OnetapeError

    def make_document(self) -> dict[str, object]:
        """Return the failure for --json."""
        return {
            "source": self.source,
            "error": str(self.error),
            "exit_code": self.error.exit_code,
        }


def plan_import(
    files: Iterable[Path], flags: ImportFlags, archives: ExitStack
) -> tuple[list[PlannedTable], list[FailedTable]]:
    """Return the tables to import, and those that cannot be imported; no table is read.

    Of an archive with several tables, those that match the flags are returned. For any other file,
    a flag that contradicts its name overrides the name, with a note on stderr.

    Args:
        files: Paths from the command line.
        flags: Values of the flags.
        archives: Exit stack that opened archives are added to; the caller closes it after reading.

    Raises:
        UsageError: the flags leave out every table of the archives.
    """
    planned: list[PlannedTable] = []
    failed: list[FailedTable] = []
    for file in files:
        try:
            table_files = list_table_files(file, archives)
        except (UsageError, DataError) as error:
            failed.append(FailedTable(str(file), error))
            continue
        nameless: list[TableFile] = []
        # The flag's market is used for tables without a market in their names only if no other
        # table of the archive has one.
        is_flag_for_nameless = flags.symbol is not None and all(
            map(_has_no_market_in_name, table_files)
        )
        for table_file in table_files:
            if table_file.is_archive_member and not _is_chosen(table_file, flags):
                continue
            if (
                table_file.is_archive_member
                and _has_no_market_in_name(table_file)
                and not is_flag_for_nameless
            ):
                nameless.append(table_file)
                continue
            try:
                planned.append(_plan_table(table_file, flags))
            except (UsageError, DataError) as error:
                failed.append(FailedTable(table_file.source, error))
        _note_nameless(nameless)
    if not planned and not failed:
        raise UsageError("these files hold no table of a series that the flags name")
    return planned, failed


def _note_nameless(table_files: list[TableFile]) -> None:
    if table_files:
        more = (
            f" and {format_count(len(table_files) - 1, 'other table')}"
            if len(table_files) > 1
            else ""
        )
        verb = "their names have" if len(table_files) > 1 else "its name has"
        note(f"{table_files[0].source}{more}: left out, {verb} no market")


def determine_timeframe(planned: PlannedTable, distances: Mapping[int, int]) -> Timeframe:
    """Return the timeframe of a table, by the stated timeframe and by the times of its rows.

    Args:
        planned: Table, with the facts stated by flags and names.
        distances: Seconds between neighbouring rows, and how often they occur.

    Raises:
        UsageError: no timeframe is stated and the rows show none, or they contradict the stated
            one.
    """
    source, given = planned.table_file.source, planned.timeframe
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
    if is_most and differs and (step < timeframe.seconds or total >= _FEWEST_STEPS):
        raise UsageError(
            f"{source}: its rows are {_format_step(step)} apart, so they are not {given} candles"
        )
    # In an exchange's own archive, no two candles of a market that hardly trades may be adjacent.
    is_certain = planned.is_timeframe_named and (
        planned.table_file.name_facts.codes_of or not is_most
    )
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


def _is_chosen(table_file: TableFile, flags: ImportFlags) -> bool:
    """Return whether a table of an archive belongs to the series that the flags name."""
    if flags.timeframe is not None and table_file.name_facts.timeframe not in (
        None,
        flags.timeframe,
    ):
        return False
    if flags.symbol is not None and table_file.name_facts.possible_symbols:
        return flags.symbol in table_file.name_facts.possible_symbols
    if flags.symbol is None or table_file.name_facts.symbol is None:
        return True
    exchange = flags.exchange or table_file.name_facts.exchange
    return flags.symbol == _find_common_symbol(exchange, table_file)


def _find_common_symbol(exchange: str | None, table_file: TableFile) -> str | None:
    """Return the symbol that a file name states, in CCXT's codes; None: it states none."""
    symbol = table_file.name_facts.symbol
    if symbol is None:
        return None
    if table_file.name_facts.codes_of is None or exchange is None:
        return symbol
    codes = _load_common_codes(exchange)
    return "/".join(codes.get(code, code) for code in symbol.split("/"))


@cache
def _load_common_codes(exchange: str) -> Mapping[str, str]:
    # Imported only for names in an exchange's own codes: importing CCXT takes a second.
    from onetape.exchange.catalogue import collect_common_codes

    return collect_common_codes(exchange)


def _has_no_market_in_name(table_file: TableFile) -> bool:
    """Return whether the name of a table does not state its market."""
    return not (
        table_file.name_facts.symbol
        or table_file.name_facts.possible_symbols
        or table_file.name_facts.other_kind
    )


def _plan_table(table_file: TableFile, flags: ImportFlags) -> PlannedTable:
    """Return a table with its series; prints a note where a flag contradicts the file's name.

    Raises:
        UsageError: the name is that of futures, or exchange or symbol is stated nowhere.
    """
    named = table_file.name_facts
    if named.other_kind is not None and not flags.read_options.is_spot:
        raise UsageError(
            f"{table_file.source} holds {named.other_kind} by its name, and Onetape trades spot "
            "only; add --spot if it holds candles of a spot market"
        )
    exchange = flags.exchange or named.exchange
    if exchange is None or not _EXCHANGE_ID.fullmatch(exchange):
        fault = f"{exchange!r} is not an exchange id" if exchange else "its name has no exchange"
        raise UsageError(f"{table_file.source}: {fault}; add one such as --exchange binance")
    by_name = _find_common_symbol(exchange, table_file)
    if not named.is_guess:
        _note_contradiction(table_file, "exchange", flags.exchange, named.exchange)
    _note_contradiction(table_file, "symbol", flags.symbol, by_name)
    _note_contradiction(table_file, "timeframe", flags.timeframe, named.timeframe)
    symbol = flags.symbol or by_name
    if symbol is None:
        symbols = " or ".join(named.possible_symbols)
        fault = f"its name may mean {symbols}" if symbols else "its name has no market"
        raise UsageError(
            f"{table_file.source}: {fault}; add --symbol {(*named.possible_symbols, 'BTC/USDT')[0]}"
        )
    if flags.symbol is None and by_name is not None and by_name != named.symbol:
        note(
            f"{table_file.source}: {named.symbol} of {exchange} is {by_name}, by the names of CCXT"
        )
    return PlannedTable(
        table_file,
        exchange,
        parse_spot_symbol(symbol),
        flags.timeframe or named.timeframe,
        is_timeframe_named=flags.timeframe is None,
        is_guessed=flags.exchange is None and named.is_guess,
        is_symbol_flag=flags.symbol is not None,
    )


def _note_contradiction(
    table_file: TableFile, flag: str, given: str | None, found: str | None
) -> None:
    """Print a note if the value of a flag and that of the file's name differ."""
    if given is not None and found is not None and given != found:
        note(f"{table_file.source} is of {found} by its name; --{flag} {given} is used")
