"""The range of a run over several symbols: the times that are stored for all of them."""

from collections.abc import Sequence

from msgspec import Struct

from onetape.backtest.config import BacktestConfig
from onetape.backtest.repair_commands import format_repair_command, read_stored_range
from onetape.core.candles import SeriesKey
from onetape.core.clock import format_day, format_utc
from onetape.core.errors import DataError
from onetape.core.timeframes import Timeframe
from onetape.store.candles import read_first_candle_after
from onetape.store.database import Store


class CommonRange(Struct, frozen=True):
    """The range of a run over several symbols."""

    start: int
    """Start of the range, epoch seconds, inclusive."""
    end: int
    """End of the range, epoch seconds, exclusive."""
    notes: tuple[str, ...]
    """Sentences on the symbol that limits the range, and on how to fetch the rest."""
    left_out: dict[str, int]
    """Open (epoch seconds) of the last row, by symbol, where nothing proves that it is closed."""


def find_common_range(store: Store, config: BacktestConfig) -> CommonRange:
    """Return the range of a run over several symbols.

    An end that the configuration leaves open is set so that all symbols have candles.

    Args:
        store: The open database.
        config: Configuration of the run.

    Raises:
        DataError: nothing is stored of a symbol, or the symbols have no range in common.
    """
    bounds, keys = (config.start, config.end), config.keys
    timeframe = Timeframe.parse(config.timeframe)
    stored = {key: read_stored_range(store, key, config) for key in keys}
    begins = {key: first for key, (first, _) in stored.items()}
    ends = {key: timeframe.next(last) for key, (_, last) in stored.items()}
    start = max(begins.values()) if bounds[0] is None else bounds[0]
    end = min(ends.values()) if bounds[1] is None else bounds[1]
    if end <= start:
        raise DataError(_describe_missing_overlap(begins, ends, config))
    notes: list[str] = []
    left_out: dict[str, int] = {}
    if bounds[0] is None:
        notes += _describe_begin(begins, config)
    if bounds[1] is None:
        notes += _describe_end(ends, config)
        for key in keys:
            row = read_first_candle_after(store, key, stored[key][1]) if ends[key] == end else None
            if row is not None:
                left_out[key.symbol] = row.timestamp
    return CommonRange(start, end, tuple(notes), left_out)


def _describe_begin(begins: dict[SeriesKey, int], config: BacktestConfig) -> list[str]:
    first, last = min(begins.values()), max(begins.values())
    if first == last:
        return []
    late, early = _split_symbols(begins, last)
    short = [key for key in begins if begins[key] > first]
    return [
        f"{late} {_inflect_verb(begins, last, 'begin')} last, at {format_utc(last)} UTC: "
        f"the earlier candles of {early} are not traded; "
        f"to fetch what is missing: {_format_fetch_command(short, config, first, last)}"
    ]


def _describe_end(ends: dict[SeriesKey, int], config: BacktestConfig) -> list[str]:
    first, last = min(ends.values()), max(ends.values())
    if first == last:
        return []
    early, late = _split_symbols(ends, first)
    short = [key for key in ends if ends[key] < last]
    return [
        f"{early} {_inflect_verb(ends, first, 'end')} first, at {format_utc(first)} UTC: "
        f"the later candles of {late} are left out; "
        f"to fetch what is missing: {_format_fetch_command(short, config, first, last)}"
    ]


def _split_symbols(moments: dict[SeriesKey, int], moment: int) -> tuple[str, str]:
    """Return the symbols whose series begins or ends at a moment, and the other symbols."""
    named = [
        sorted(key.symbol for key in moments if (moments[key] == moment) is has)
        for has in (True, False)
    ]
    return ", ".join(named[0]), ", ".join(named[1])


def _inflect_verb(moments: dict[SeriesKey, int], moment: int, verb: str) -> str:
    return verb if list(moments.values()).count(moment) > 1 else f"{verb}s"


def _format_fetch_command(
    keys: Sequence[SeriesKey], config: BacktestConfig, start: int | None, end: int | None
) -> str:
    """Return the command that fetches the missing candles of symbols."""
    first, *others = sorted(keys, key=lambda key: key.symbol)
    return format_repair_command(first, config, start, end, others=[key.symbol for key in others])


def _describe_missing_overlap(
    begins: dict[SeriesKey, int], ends: dict[SeriesKey, int], config: BacktestConfig
) -> str:
    late, early = max(begins, key=begins.__getitem__), min(ends, key=ends.__getitem__)
    start = f"{late.symbol} begins at {format_utc(begins[late])} UTC"
    end = f"{early.symbol} ends at {format_utc(ends[early])} UTC"
    repair = format_repair_command(early, config, ends[early], max(ends.values()))
    if config.start is not None:
        start = f"--from is {format_day(config.start)}"
        repair = format_repair_command(early, config, ends[early])
    if config.end is not None:
        end = f"--to is {format_day(config.end)}"
        repair = format_repair_command(late, config, None, begins[late])
    return f"the symbols have no candle in common: {end}, {start}; run: {repair}"
