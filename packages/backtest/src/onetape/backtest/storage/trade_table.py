"""`trades.csv` of a saved run: writing, and reading with a check of every value."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import astuple

from onetape.backtest.records import TIME_COLUMNS, TRADE_COLUMNS, Moment, TradeRecord
from onetape.core.clock import format_utc

_HEADER: Final = [*TIME_COLUMNS, *TRADE_COLUMNS]
#: Columns that are empty for an open trade.
_OF_EXIT: Final = ("exit_index", "exit_timestamp", "exit_price", "exit_kind")


class _TradeTimes(msgspec.Struct):
    """The moments of a trade, within the range of the calendar."""

    entry_timestamp: Moment
    exit_timestamp: Moment | None


def read_trades(path: Path, closed: int, *, open_at_end: bool) -> list[TradeRecord]:
    """Return the trades of a saved run.

    Args:
        path: Path of the file.
        closed: Number of trades with an exit in the manifest.
        open_at_end: Whether the file has open trades too.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no table of trades, or has another number of trades.
    """
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        lines = [*csv.reader(io.StringIO(text, newline=""), strict=True)]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not lines or lines[0] != _HEADER or not text.endswith("\n"):
        raise ValueError("it does not begin and end as a table of trades")
    trades = [_parse_trade(number, line) for number, line in enumerate(lines[1:], 1)]
    left_open = sum(trade.open_at_end for trade in trades)
    if len(trades) - left_open != closed or (left_open > 0) is not open_at_end:
        stated_open = "one or more open at the end" if open_at_end else "none open"
        raise ValueError(
            f"it has {len(trades) - left_open:,} closed trades and {left_open:,} open, and the "
            f"manifest counts {closed:,} closed and {stated_open}"
        )
    return trades


def _parse_trade(number: int, line: list[str]) -> TradeRecord:
    try:
        row: dict[str, str | None] = dict(zip(_HEADER, line, strict=True))
        row |= {name: None for name in _OF_EXIT if not row[name]}
        trade = msgspec.convert(row, TradeRecord, strict=False)
        msgspec.convert(row, _TradeTimes, strict=False)
    except ValueError as error:
        raise ValueError(f"trade {number:,}: {error}") from error
    if any((row[name] is None) is not trade.open_at_end for name in _OF_EXIT):
        raise ValueError(f"trade {number:,}: only a part of its exit is stored")
    return trade


def write_trades(trades: Sequence[TradeRecord], path: Path) -> None:
    """Write the trades of a run.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*TIME_COLUMNS, *TRADE_COLUMNS])
        for trade in trades:
            times = (trade.entry_timestamp, trade.exit_timestamp)
            read = ("" if time is None else format_utc(time) for time in times)
            writer.writerow([*read, *astuple(trade)])
