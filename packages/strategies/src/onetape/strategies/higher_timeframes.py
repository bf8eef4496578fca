"""Candles of a higher timeframe, or of another market, for a strategy: closed ones only.

    class Mine(Strategy):
        higher_timeframes = ("1d",)
        informative = (Market("BTC/USDT", "1h"),)

        def evaluate(self, candles, higher):
            daily, bitcoin = higher["1d"], higher["BTC/USDT 1h"]
            trend = daily.as_of(indicators.sma(daily.close, 20))   # one value per traded candle
            leads = bitcoin.as_of(indicators.roc(bitcoin.close, 24)) > 0
            signal = np.where((candles.close > trend) & leads, 1, -1)

A column of `higher["1d"]` has one value per day. `as_of` turns it into one value per traded candle:
on each bar the value of the last day that had closed by the close of that bar.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candle_gaps import compute_next_opens
from onetape.core.candles import Candles, FloatArray, IntArray, SeriesKey
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.resample import check_multiple
from onetape.core.symbols import parse_spot_symbol, split_symbol
from onetape.core.timeframes import Timeframe

#: Texts in the symbol of a `Market` that stand for the currencies of the traded symbol.
_BASE: Final = "{base}"
_QUOTE: Final = "{quote}"


class Market(Struct, frozen=True):
    """Another market whose closed candles a strategy reads: `Market("BTC/USDT", "1h")`."""

    symbol: str
    """CCXT spot symbol at the exchange of the traded symbol; `{base}` and `{quote}` stand for the
    currencies of the traded symbol, as in `BTC/{quote}`."""
    timeframe: str = ""
    """CCXT timeframe: the traded one, or a multiple of it. Empty: the traded timeframe."""

    @property
    def name(self) -> str:
        """Return the key of the candles in `higher`, such as `BTC/USDT 1h`."""
        return f"{self.symbol} {self.timeframe}".rstrip()


class InputSeries(Struct, frozen=True):
    """A series that a strategy reads in addition to the traded candles."""

    name: str
    """Key of the candles in `higher`: `1d`, or `BTC/USDT 1h` of another market."""
    timeframe: Timeframe
    """Timeframe of the candles."""
    symbol: str = ""
    """Symbol of the `Market`, with `{base}` and `{quote}`; empty: the traded symbol."""

    @property
    def is_other_market(self) -> bool:
        """Return whether the strategy declares the series as a `Market`."""
        return bool(self.symbol)

    def make_base_key(self, traded: SeriesKey) -> SeriesKey:
        """Return the series of this market in the traded timeframe.

        Candles of a higher timeframe that are not stored are built from it.

        Args:
            traded: The traded series.
        """
        base, quote = split_symbol(traded.symbol)
        symbol = (self.symbol or traded.symbol).replace(_BASE, base).replace(_QUOTE, quote)
        return replace(traded, symbol=symbol)

    def make_key(self, traded: SeriesKey) -> SeriesKey:
        """Return the key of the series, by the traded series."""
        return replace(self.make_base_key(traded), timeframe=self.timeframe.name)

    def make_label(self, traded: SeriesKey) -> str:
        """Return the name for output: `1d`, or `BTC/USDT 1h` of another market."""
        key = self.make_key(traded)
        return f"{key.symbol} {key.timeframe}" if self.symbol else key.timeframe


class HigherCandles(Candles, frozen=True):
    """Closed candles of a higher timeframe or another market, for the traded candles."""

    timeframe: Timeframe
    """Timeframe of these candles, such as `1d`."""
    visible: IntArray
    """Number of these candles that had closed by the close of each traded candle, shape (n,) of
    the traded candles."""
    symbol: str = ""
    """CCXT symbol of another market; empty: candles of the traded symbol."""

    @classmethod
    def from_candles(
        cls, candles: Candles, timeframe: Timeframe, visible: IntArray, symbol: str = ""
    ) -> "HigherCandles":
        """Return candles with the number that each traded candle may use; arguments are fields."""
        return cls(
            candles.timestamp,
            candles.open,
            candles.high,
            candles.low,
            candles.close,
            candles.volume,
            timeframe,
            visible,
            symbol,
        )

    @property
    def label(self) -> str:
        """Return the name of these candles for output: `1d`, or `BTC/USDT 1h`."""
        return f"{self.symbol} {self.timeframe.name}".lstrip()

    def copy_with(self, candles: Candles, visible: IntArray) -> "HigherCandles":
        """Return other candles of this market and timeframe."""
        return HigherCandles.from_candles(candles, self.timeframe, visible, self.symbol)

    def as_of(self, column: FloatArray) -> FloatArray:
        """Return for each traded candle the value of the last of these candles that had closed.

        Args:
            column: One value for each of these candles, computed from them.

        Returns:
            One value per traded candle; NaN before the first of these candles has closed.

        Raises:
            ValueError: the column has another length.
        """
        values: FloatArray = np.asarray(column, dtype=np.float64)
        if values.shape != (len(self),):
            raise ValueError(
                f"as_of takes one value for each of the {len(self):,} {self.label} candles, "
                f"found shape {values.shape}; make the column of higher[...] itself"
            )
        aligned = np.full(len(self.visible), np.nan)
        known = self.visible > 0
        aligned[known] = values[self.visible[known] - 1]
        return aligned

    def select_known(
        self, candles: Candles, start: int, end: int, count: int, *, since: int = 0
    ) -> "HigherCandles":
        """Return the higher-timeframe candles known if only the traded candles `[start, end)` are.

        Args:
            candles: All traded candles.
            start: Index of the first known traded candle.
            end: Index after the last known traded candle; at least one is known.
            count: Number of known higher candles before the first traded one, by their times.
            since: Higher candles that open earlier are not known, epoch seconds.
        """
        last = int(self.visible[end - 1])
        first = 0
        if count < last:
            since = max(since, self.timeframe.shift(int(candles.timestamp[start]), -count))
        if since:
            first = min(int(np.searchsorted(self.timestamp, since)), last)
        visible = np.maximum(self.visible[start:end] - first, 0)
        return self.copy_with(self[first:last], visible)


#: Argument `higher` of `evaluate`: candles of higher timeframes and other markets, by name.
Higher = Mapping[str, HigherCandles]


def align_higher_candles(
    candles: Candles,
    timeframe: Timeframe,
    higher_candles: Candles,
    higher_timeframe: Timeframe,
    symbol: str = "",
) -> HigherCandles:
    """Return candles of a higher timeframe, with the number that each traded candle may use.

    Args:
        candles: The traded candles.
        timeframe: Timeframe of the traded candles.
        higher_candles: Closed candles of the higher timeframe, oldest first; those that close
            after the last traded one are left out.
        higher_timeframe: Timeframe of `higher_candles`; of another market it may be the traded one.
        symbol: CCXT symbol of another market; empty: the traded symbol.
    """
    closes = compute_next_opens(higher_candles.timestamp, higher_timeframe)
    visible = np.searchsorted(
        closes, compute_next_opens(candles.timestamp, timeframe), side="right"
    )
    known = higher_candles[: int(visible[-1]) if len(visible) else 0]
    return HigherCandles.from_candles(known, higher_timeframe, visible.astype(np.int64), symbol)


def collect_inputs(strategy: Any, timeframe: Timeframe) -> tuple[InputSeries, ...]:
    """Return the series that a strategy reads in addition to the traded candles.

    Args:
        strategy: Any strategy.
        timeframe: Timeframe of the traded candles.

    Raises:
        ConfigurationError: `higher_timeframes` or `informative` of the strategy has a wrong type.
        UsageError: a timeframe or a symbol is invalid, or a timeframe is no multiple of the traded
            one.
    """
    found = [*_collect_higher_timeframes(strategy, timeframe)]
    found += _collect_markets(strategy, timeframe)
    return tuple({one.name: one for one in found}.values())


def collect_input_names(strategy: Any) -> list[str]:
    """Return the keys in `higher` of all series that a strategy reads."""
    return [*strategy.higher_timeframes, *(market.name for market in strategy.informative)]


def _collect_higher_timeframes(strategy: Any, timeframe: Timeframe) -> list[InputSeries]:
    names: Any = strategy.higher_timeframes
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"strategy {strategy.name}: higher_timeframes must be a tuple of names such as "
            f'("1d",), found {names!r}; fix it in its file'
        )
    found: list[InputSeries] = []
    for name in names:
        try:
            higher_timeframe = Timeframe.parse(name)
            check_multiple(timeframe, higher_timeframe)
        except UsageError as error:
            raise UsageError(f"strategy {strategy.name} needs {name} candles: {error}") from error
        found.append(InputSeries(name, higher_timeframe))
    return found


def _collect_markets(strategy: Any, timeframe: Timeframe) -> list[InputSeries]:
    given: Any = strategy.informative
    markets = [*cast("Sequence[Market]", given)] if isinstance(given, (tuple, list)) else []
    if not isinstance(given, (tuple, list)) or not all(map(_is_market, markets)):
        raise ConfigurationError(
            f"strategy {strategy.name}: informative must be a tuple of markets such as "
            f'(Market("BTC/USDT", "1h"),), found {given!r}; fix it in its file'
        )
    found: list[InputSeries] = []
    for market in markets:
        try:
            _check_market_symbol(market.symbol)
            of_market = Timeframe.parse(market.timeframe) if market.timeframe else timeframe
            if of_market != timeframe:
                check_multiple(timeframe, of_market)
        except UsageError as error:
            raise UsageError(
                f"strategy {strategy.name} needs {market.name} candles: {error}"
            ) from error
        found.append(InputSeries(market.name, of_market, market.symbol))
    return found


def _is_market(value: object) -> bool:
    return (
        isinstance(value, Market)
        # A Struct does not check the types of its fields.
        and isinstance(value.symbol, str)  # pyright: ignore[reportUnnecessaryIsInstance]
        and isinstance(value.timeframe, str)  # pyright: ignore[reportUnnecessaryIsInstance]
    )


def _check_market_symbol(symbol: str) -> None:
    """Refuse a text that is no CCXT spot symbol, `{base}` and `{quote}` being currencies.

    Raises:
        UsageError: the text states the correct spelling, if there is one.
    """
    plain = symbol.replace(_BASE, "BASE").replace(_QUOTE, "QUOTE")
    if "{" in plain or "}" in plain:
        raise UsageError(
            f"symbol {symbol!r} was not understood; only {_BASE} and {_QUOTE} stand for currencies "
            "of the traded symbol"
        )
    correct = parse_spot_symbol(plain)
    if correct != plain:
        raise UsageError(f"symbol {symbol!r} was not understood; did you mean {correct!r}?")
