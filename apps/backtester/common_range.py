"""One range for several symbols: what is stored of all of them."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from backtester.load import repair_command, stored_range, wanted_range
from backtester.run import Part
from backtester.settings import BacktesterSettings
from onetape.cli.dates import day_text
from onetape.core.candles import SeriesKey
from onetape.core.clock import utc_text
from onetape.core.errors import DataError
from onetape.core.timeframes import Timeframe
from onetape.store.candles import first_row_after
from onetape.store.database import Store


class CommonRange(Struct, frozen=True):
    """The range of a run over several symbols."""

    start: int
    """Epoch seconds, inclusive."""
    end: int
    """Epoch seconds, exclusive."""
    notes: tuple[str, ...]
    """Which symbol begins last or ends first, where that decided, and how to fetch the rest."""
    left_out: dict[str, int]
    """By symbol: open (epoch seconds) of a row at the end that nothing proves to be closed."""

    def of(self, settings: BacktesterSettings) -> BacktesterSettings:
        """Return the settings of one symbol with both ends named."""
        return replace(
            settings,
            from_=_exact_text(self.start) if settings.from_ is None else settings.from_,
            to=_exact_text(self.end) if settings.to is None else settings.to,
        )

    def with_ends(self, part: Part) -> Part:
        """Return a part that says what was left out at its end, though its end was named."""
        left_out = self.left_out.get(part.tape.key.symbol, part.tape.left_out)
        return replace(part, tape=replace(part.tape, left_out=left_out))


def common_range(
    store: Store, keys: Sequence[SeriesKey], settings: BacktesterSettings
) -> CommonRange:
    """Return the range that is asked for; an end that is not named is the first of the symbols'.

    Args:
        store: Where the candles are.
        keys: The series of the symbols, all of one timeframe.
        settings: Of the run.

    Raises:
        UsageError: as `wanted_range` says.
        DataError: nothing is stored of a symbol, or all of them have nothing in common.
    """
    wanted = wanted_range(settings)
    timeframe = Timeframe.parse(settings.timeframe)
    stored = {key: stored_range(store, key, settings) for key in keys}
    begins = {key: first for key, (first, _) in stored.items()}
    ends = {key: timeframe.next(last) for key, (_, last) in stored.items()}
    start = max(begins.values()) if wanted[0] is None else wanted[0]
    end = min(ends.values()) if wanted[1] is None else wanted[1]
    if end <= start:
        raise DataError(_apart_text(begins, ends, settings))
    notes: list[str] = []
    left_out: dict[str, int] = {}
    if wanted[0] is None:
        notes += _begin_note(begins, settings)
    if wanted[1] is None:
        notes += _end_note(ends, settings)
        for key in keys:
            row = first_row_after(store, key, stored[key][1]) if ends[key] == end else None
            if row is not None:
                left_out[key.symbol] = row.timestamp
    return CommonRange(start, end, tuple(notes), left_out)


def _begin_note(begins: dict[SeriesKey, int], settings: BacktesterSettings) -> list[str]:
    first, last = min(begins.values()), max(begins.values())
    if first == last:
        return []
    late, early = _parted(begins, last)
    short = [key for key in begins if begins[key] > first]
    return [
        f"{late} {_verb(begins, last, 'begin')} last, at {utc_text(last)} UTC: the earlier candles "
        f"of {early} are not traded; to fetch what is missing: "
        f"{_fetch(short, settings, first, last)}"
    ]


def _end_note(ends: dict[SeriesKey, int], settings: BacktesterSettings) -> list[str]:
    first, last = min(ends.values()), max(ends.values())
    if first == last:
        return []
    early, late = _parted(ends, first)
    short = [key for key in ends if ends[key] < last]
    return [
        f"{early} {_verb(ends, first, 'end')} first, at {utc_text(first)} UTC: the later candles "
        f"of {late} are left out; to fetch what is missing: {_fetch(short, settings, first, last)}"
    ]


def _parted(moments: dict[SeriesKey, int], moment: int) -> tuple[str, str]:
    """Return the symbols that have this moment, and the others."""
    named = [
        sorted(key.symbol for key in moments if (moments[key] == moment) is has)
        for has in (True, False)
    ]
    return ", ".join(named[0]), ", ".join(named[1])


def _verb(moments: dict[SeriesKey, int], moment: int, verb: str) -> str:
    return verb if list(moments.values()).count(moment) > 1 else f"{verb}s"


def _fetch(
    keys: Sequence[SeriesKey], settings: BacktesterSettings, start: int | None, end: int | None
) -> str:
    """Return the command that fetches what these symbols lack."""
    first, *others = sorted(keys, key=lambda key: key.symbol)
    return repair_command(first, settings, start, end, others=[key.symbol for key in others])


def _apart_text(
    begins: dict[SeriesKey, int], ends: dict[SeriesKey, int], settings: BacktesterSettings
) -> str:
    late, early = max(begins, key=begins.__getitem__), min(ends, key=ends.__getitem__)
    start = f"{late.symbol} begins at {utc_text(begins[late])} UTC"
    end = f"{early.symbol} ends at {utc_text(ends[early])} UTC"
    repair = repair_command(early, settings, ends[early], max(ends.values()))
    if settings.from_ is not None:
        start = f"--from is {settings.from_}"
        repair = repair_command(early, settings, ends[early])
    if settings.to is not None:
        end = f"--to is {settings.to}"
        repair = repair_command(late, settings, None, begins[late])
    return f"the symbols have no candle in common: {end}, {start}; run: {repair}"


def _exact_text(moment: int) -> str:
    return str(moment) if moment % 60 else day_text(moment).replace(" ", "T")
