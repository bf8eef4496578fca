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
from onetape.core.strategy_levels import LevelColumns, LevelMode
from onetape.core.timeframes import Timeframe
from onetape.strategies.higher_timeframes import Higher, HigherCandles, InputSeries

#: Length of a message, which comes before it.
HEADER: Final = struct.Struct("<Q")
#: Maximum length of a reply, bytes.
MOST_BYTES: Final = 1 << 28
#: Names of the columns of `Candles`, in the order of `CandleColumns.columns`.
_COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")


class CandleColumns(Struct, frozen=True):
    """Candles as bytes."""

    columns: tuple[bytes, bytes, bytes, bytes, bytes, bytes]
    """Timestamps (int64), then open, high, low, close and volume (float64)."""

    @classmethod
    def of(cls, candles: Candles) -> "CandleColumns":
        """Return candles as bytes."""
        first, *others = (getattr(candles, name).tobytes() for name in _COLUMNS)
        return cls((first, *others))  # pyright: ignore[reportArgumentType] - six columns

    def decode(self) -> Candles:
        """Return the candles; their arrays are read-only."""
        timestamp, *values = self.columns
        return Candles.from_columns(
            np.frombuffer(timestamp, np.int64), *(np.frombuffer(one, np.float64) for one in values)
        )


class HigherColumns(Struct, frozen=True):
    """Candles of a higher timeframe or another market as bytes."""

    candles: CandleColumns
    timeframe: str
    visible: bytes
    """Column `visible` of `HigherCandles`, int64."""
    symbol: str = ""
    """Symbol of another market; empty: the traded symbol."""

    @classmethod
    def of(cls, higher: HigherCandles) -> "HigherColumns":
        """Return candles of a higher timeframe or another market as bytes."""
        visible = np.ascontiguousarray(higher.visible, np.int64).tobytes()
        return cls(CandleColumns.of(higher), higher.timeframe.name, visible, higher.symbol)

    def decode(self) -> HigherCandles:
        """Return the candles; their arrays are read-only."""
        visible = np.frombuffer(self.visible, np.int64)
        timeframe = Timeframe.parse(self.timeframe)
        return HigherCandles.from_candles(self.candles.decode(), timeframe, visible, self.symbol)


class LoadRequest(Struct, frozen=True, tag="load"):
    """Request to load a strategy."""

    key: int
    """Number of the strategy in later requests; a worker may hold several strategies."""
    name: str
    parameters: dict[str, Any]
    user_folder: str
    timeframe: str
    """The traded timeframe; higher timeframes of the strategy must be multiples of it."""


class EvaluateRequest(Struct, frozen=True, tag="evaluate"):
    """Request to evaluate a strategy once, over all of the candles."""

    key: int
    """Number of the strategy, of its `LoadRequest`."""
    candles: CandleColumns
    higher: dict[str, HigherColumns]
    """Candles of the higher timeframes and other markets, by their name in `higher`."""
    rows: int
    """Number of candles to decide on, the last ones of `candles`."""


class LoadedStrategy(Struct, frozen=True, tag="loaded"):
    """Reply: facts about a loaded strategy, so that the trader need not run its code."""

    name: str
    lookback: int
    """Number of candles that the strategy needs for one signal."""
    higher_lookback: int
    """Number of candles of each of `inputs` that the strategy needs for one signal."""
    inputs: tuple[InputSeries, ...]
    """Higher timeframes and other markets that the strategy reads."""
    parameters: dict[str, Any]
    code_digest: str
    """SHA-256, in hex, of the source code that the signals depend on."""
    note: str = ""
    """Note for the user about the strategy's file, one sentence; empty: no note."""
    class_name: str = ""
    """Name of the class or function in the strategy's file."""
    has_others: bool = False
    """Whether the strategy's file holds other strategies too."""
    limit_expiry_candles: int | None = None
    """Number of candles for which a limit order to buy stays open; None: no limit orders."""


class CandleView(Struct, frozen=True):
    """Indicators and texts of a strategy on one candle."""

    indicators: dict[str, float | None]
    """Value of each indicator; None where it is not a finite number."""
    flat: str
    """Text of the strategy about the candle, if no position is open."""
    holding: str
    """Text of the strategy about the candle, if a position is open."""


class LevelBytes(Struct, frozen=True):
    """Prices that a strategy gives as bytes: one float for each candle of the request."""

    stop: bytes | None
    target: bytes | None
    stop_mode: LevelMode
    target_mode: LevelMode
    limit: bytes | None = None
    expiry_candles: int = 1

    @classmethod
    def of(cls, levels: LevelColumns | None) -> "LevelBytes | None":
        """Return the prices as bytes; None where the strategy gives none."""
        if levels is None:
            return None
        stop, target, limit = (
            None if one is None else np.ascontiguousarray(one).tobytes()
            for one in (levels.stop, levels.target, levels.limit)
        )
        modes = levels.stop_mode, levels.target_mode
        return cls(stop, target, *modes, limit, levels.expiry_candles)

    def decode(self) -> LevelColumns:
        """Return the prices by candle; their arrays cannot be written.

        Raises:
            ValueError: the bytes are no whole floats.
        """
        stop, target, limit = (
            None if one is None else np.frombuffer(one, np.float64)
            for one in (self.stop, self.target, self.limit)
        )
        modes = self.stop_mode, self.target_mode
        return LevelColumns(stop, target, *modes, limit, self.expiry_candles)


class EvaluationReply(Struct, frozen=True, tag="evaluated"):
    """Reply: signals of all candles, and views of those to decide on."""

    signal: bytes
    """1 BUY, -1 SELL, 0 HOLD, one byte for each candle of the request."""
    views: list[CandleView]
    """Indicators and texts on each candle to decide on, oldest first."""
    levels: LevelBytes | None = None
    """Stops, targets and limits of the strategy; None: it gives none."""


class FailureReply(Struct, frozen=True, tag="failure"):
    """Reply: the strategy raised an error, or returned something that is not usable."""

    kind: str
    """Name of the error's class in `onetape.core.errors`."""
    text: str
    """Text of the error."""
    settings: tuple[str, ...] = ()
    """Dotted keys of the settings that the error is about."""


Request = LoadRequest | EvaluateRequest
Reply = LoadedStrategy | EvaluationReply | FailureReply
_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_REPLIES: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)


def make_evaluate_request(key: int, candles: Candles, higher: Higher, rows: int) -> EvaluateRequest:
    """Return the request to evaluate a strategy.

    Args:
        key: Number of the strategy.
        candles: Closed candles, oldest first.
        higher: Candles of each higher timeframe and other market of the strategy.
        rows: Number of candles to decide on, the last ones of `candles`.
    """
    columns = {name: HigherColumns.of(one) for name, one in higher.items()}
    return EvaluateRequest(key, CandleColumns.of(candles), columns, rows)


def encode(message: Request | Reply) -> bytes:
    """Return a message with its length before it."""
    body = _ENCODER.encode(message)
    return HEADER.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """Return the request of a message without its length.

    Raises:
        msgspec.DecodeError: the bytes are no request.
    """
    return _REQUESTS.decode(body)


def decode_reply(body: bytes) -> Reply:
    """Return the reply of a message without its length.

    Raises:
        msgspec.DecodeError: the bytes are no reply.
    """
    return _REPLIES.decode(body)


def decode_higher(columns: Mapping[str, HigherColumns]) -> Higher:
    """Return candles of higher timeframes and other markets by their name."""
    return {name: one.decode() for name, one in columns.items()}
