"""Indicators in NumPy alone, each value from a window of fixed length.

docs/strategies.md lists them. A module is imported when one of its names is first used: a backtest
of averages needs no other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from onetape.strategies.indicators.averages import (
        NOISE,
        crosses,
        ema,
        ema_lookback,
        sma,
        wilder,
    )
    from onetape.strategies.indicators.moving_averages import (
        LinearRegression,
        dema,
        dema_lookback,
        hma,
        hma_lookback,
        kama,
        kama_lookback,
        kama_memory,
        linear_regression,
        tema,
        tema_lookback,
    )
    from onetape.strategies.indicators.oscillators import (
        Macd,
        Stochastic,
        cci,
        cmo,
        macd,
        macd_lookback,
        momentum,
        roc,
        rsi,
        rsi_lookback,
        stoch,
        stoch_fast,
        stoch_rsi,
        stoch_rsi_lookback,
        williams_r,
    )
    from onetape.strategies.indicators.rolling import (
        deviation,
        highest,
        lowest,
        previous,
        wma,
    )
    from onetape.strategies.indicators.trailing import (
        Supertrend,
        sar,
        sar_lookback,
        supertrend,
        supertrend_lookback,
        supertrend_memory,
    )
    from onetape.strategies.indicators.trend import (
        Aroon,
        HeikinAshi,
        Ichimoku,
        adx,
        adx_lookback,
        aroon,
        di_lookback,
        heikin_ashi,
        heikin_ashi_lookback,
        ichimoku,
        ichimoku_lookback,
        minus_di,
        plus_di,
    )
    from onetape.strategies.indicators.volatility import (
        Bands,
        atr,
        atr_lookback,
        bollinger,
        keltner,
        keltner_lookback,
        true_range,
        z_score,
    )
    from onetape.strategies.indicators.volume import (
        mfi,
        obv,
        rolling_vwap,
        session_vwap,
        session_vwap_lookback,
    )

__all__ = [
    "NOISE",
    "Aroon",
    "Bands",
    "HeikinAshi",
    "Ichimoku",
    "LinearRegression",
    "Macd",
    "Stochastic",
    "Supertrend",
    "adx",
    "adx_lookback",
    "aroon",
    "atr",
    "atr_lookback",
    "bollinger",
    "cci",
    "cmo",
    "crosses",
    "dema",
    "dema_lookback",
    "deviation",
    "di_lookback",
    "ema",
    "ema_lookback",
    "heikin_ashi",
    "heikin_ashi_lookback",
    "highest",
    "hma",
    "hma_lookback",
    "ichimoku",
    "ichimoku_lookback",
    "kama",
    "kama_lookback",
    "kama_memory",
    "keltner",
    "keltner_lookback",
    "linear_regression",
    "lowest",
    "macd",
    "macd_lookback",
    "mfi",
    "minus_di",
    "momentum",
    "obv",
    "plus_di",
    "previous",
    "roc",
    "rolling_vwap",
    "rsi",
    "rsi_lookback",
    "sar",
    "sar_lookback",
    "session_vwap",
    "session_vwap_lookback",
    "sma",
    "stoch",
    "stoch_fast",
    "stoch_rsi",
    "stoch_rsi_lookback",
    "supertrend",
    "supertrend_lookback",
    "supertrend_memory",
    "tema",
    "tema_lookback",
    "true_range",
    "wilder",
    "williams_r",
    "wma",
    "z_score",
]

#: Names by the module that defines them.
_MODULES: Final = {
    "averages": (
        "NOISE",
        "crosses",
        "ema",
        "ema_lookback",
        "sma",
        "wilder",
    ),
    "rolling": (
        "deviation",
        "highest",
        "lowest",
        "previous",
        "wma",
    ),
    "oscillators": (
        "Macd",
        "Stochastic",
        "cci",
        "cmo",
        "macd",
        "macd_lookback",
        "momentum",
        "roc",
        "rsi",
        "rsi_lookback",
        "stoch",
        "stoch_fast",
        "stoch_rsi",
        "stoch_rsi_lookback",
        "williams_r",
    ),
    "volatility": (
        "Bands",
        "atr",
        "atr_lookback",
        "bollinger",
        "keltner",
        "keltner_lookback",
        "true_range",
        "z_score",
    ),
    "moving_averages": (
        "LinearRegression",
        "dema",
        "dema_lookback",
        "hma",
        "hma_lookback",
        "kama",
        "kama_lookback",
        "kama_memory",
        "linear_regression",
        "tema",
        "tema_lookback",
    ),
    "trend": (
        "Aroon",
        "HeikinAshi",
        "Ichimoku",
        "adx",
        "adx_lookback",
        "aroon",
        "di_lookback",
        "heikin_ashi",
        "heikin_ashi_lookback",
        "ichimoku",
        "ichimoku_lookback",
        "minus_di",
        "plus_di",
    ),
    "trailing": (
        "Supertrend",
        "sar",
        "sar_lookback",
        "supertrend",
        "supertrend_lookback",
        "supertrend_memory",
    ),
    "volume": (
        "mfi",
        "obv",
        "rolling_vwap",
        "session_vwap",
        "session_vwap_lookback",
    ),
}
_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Return the object of a name, and cache it."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of all indicators."""
    return sorted({*globals(), *__all__})
