"""Helpers for a user's tests of a strategy: candles, and the comparison of window and all candles.

Examples are in docs/strategies.md.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onetape.core.candles import Candles, SeriesKey
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.strategies.check_data import CheckData
from onetape.strategies.check_text import format_check_line
from onetape.strategies.higher_timeframes import (
    Higher,
    HigherCandles,
    InputSeries,
    align_higher_candles,
    collect_inputs,
)
from onetape.strategies.interface import Strategy
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.registry import load_strategy

#: 2024-01-01 00:00 UTC.
_START = 1_704_067_200


def candles_of_closes(closes: Sequence[float], timeframe: str = "1h") -> Candles:
    """Return candles from 2024-01-01 on that open at the close before and have a volume of 1.

    Args:
        closes: Close prices of the candles, quote currency, oldest first.
        timeframe: Timeframe of the candles, such as `1h`.
    """
    close = np.array(closes, dtype=np.float64)
    before = np.concatenate((close[:1], close[:-1]))
    timestamp = _START + np.arange(len(close), dtype=np.int64) * Timeframe.parse(timeframe).seconds
    high, low = np.maximum(before, close), np.minimum(before, close)
    return Candles.from_columns(timestamp, before, high, low, close, np.ones_like(close))


def random_candles(count: int, *, seed: int, timeframe: str = "1h") -> Candles:
    """Return candles of a market that moves at random, about 1 % a candle.

    Args:
        count: Number of candles.
        seed: The same seed gives the same candles.
        timeframe: Timeframe of the candles, such as `1h`.
    """
    steps = np.random.default_rng(seed).normal(0.0, 0.01, count)
    return candles_of_closes((100.0 * np.exp(np.cumsum(steps))).round(4).tolist(), timeframe)


def higher_of(
    strategy: Strategy,
    candles: Candles,
    timeframe: str = "1h",
    markets: Mapping[str, Candles] | None = None,
    *,
    symbol: str = "ETH/USDT",
) -> Higher:
    """Return the candles of higher timeframes and of other markets that a strategy needs.

    Args:
        strategy: The strategy.
        candles: The traded candles, from which its higher timeframes are built.
        timeframe: Timeframe of the candles.
        markets: Candles of other markets in the traded timeframe, by symbol. A market that is left
            out moves at random, at the times of `candles`.
        symbol: The traded symbol, whose currencies `{base}` and `{quote}` of a market stand for.

    Raises:
        UsageError: a higher timeframe is no multiple of the traded one.
    """
    traded, key = Timeframe.parse(timeframe), SeriesKey("", symbol, timeframe)
    return {
        series.name: _make_input(series, candles, traded, key, markets or {})
        for series in collect_inputs(strategy, traded)
    }


def _make_input(
    series: InputSeries,
    candles: Candles,
    traded: Timeframe,
    key: SeriesKey,
    markets: Mapping[str, Candles],
) -> HigherCandles:
    source, symbol = candles, ""
    if series.is_other_market:
        symbol = series.make_key(key).symbol
        given = markets.get(symbol)
        source = _make_random_market(candles, symbol) if given is None else given
    if series.timeframe != traded:
        source = resample(source, traded, series.timeframe)
    return align_higher_candles(candles, traded, source, series.timeframe, symbol)


def _make_random_market(candles: Candles, symbol: str) -> Candles:
    """Return candles of a market that moves at random, at the times of other candles."""
    made = random_candles(len(candles), seed=zlib.crc32(symbol.encode()))
    return Candles(candles.timestamp, made.open, made.high, made.low, made.close, made.volume)


def window_difference(
    name: str,
    candles: Candles,
    parameters: dict[str, object] | None = None,
    *,
    timeframe: str = "1h",
    user_folder: Path | None = None,
) -> str | None:
    """Return the first bar on which the last candles and all candles give other signals, or None.

    This is `backtester check` without a database.

    Args:
        name: Name of the strategy, as `load_strategy` takes it.
        candles: Candles to check the strategy on.
        parameters: Parameters of the strategy.
        timeframe: Timeframe of the candles.
        user_folder: Folder in which a strategy of that name may be.
    """

    def make() -> Strategy:
        return load_strategy(name, parameters, user_folder)

    data = CheckData(candles, higher_of(make(), candles, timeframe))
    result = check_strategy(make, data, choose_bars_to_check(data, whole=True))
    return None if result.is_clean else format_check_line(result)
