"""Declarations of settings that several programs have: symbol, exchange, database, strategy."""

from typing import Annotated, Final

import msgspec

from onetape.core.setting import Setting

SYMBOL: Final = Setting(
    "Spot symbol.", flag="--symbol", short=("-p",), metavar="BASE/QUOTE", unit="symbol"
)
EXCHANGE: Final = Setting(
    "CCXT exchange id, or simulator for the offline exchange.", flag="--exchange", metavar="ID"
)
TIMEFRAME: Final = Setting(
    "Length of a candle, such as 1m, 1h or 1d.",
    flag="--timeframe",
    short=("-t", "-i"),
    metavar="NAME",
)
DATABASE: Final = Setting(
    "Database file.",
    flag="--db",
    metavar="FILE",
    empty="data/onetape.db, or data/simulator.db for the simulator",
)
SIMULATOR_URL: Final = Setting(
    "Address of a running simulator.",
    flag="--simulator-url",
    metavar="URL",
    empty="http://127.0.0.1:8790, or one inside the program",
)


STRATEGY: Final = Setting(
    "Built in: rsi, macd, sma_cross ...; a file of user/strategies by its name; or FILE.py:Class.",
    flag="--strategy",
    short=("-s",),
    metavar="NAME",
)


class StrategySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `strategy` of a program's settings: name and parameters of the strategy."""

    name: Annotated[str, STRATEGY] = "rsi"
    parameters: Annotated[
        dict[str, str],
        Setting(
            "Value of a strategy parameter.",
            flag="--param",
            metavar="NAME=VALUE",
            file_example="{period: 14, buy: 30, sell: 70}",
        ),
    ] = msgspec.field(default_factory=dict[str, str])
