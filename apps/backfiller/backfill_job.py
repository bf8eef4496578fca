"""`BackfillJob`: the task of one backfiller run: the series, their range, and the database file."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from backfiller.commands.series_selection import choose_database_file
from backfiller.settings import BackfillerSettings
from onetape.core.candles import SeriesKey
from onetape.core.clock import check_range, format_day
from onetape.core.dates import parse_moment
from onetape.core.errors import UsageError, name_settings
from onetape.core.symbols import parse_spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.exchange.catalogue import check_exchange
from onetape.exchange.rest import RestExchange

_DAY_SECONDS = 86_400


class BackfillJob(Struct, frozen=True):
    """Series, database and range of one backfiller run; times are epoch seconds."""

    keys: tuple[SeriesKey, ...]
    """Series to fetch, grouped by exchange, in the order of the settings."""
    path: Path
    """Path of the database."""
    start: int
    """Start of the range, epoch seconds."""
    end: int | None
    """End of the range, epoch seconds, exclusive; None: the newest closed candle."""
    days: int | None
    """Number of days before today from which on candles are fetched, by the exchange's clock.

    It replaces start and end; None: they count.
    """
    retry_seconds: float
    """Time that a failing read is repeated once its exchange has responded, seconds."""

    @property
    def exchanges(self) -> list[str]:
        """Exchanges of the series, without repeats."""
        return list(dict.fromkeys(key.exchange for key in self.keys))

    def get_exchange_keys(self, exchange: str) -> list[SeriesKey]:
        """Return the series of one exchange."""
        return [key for key in self.keys if key.exchange == exchange]

    def compute_range(self, exchange: RestExchange) -> tuple[int, int | None]:
        """Return start and end of the range, epoch seconds, by the exchange's time.

        Raises:
            UsageError: the range begins in the future, or before 1970.
        """
        now = exchange.now_ms() // 1_000
        if self.days is not None:
            # From midnight (UTC) on, as in freqtrade, so that the first day is whole.
            start = (now // _DAY_SECONDS - self.days) * _DAY_SECONDS
            if start < 0:
                raise UsageError(f"--days {self.days:,} begins before 1970; name fewer")
            return start, None
        if self.start >= now:
            raise UsageError(
                f"from {format_day(self.start)} is in the future: it is {format_day(now)} UTC",
                setting="from",
            )
        return self.start, self.end


def make_job(settings: BackfillerSettings, *, days: int | None) -> BackfillJob:
    """Return the job of the settings; nothing is requested or opened.

    Raises:
        UsageError: an exchange, symbol, timeframe or range that cannot be used.
    """
    with name_settings("exchange"):
        for exchange in settings.exchange:
            check_exchange(exchange)
    with name_settings("symbol"):
        symbols = dict.fromkeys(parse_spot_symbol(symbol) for symbol in settings.symbol)
    with name_settings("timeframe"):
        timeframes = dict.fromkeys(Timeframe.parse(name).name for name in settings.timeframe)
    keys = [
        SeriesKey(exchange, symbol, name)
        for exchange in dict.fromkeys(settings.exchange)
        for symbol in symbols
        for name in timeframes
    ]
    if not keys:
        raise UsageError("exchange, symbol and timeframe: each needs one name at least")
    start = parse_moment(settings.from_, "from")
    end = None if settings.to is None else parse_moment(settings.to, "to")
    if days is None and end is not None:
        check_range(start, end)
    return BackfillJob(
        keys=tuple(keys),
        path=choose_database_file(settings.db, settings.exchange),
        start=start,
        end=end,
        days=days,
        retry_seconds=settings.retry_seconds,
    )


def make_job_for_keys(
    keys: Sequence[SeriesKey], path: Path, *, retry_seconds: float
) -> BackfillJob:
    """Return a job for repairing stored series; it has no range."""
    return BackfillJob(tuple(keys), path, 0, None, None, retry_seconds)
