"""Messages between the trader and the process that evaluates strategies.

Each message is a length (8 bytes, little endian) and a MessagePack document of one of the records
below. Nothing is pickled: a message from a strategy's process cannot run code in the trader.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles
from onetape.core.timeframes import Timeframe
from onetape.strategies.higher_timeframes import Higher, HigherCandles

HEADER: Final = struct.Struct("<Q")
#: No message is longer, in bytes.
MOST_BYTES: Final = 1 << 28
_COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")


class CandleColumns(Struct, frozen=True):
    """Candles as bytes: the columns of `Candles`, in their order."""

    columns: tuple[bytes, bytes, bytes, bytes, bytes, bytes]

    @classmethod
    def of(cls, candles: Candles) -> "CandleColumns":
        """Return candles as bytes."""
        first, *others = (getattr(candles, name).tobytes() for name in _COLUMNS)
        return cls((first, *others))  # pyright: ignore[reportArgumentType] - six columns

    def decode(self) -> Candles:
        """Return the candles; their arrays cannot be written."""
        timestamp, *values = self.columns
        return Candles.from_columns(
            np.frombuffer(timestamp, np.int64), *(np.frombuffer(one, np.float64) for one in values)
        )


class HigherColumns(Struct, frozen=True):
    """Candles of a higher timeframe as bytes."""

    candles: CandleColumns
    timeframe: str
    visible: bytes
    """Column `visible` of `HigherCandles`."""

    @classmethod
    def of(cls, higher: HigherCandles) -> "HigherColumns":
        """Return higher-timeframe candles as bytes."""
        visible = np.ascontiguousarray(higher.visible, np.int64).tobytes()
        return cls(CandleColumns.of(higher), higher.timeframe.name, visible)

    def decode(self) -> HigherCandles:
        """Return the candles; their arrays cannot be written."""
        visible = np.frombuffer(self.visible, np.int64)
        return HigherCandles.of(self.candles.decode(), Timeframe.parse(self.timeframe), visible)


class LoadRequest(Struct, frozen=True, tag="load"):
    """Load a strategy."""

    key: int
    """Number that later requests name the strategy by; a process may hold several."""
    name: str
    parameters: dict[str, Any]
    user_folder: str
    timeframe: str
    """The traded timeframe; the strategy's higher timeframes must fit it."""


class EvaluateRequest(Struct, frozen=True, tag="evaluate"):
    """Evaluate a strategy once over all of the candles."""

    key: int
    candles: CandleColumns
    higher: dict[str, HigherColumns]
    rows: int
    """Number of the last candles that are decided on."""


class LoadedStrategy(Struct, frozen=True, tag="loaded"):
    """Facts about a loaded strategy that the trader reads without running its code."""

    name: str
    lookback: int
    """Number of candles that decide the last signal."""
    higher_lookback: int
    """Number of candles of each higher timeframe that decide the last signal."""
    higher_timeframes: tuple[str, ...]
    """Higher timeframes that the strategy needs, as CCXT names them."""
    parameters: dict[str, Any]
    code_digest: str
    """SHA-256, in hex, of the source that decides the signals."""
    note: str = ""
    """Note for the user about the strategy's file, one sentence; empty: no note."""
    class_name: str = ""
    """Name of the class or function in the strategy's file."""
    has_others: bool = False
    """Whether the strategy's file holds other strategies too."""


class CandleView(Struct, frozen=True):
    """Indicators and descriptions of a strategy on one candle."""

    indicators: dict[str, float | None]
    """Value of each indicator; None where it is not a finite number."""
    flat: str
    """Description by the strategy while no position is open."""
    holding: str
    """Description by the strategy while a position is open."""


class Evaluated(Struct, frozen=True, tag="evaluated"):
    """Result of an evaluation: signals, and views of the decided candles."""

    signal: bytes
    """1 BUY, -1 SELL, 0 HOLD, one byte for each candle of the request."""
    views: list[CandleView]
    """Indicators and descriptions of each candle that is decided on, oldest first."""


class FailureReply(Struct, frozen=True, tag="failure"):
    """The strategy raised, or returned something that is not usable."""

    kind: str
    """Name of the error's class in `onetape.core.errors`."""
    text: str
    settings: tuple[str, ...] = ()
    """Dotted keys of the settings that the error is about."""


Request = LoadRequest | EvaluateRequest
Reply = LoadedStrategy | Evaluated | FailureReply
_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_REPLIES: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)


def make_evaluate_request(key: int, candles: Candles, higher: Higher, rows: int) -> EvaluateRequest:
    """Return the request to evaluate a strategy.

    Args:
        key: Number of the strategy.
        candles: Closed candles, oldest first.
        higher: Candles of each higher timeframe of the strategy.
        rows: Number of the last candles that are decided on.
    """
    columns = {name: HigherColumns.of(one) for name, one in higher.items()}
    return EvaluateRequest(key, CandleColumns.of(candles), columns, rows)


def encode(message: Request | Reply) -> bytes:
    """Return a message with its length before it."""
    body = _ENCODER.encode(message)
    return HEADER.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """Return a request.

    Raises:
        msgspec.DecodeError: the bytes are not one.
    """
    return _REQUESTS.decode(body)


def decode_reply(body: bytes) -> Reply:
    """Return a reply.

    Raises:
        msgspec.DecodeError: the bytes are not one.
    """
    return _REPLIES.decode(body)


def decode_higher(columns: Mapping[str, HigherColumns]) -> Higher:
    """Return higher-timeframe candles by timeframe."""
    return {name: one.decode() for name, one in columns.items()}
