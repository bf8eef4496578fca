"""Declarations of the entry guards of an account (entry_guards.py): one text for each rule."""

from typing import Final

from onetape.core.setting import Setting


def _declare_guard(flag: str, purpose: str, bound: str = "", value: str = "") -> Setting:
    """Return the declaration of one entry guard.

    Args:
        flag: Flag of the setting.
        purpose: Text for the help: what the guard does.
        bound: Name of a number that must be given in addition to the three counts.
        value: Example of that number.
    """
    counts = ("trade_limit", "lookback_period_candles", "stop_duration_candles")
    *names, last = (*counts, bound) if bound else counts
    example = "trade_limit=4,lookback_period_candles=24,stop_duration_candles=12"
    return Setting(
        f"{purpose}: {', '.join(names)} and {last}, each as NAME=NUMBER, joined by commas.",
        flag=flag,
        metavar="NUMBERS",
        empty="no pause",
        unit="numbers",
        rule=f"pauses{purpose.removeprefix('Pause')} ([Entry guards](#entry-guards))",
        example=f"{example},{bound}={value}" if bound else example,
    )


STOPLOSS_GUARD: Final = _declare_guard("--stoploss-guard", "Pause entries after several stops")
DRAWDOWN_PAUSE: Final = _declare_guard(
    "--drawdown-pause",
    "Pause entries after a drawdown of closed trades",
    "max_allowed_drawdown",
    "0.1",
)
LOW_PROFIT_PAIRS: Final = _declare_guard(
    "--low-profit-pairs",
    "Pause entries of a symbol whose closed trades have a low profit",
    "required_profit",
    "0.01",
)
