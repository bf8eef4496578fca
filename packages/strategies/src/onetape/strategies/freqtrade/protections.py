"""Protections of a freqtrade strategy file as the entry guards of an account."""

import math
from collections.abc import Mapping
from typing import Any, Final

#: Setting of the guard that a protection becomes.
GUARDS: Final[Mapping[str, str]] = {
    "StoplossGuard": "account.stoploss_guard",
    "MaxDrawdown": "account.drawdown_pause",
    "LowProfitPairs": "account.low_profit_pairs",
}
#: Numbers of each protection in addition to its two durations, with freqtrade's defaults.
_NUMBERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "StoplossGuard": {"trade_limit": 10, "required_profit": 0.0, "only_per_pair": False},
    "MaxDrawdown": {"trade_limit": 1, "max_allowed_drawdown": 0.0},
    "LowProfitPairs": {"trade_limit": 1, "required_profit": 0.0},
}
#: Minutes of a duration that a protection does not state.
_DEFAULT_MINUTES: Final = 60
#: Words without effect on an account that has long positions only, and the one mode that exists
#: here, with the values that are accepted.
_WITHOUT_EFFECT: Final[Mapping[str, tuple[Any, ...]]] = {
    "only_per_side": (True, False),
    "calculation_mode": ("ratios",),
}


def make_guard_text(protection: Mapping[str, Any], timeframe_minutes: float) -> str:
    """Return a protection as the text of its entry guard.

    freqtrade counts the trades that were closed after a moment, so a look-back period counts up to
    the next whole candle. A lock ends with the first candle after the duration, counted from the
    open of the candle of the exit, so a duration counts whole candles only.

    Args:
        protection: One of the list, whose `method` is in `GUARDS`.
        timeframe_minutes: Length of a candle.

    Raises:
        KeyError: a number has no equivalent; its first argument is the name.
        ValueError: a value cannot be used; the text states what is allowed.
    """
    method = str(protection["method"])
    numbers = _NUMBERS[method]
    for name, value in protection.items():
        is_known = name in numbers or name == "method" or _is_duration(name)
        if not (is_known or value in _WITHOUT_EFFECT.get(name, ())):
            raise KeyError(name)
    values = {name: protection.get(name, default) for name, default in numbers.items()}
    lookback = _count_candles(protection, "lookback_period", timeframe_minutes, math.ceil)
    stop = _count_candles(protection, "stop_duration", timeframe_minutes, math.floor)
    given = {
        "trade_limit": _require_whole(values.pop("trade_limit"), method),
        "lookback_period_candles": lookback,
        "stop_duration_candles": stop,
        **{name: _format_value(value, method) for name, value in values.items()},
    }
    return ",".join(f"{name}={value}" for name, value in given.items())


def _is_duration(name: str) -> bool:
    return name.removesuffix("_candles") in ("lookback_period", "stop_duration")


def _count_candles(
    protection: Mapping[str, Any], name: str, timeframe_minutes: float, rounding: Any
) -> int:
    """Return the candles of a duration; those of the file count before its minutes."""
    method = str(protection["method"])
    if f"{name}_candles" in protection:
        return _require_whole(protection[f"{name}_candles"], method)
    minutes = _require_whole(protection.get(name, _DEFAULT_MINUTES), method)
    candles = int(rounding(minutes / timeframe_minutes))
    if candles < 1:
        msg = f"with a {name} of {method} that is not under a candle"
        raise ValueError(msg)
    return candles


def _require_whole(value: object, method: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    msg = f"with durations and trade_limit of {method} in whole numbers from 1"
    raise ValueError(msg)


def _format_value(value: object, method: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and math.isfinite(value):
        return repr(value)
    msg = f"with numbers in {method}"
    raise ValueError(msg)
