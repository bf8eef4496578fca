"""The settings of strategy, account and exits, out of flags that two programs share."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from onetape.core.errors import UsageError
from onetape.core.words import did_you_mean

#: What a sizing's number may be, by its name.
SIZINGS: Final = {
    "quote_amount": "500",
    "base_amount": "1",
    "equity_share": "0.5",
    "risk_per_trade": "0.01",
    "volatility_target": "0.2",
}


def trading_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are the same in backtest and trader; None where nothing was said.

    Args:
        given: The parameters of the command by name, as typer read them.

    Raises:
        UsageError: a --param or --sizing cannot be used.
    """
    return {
        "strategy": {"name": given["strategy"], "parameters": parse_parameters(given["param"])},
        "account": {
            "cash": given["cash"],
            "fee_rate": given["fee"],
            "maker_fee_rate": given["maker_fee"],
            "fee_coin": given["fee_coin"],
            "slippage_bps": given["slippage"],
            "spread_bps": given["spread_bps"],
            "volume_impact": given["volume_impact"],
            "cool_down_bars": given["cool_down"],
            "reentry": given["reentry"],
            **parse_sizing(given["sizing"]),
        },
        "exits": {
            "stop_loss": given["stop_loss"],
            "take_profit": given["take_profit"],
            "trailing_stop": given["trailing_stop"],
            "time_stop_bars": given["time_stop"],
            # One text: it replaces a file's table rather than add to it.
            "target_table": ",".join(given["target"]) if given["target"] else None,
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
    """Return the settings of `--sizing all_in` or `--sizing equity_share=0.5`.

    Raises:
        UsageError: there is no such sizing, or all_in is given a number.
    """
    if given is None or not given.strip():
        return {"sizing": given} if given is not None else {}
    name, equals, value = (part.strip() for part in given.partition("="))
    if name not in SIZINGS and (name != "all_in" or equals):
        forms = ", ".join(f"{one}={number}" for one, number in SIZINGS.items())
        raise UsageError(
            f"--sizing {given!r} was not understood; write all_in, or a kind with its number: "
            f"{forms}{did_you_mean(name, SIZINGS)}"
        )
    return {"sizing": name, name: value} if equals else {"sizing": name}
