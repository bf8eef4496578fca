"""Entry guards computed from all closed trades at each open, without the engine's code.

As freqtrade does, each exit is looked at with the trades in its look-back period, and a lock lasts
from there to some candles after the newest trade that counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from onetape.engine import AccountConfig

GUARDS = ("stoploss_guard", "drawdown_pause", "low_profit_pairs")
_STOPS = ("stop_loss", "trailing_stop")


@dataclass(frozen=True)
class PlainTrade:
    """A closed trade."""

    symbol: str
    moment: int
    """Open of the candle that filled the exit, epoch seconds."""
    kinds: tuple[str, ...]
    """Kind of the exit; two where both stops are at one price."""
    ratio: float | Decimal
    """Profit as a part of the cost."""
    is_inside: bool

    @property
    def is_stop(self) -> bool:
        return self.kinds[0] in _STOPS


def is_paused(
    rules: AccountConfig,
    trades: Sequence[PlainTrade],
    symbol: str,
    moment: int,
    seconds: int = 3_600,
) -> bool:
    """Return whether a symbol may not enter at an open.

    Args:
        rules: Rules of the account.
        trades: Closed trades in the order of the account's events.
        symbol: Symbol of the entry.
        moment: The open, epoch seconds; exits at this open come first.
        seconds: Length of a candle.
    """
    names = [name for name in GUARDS if getattr(rules, name) is not None]
    if not names:
        return False
    before = [
        one for one in trades if one.moment < moment or (one.moment == moment and not one.is_inside)
    ]
    return any(
        _is_locked(name, getattr(rules, name), before, symbol, moment, seconds) for name in names
    )


def _is_locked(
    name: str, text: str, trades: list[PlainTrade], symbol: str, moment: int, seconds: int
) -> bool:
    given = dict(part.split("=") for part in text.split(","))
    lookback, stop = int(given["lookback_period_candles"]), int(given["stop_duration_candles"])
    is_local = name == "low_profit_pairs" or given.get("only_per_pair") == "yes"
    if is_local:
        trades = [one for one in trades if one.symbol == symbol]
    for number in range(len(trades) - 1, -1, -1):
        exit_ = trades[number]
        if (moment - exit_.moment) / seconds > stop + 0.5:
            break
        window: list[PlainTrade] = []
        for one in reversed(trades[: number + 1]):
            if round((exit_.moment - one.moment) / seconds) >= lookback:
                break
            window.insert(0, one)
        found = _list_counted(name, given, window)
        if len(found) >= int(given["trade_limit"]) and _is_over(name, given, found):
            return round((moment - found[-1].moment) / seconds) <= stop
    return False


def _list_counted(name: str, given: dict[str, str], window: list[PlainTrade]) -> list[PlainTrade]:
    if name != "stoploss_guard":
        return window
    required = given.get("required_profit", "0")
    return [one for one in window if one.is_stop and _is_less(one.ratio, required)]


def _is_over(name: str, given: dict[str, str], found: list[PlainTrade]) -> bool:
    ratios: list[Any] = [one.ratio for one in found]
    zero: Any = Decimal(0) if ratios and isinstance(ratios[0], Decimal) else 0.0
    if name == "low_profit_pairs":
        return _is_less(sum(ratios, zero), given["required_profit"])
    if name == "drawdown_pause":
        sums = [sum(ratios[:count], zero) for count in range(len(ratios) + 1)]
        falls = [max(sums[: at + 1]) - each for at, each in enumerate(sums)]
        return _is_less(-max(falls), str(-Decimal(given["max_allowed_drawdown"])))
    return True


def _is_less(ratio: float | Decimal, bound: str) -> bool:
    """Return whether a ratio is below a bound; floats miss it by their rounding."""
    return ratio < Decimal(bound) if isinstance(ratio, Decimal) else ratio < float(bound) - 1e-9


@st.composite
def draw_guards(draw: st.DrawFn) -> dict[str, Any]:
    """Return settings of one or more entry guards that often pause in small tests."""
    found: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(GUARDS), min_size=1, max_size=3, unique=True)):
        parts: dict[str, int | str] = {
            "trade_limit": draw(st.integers(1, 3)),
            "lookback_period_candles": draw(st.sampled_from([1, 4, 12, 60])),
            "stop_duration_candles": draw(st.sampled_from([1, 2, 5, 20])),
        }
        if name == "stoploss_guard":
            parts["required_profit"] = draw(st.sampled_from([0, "0.01", "-0.021"]))
            parts["only_per_pair"] = draw(st.sampled_from(["yes", "no"]))
        elif name == "drawdown_pause":
            parts["max_allowed_drawdown"] = draw(st.sampled_from([0, "0.015", "0.06"]))
        else:
            parts["required_profit"] = draw(st.sampled_from([0, "0.02", "-0.03"]))
        found[name] = ",".join(f"{key}={value}" for key, value in parts.items())
    return found
