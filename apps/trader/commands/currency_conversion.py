"""Converts profit into one currency for display, at the closes of stored candles."""

from decimal import Decimal, localcontext

from msgspec.structs import replace

from onetape.core.candles import SeriesKey
from onetape.core.errors import DataError
from onetape.core.timeframes import Timeframe
from onetape.store.candles import read_last_closed, read_series_summaries
from onetape.store.database import Store
from trader.commands.account_result import AccountResult
from trader.commands.round_trips import PRECISION, RoundTrip


class Converter:
    """Converts profit into one currency, each amount at the last close before its time."""

    def __init__(self, store: Store, currency: str) -> None:
        """Initialise; nothing is read yet.

        Args:
            store: The open database, with candles of both currencies.
            currency: Code of the currency to convert into.
        """
        self._store = store
        self._currency = currency
        self._series: dict[str, tuple[SeriesKey, bool]] = {}
        """Series used for each currency, and whether its price is the inverse, by currency."""

    @property
    def sources(self) -> list[str]:
        """Return the series whose closes were used, as texts, sorted."""
        return sorted({str(key) for key, _ in self._series.values()})

    def convert(self, result: AccountResult) -> AccountResult:
        """Return a result with converted round trips and unrealised profit.

        Each round trip is converted at the time of its last sell, the open position at the newest
        closed candle.

        Raises:
            DataError: no candles of the two currencies are stored for one of these times.
        """
        source = result.account.currency
        if source == self._currency:
            return result
        with localcontext(prec=PRECISION):
            unrealised = result.unrealised
            if unrealised:
                unrealised *= self._read_rate(source, None)
            return replace(
                result,
                account=replace(result.account, currency=self._currency),
                round_trips=[self._convert_trip(source, trip) for trip in result.round_trips],
                unrealised=unrealised,
            )

    def _convert_trip(self, source: str, trip: RoundTrip) -> RoundTrip:
        if trip.closed_ms is None:
            return trip
        return replace(trip, quote_flow=trip.quote_flow * self._read_rate(source, trip.closed_ms))

    def _read_rate(self, source: str, at_ms: int | None) -> Decimal:
        """Return the price of a currency at a moment (None: now), in the display currency."""
        key, is_inverse = self._find_series(source)
        timeframe = Timeframe.parse(key.timeframe)
        up_to = None if at_ms is None else timeframe.shift(timeframe.floor(at_ms // 1_000), -1)
        candles = read_last_closed(self._store, key, 1, up_to=up_to)
        if not len(candles):
            raise self._make_missing_error(source, at_ms)
        close = Decimal(repr(float(candles.close[-1])))
        return 1 / close if is_inverse else close

    def _find_series(self, source: str) -> tuple[SeriesKey, bool]:
        """Return the stored series of two currencies with the shortest timeframe.

        Returns:
            The series, and whether its price is the inverse of the rate.

        Raises:
            DataError: no such series is stored.
        """
        if source not in self._series:
            names = {f"{source}/{self._currency}": False, f"{self._currency}/{source}": True}
            found = [
                (Timeframe.parse(one.key.timeframe).seconds, one.key)
                for one in read_series_summaries(self._store)
                if one.key.symbol in names
            ]
            if not found:
                raise self._make_missing_error(source, None)
            key = min(found, key=lambda one: one[0])[1]
            self._series[source] = key, names[key.symbol]
        return self._series[source]

    def _make_missing_error(self, source: str, at_ms: int | None) -> DataError:
        when = "" if at_ms is None else " for the time of every round trip"
        return DataError(
            f"--currency {self._currency} needs candles of {source}/{self._currency} or "
            f"{self._currency}/{source}{when}, and none are stored; fetch those "
            f"that the exchange has: uv run backfiller --symbol {source}/{self._currency}"
        )
