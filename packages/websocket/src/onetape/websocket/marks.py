"""Read the exchange's own mark that a candle is final from raw frames, because CCXT drops it.

The mark is `k.x` at Binance and its regional exchanges, `confirm` at Bybit, and the last of nine
columns at OKX. The streams of other exchanges have no such mark in CCXT 4.5.90.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple


class CandleMark(NamedTuple):
    """The candle of one row of a raw frame, and whether the row marks the candle as final."""

    market_id: str
    """The exchange's id of the market."""
    interval: str
    """Timeframe as the exchange names it."""
    timestamp_ms: int
    """Open of the candle, epoch milliseconds."""
    is_final: bool
    """Whether the exchange will not change the candle any more."""


#: Function that yields the marks of a raw candle frame.
MarkReader = Callable[[Any], Iterator[CandleMark]]


def _iterate_binance_marks(message: Any) -> Iterator[CandleMark]:
    row = message["k"]
    yield CandleMark(row["s"], row["i"], int(row["t"]), row["x"] is True)


def _iterate_bybit_marks(message: Any) -> Iterator[CandleMark]:
    _, interval, market_id = message["topic"].split(".")
    for row in message["data"]:
        yield CandleMark(market_id, interval, int(row["start"]), row["confirm"] is True)


def _iterate_okx_marks(message: Any) -> Iterator[CandleMark]:
    channel, market_id = message["arg"]["channel"], message["arg"]["instId"]
    interval = channel.removeprefix("candle")
    for row in message["data"]:
        yield CandleMark(market_id, interval, int(row[0]), len(row) == 9 and str(row[8]) == "1")


#: Reader by name of the CCXT class; used for classes that extend one of these, too.
MARK_READERS: Final[dict[str, MarkReader]] = {
    "binance": _iterate_binance_marks,
    "bybit": _iterate_bybit_marks,
    "okx": _iterate_okx_marks,
}


def find_mark_reader(ccxt_class: type) -> MarkReader | None:
    """Return the reader of final-candle marks of a CCXT class; None: its frames have no marks."""
    names = (each.__name__ for each in ccxt_class.__mro__)
    return next((MARK_READERS[name] for name in names if name in MARK_READERS), None)


def read_marks(reader: MarkReader, message: Any) -> list[CandleMark]:
    """Return the candles of a raw candle frame, each with whether it is marked as final.

    Of several rows of a candle, the last one is returned. Empty: the frame has an unknown form.
    """
    try:
        marks = list(reader(message))
    except (LookupError, TypeError, ValueError, AttributeError):
        # CCXT has parsed the frame; candles without a mark are closed by a read of REST.
        return []
    return list(
        {(mark.market_id, mark.interval, mark.timestamp_ms): mark for mark in marks}.values()
    )
