"""`trades.csv` of a run that was kept, read again: whole, or refused."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backtester.manifest import Moment
from backtester.runs import TIME_COLUMNS
from backtester.trade_rows import TRADE_COLUMNS
from onetape.engine import Trade

_HEADER: Final = [*TIME_COLUMNS, *TRADE_COLUMNS]
_WHOLE_NUMBERS: Final = (
    "entry_index",
    "entry_timestamp",
    "exit_index",
    "exit_timestamp",
    "bars_held",
)
_TEXTS: Final = ("exit_kind", "symbol", "entry_reason", "exit_reason")
#: What an open trade has none of.
_OF_EXIT: Final = ("exit_index", "exit_timestamp", "exit_price", "exit_kind")


class _Times(msgspec.Struct):
    """The moments of a trade, which must be some."""

    entry_timestamp: Moment
    exit_timestamp: Moment | None


def read_trades(path: Path, closed: int, *, open_at_end: bool) -> list[dict[str, Any]]:
    """Return the trades as `--json` printed them.

    Args:
        path: The file.
        closed: How many trades with an exit the manifest counts.
        open_at_end: Whether it says that there are trades without one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table of trades, or not of so many.
    """
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        lines = [*csv.reader(io.StringIO(text, newline=""), strict=True)]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not lines or lines[0] != _HEADER or not text.endswith("\n"):
        raise ValueError("it does not begin and end as a table of trades")
    trades = [_trade(number, line) for number, line in enumerate(lines[1:], 1)]
    left_open = sum(trade["open_at_end"] for trade in trades)
    if len(trades) - left_open != closed or (left_open > 0) is not open_at_end:
        one = "one or more open at the end" if open_at_end else "none open"
        raise ValueError(
            f"it has {len(trades) - left_open:,} closed trades and {left_open:,} open, and the "
            f"manifest counts {closed:,} closed and {one}"
        )
    return trades


def _trade(number: int, line: Sequence[str]) -> dict[str, Any]:
    try:
        row = dict(zip(_HEADER, line, strict=True))
        trade = {name: _value(name, text) for name, text in row.items() if name not in TIME_COLUMNS}
        msgspec.convert(trade, Trade)
        msgspec.convert(trade, _Times)
    except ValueError as error:
        raise ValueError(f"trade {number:,}: {error}") from error
    if any((trade[name] is None) is not trade["open_at_end"] for name in _OF_EXIT):
        raise ValueError(f"trade {number:,}: its exit is there in part")
    return trade


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return None if name == "exit_kind" and not text else text
    if name == "open_at_end":
        return text == "True"
    if not text:
        return None
    return int(text) if name in _WHOLE_NUMBERS else float(text)
