"""The settings of strategy, account and exits, out of flags that two programs share."""

from collections.abc import Mapping, Sequence
from typing import Any

from onetape.core.errors import UsageError


def trading_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are the same in backtest and trader; None where nothing was said.

    Args:
        given: The parameters of the command by name, as typer read them.

    Raises:
        UsageError: a --param cannot be used.
    """
    return {
        "strategy": {"name": given["strategy"], "parameters": parse_parameters(given["param"])},
        "account": {
            "cash": given["cash"],
            "fee_rate": given["fee"],
            "slippage_bps": given["slippage"],
            "cool_down_bars": given["cool_down"],
            **parse_sizing(given["sizing"]),
        },
        "exits": {
            "stop_loss": given["stop_loss"],
            "take_profit": given["take_profit"],
            "trailing_stop": given["trailing_stop"],
            "time_stop_bars": given["time_stop"],
        },
    }


def parse_parameters(given: Sequence[str] | None) -> dict[str, str]:
    """Return the values by name.

    Raises:
        UsageError: one is not written as name=value, or a name is given twice.
    """
    parsed: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--param {text!r} was not understood; write name=value, as period=10")
        if name.strip() in parsed:
            raise UsageError(
                f"--param {name.strip()} is given twice, as {parsed[name.strip()]} and as "
                f"{value.strip()}; leave one out"
            )
        parsed[name.strip()] = value.strip()
    return parsed


def parse_sizing(given: str | None) -> dict[str, str]:
    """Return the settings of `--sizing all_in` or `--sizing equity_share=0.5`."""
    if given is None:
        return {}
    name, equals, value = (part.strip() for part in given.partition("="))
    return {"sizing": name, name: value} if equals else {"sizing": name}
