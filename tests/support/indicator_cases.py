"""Candles for tests of indicators, and every indicator with its stated lookback."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from onetape.core.candles import Candles, FloatArray
from onetape.strategies import indicators as ind

#: Seed, number of candles, change of a candle, and decimals of prices: few make equal prices.
walk_shapes = st.tuples(
    st.integers(0, 2**32), st.integers(2, 1_500), st.sampled_from([1e-3, 1e-2]), st.integers(1, 8)
)


def walk_candles(shape: tuple[int, int, float, int]) -> Candles:
    """Return hourly candles of a random walk about 100, some without a volume."""
    seed, count, spread, decimals = shape
    random = np.random.default_rng(seed)
    steps = random.normal(0.0, spread, count)
    close = (100.0 * np.exp(np.cumsum(steps - steps.mean()))).round(decimals)
    before = np.concatenate((close[:1], close[:-1]))
    above, below = random.exponential(spread, (2, count))
    high = (np.maximum(before, close) * (1.0 + above)).round(decimals)
    low = (np.minimum(before, close) * (1.0 - below)).round(decimals)
    volume = np.maximum(random.uniform(-5.0, 100.0, count), 0.0).round(3)
    timestamp = 1_704_067_200 + 3_600 * np.arange(count, dtype=np.int64)
    low, high = np.minimum(low, before), np.maximum(high, before)
    return Candles.from_columns(timestamp, before, high, low, close, volume)


@dataclass(frozen=True)
class IndicatorCase:
    """An indicator with parameters."""

    lines: Callable[[Candles], tuple[FloatArray, ...]]
    """Returns the lines of some candles, each of shape (n,)."""
    lookback: int
    """Candles that decide the last values, as documented."""


def _make_case(line: Callable[[Candles], FloatArray], lookback: int) -> IndicatorCase:
    return IndicatorCase(lambda candles: (line(candles),), lookback)


CASES = {
    "plus_di": _make_case(lambda c: ind.plus_di(c.high, c.low, c.close, 7), ind.di_lookback(7)),
    "minus_di": _make_case(lambda c: ind.minus_di(c.high, c.low, c.close, 7), ind.di_lookback(7)),
    "adx": _make_case(lambda c: ind.adx(c.high, c.low, c.close, 7), ind.adx_lookback(7)),
    "stoch": IndicatorCase(lambda c: ind.stoch(c.high, c.low, c.close, 14, 3, 4), 14 + 3 + 4 - 2),
    "stoch_fast": IndicatorCase(lambda c: ind.stoch_fast(c.high, c.low, c.close, 9, 4), 12),
    "stoch_rsi": IndicatorCase(
        lambda c: ind.stoch_rsi(c.close, 8, 9, 3, 4), ind.stoch_rsi_lookback(8, 9, 3, 4)
    ),
    "cci": _make_case(lambda c: ind.cci(c.high, c.low, c.close, 20), 20),
    "mfi": _make_case(lambda c: ind.mfi(c.high, c.low, c.close, c.volume, 14), 15),
    "sar": _make_case(lambda c: ind.sar(c.high, c.low, 0.05), ind.sar_lookback(0.05)),
    "dema": _make_case(lambda c: ind.dema(c.close, 9), ind.dema_lookback(9)),
    "tema": _make_case(lambda c: ind.tema(c.close, 9), ind.tema_lookback(9)),
    "hma": _make_case(lambda c: ind.hma(c.close, 20), ind.hma_lookback(20)),
    "kama": _make_case(lambda c: ind.kama(c.close, 10, 2, 12), ind.kama_lookback(10, 12)),
    "obv": _make_case(lambda c: ind.obv(c.close, c.volume, 30), 31),
    "heikin_ashi": IndicatorCase(
        lambda c: ind.heikin_ashi(c.open, c.high, c.low, c.close), ind.heikin_ashi_lookback()
    ),
    "ichimoku": IndicatorCase(lambda c: ind.ichimoku(c.high, c.low), ind.ichimoku_lookback()),
    "supertrend": IndicatorCase(
        lambda c: ind.supertrend(c.high, c.low, c.close, 5, 1.5), ind.supertrend_lookback(5, 1.5)
    ),
    "roc": _make_case(lambda c: ind.roc(c.close, 10), 11),
    "momentum": _make_case(lambda c: ind.momentum(c.close, 10), 11),
    "cmo": _make_case(lambda c: ind.cmo(c.close, 14), 15),
    "williams_r": _make_case(lambda c: ind.williams_r(c.high, c.low, c.close, 14), 14),
    "keltner": IndicatorCase(
        lambda c: ind.keltner(c.high, c.low, c.close, 20, 2.0), ind.keltner_lookback(20)
    ),
    "aroon": IndicatorCase(lambda c: ind.aroon(c.high, c.low, 25), 26),
    "rolling_vwap": _make_case(
        lambda c: ind.rolling_vwap(c.high, c.low, c.close, c.volume, 20), 20
    ),
    "session_vwap": _make_case(
        lambda c: ind.session_vwap(c.timestamp, c.high, c.low, c.close, c.volume, "Europe/Berlin"),
        ind.session_vwap_lookback("1h"),
    ),
    "linear_regression": IndicatorCase(lambda c: ind.linear_regression(c.close, 14), 14),
    "z_score": _make_case(lambda c: ind.z_score(c.close, 20, 1), 20),
    "bollinger": IndicatorCase(lambda c: ind.bollinger(c.close, 20, 2.0, ddof=1), 20),
}
