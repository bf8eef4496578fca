"""The trades of a result or of a saved run as a DataFrame."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from onetape.backtest.records import TIME_COLUMNS, TRADE_COLUMNS, TradeRecord

if TYPE_CHECKING:
    import pandas as pd


def make_trade_frame(trades: Iterable[TradeRecord], symbol: str) -> "pd.DataFrame":
    """Return round trips, one row each, with UTC times of entry and exit.

    Args:
        trades: The trades.
        symbol: Symbol of trades without one, which are those of a run over one symbol.
    """
    import pandas as pd

    frame: Any = pd.DataFrame([astuple(trade) for trade in trades], columns=[*TRADE_COLUMNS])
    for name in TIME_COLUMNS:
        seconds = frame[name.replace("time", "timestamp")].astype("float64")
        frame[name] = pd.to_datetime(seconds, unit="s", utc=True)
    frame["symbol"] = frame["symbol"].replace("", symbol)
    return frame[[*TIME_COLUMNS, *TRADE_COLUMNS]]
