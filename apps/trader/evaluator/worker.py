"""The process that runs a strategy's code: loads and evaluates strategies on request.

The process has one socket to the trader, and neither the database, nor an exchange, nor settings.
"""

import socket

from onetape.core.errors import ConfigurationError, OnetapeError
from onetape.core.message_text import format_error
from onetape.strategies import Strategy
from trader.evaluator.messages import (
    HEADER,
    EvaluationReply,
    FailureReply,
    LevelBytes,
    LoadRequest,
    Reply,
    Request,
    decode_higher,
    decode_request,
    encode,
)
from trader.evaluator.strategy_calls import evaluate_with_views, load_requested_strategy


def serve(connection: socket.socket) -> None:
    """Handle requests until the trader closes its end of the connection.

    Raises:
        OSError: the connection is broken, or the strategy's code has closed it.
    """
    strategies: dict[int, Strategy] = {}
    while (body := _receive(connection)) is not None:
        connection.sendall(encode(_reply(decode_request(body), strategies)))


def _receive(connection: socket.socket) -> bytes | None:
    """Return the next message without its length; None if the trader has closed its end."""
    header = _read(connection, HEADER.size)
    if header is None:
        return None
    (length,) = HEADER.unpack(header)
    return _read(connection, length)


def _read(connection: socket.socket, count: int) -> bytes | None:
    found = bytearray()
    while len(found) < count:
        part = connection.recv(min(count - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)


def _reply(request: Request, strategies: dict[int, Strategy]) -> Reply:
    """Return the reply to a request; any error becomes a FailureReply."""
    try:
        if isinstance(request, LoadRequest):
            strategies[request.key], loaded = load_requested_strategy(request)
            return loaded
        candles, higher = request.candles.decode(), decode_higher(request.higher)
        signals, views = evaluate_with_views(strategies[request.key], candles, higher, request.rows)
        levels = LevelBytes.of(signals.level_columns)
        return EvaluationReply(signals.signal.tobytes(), views, levels)
    except OnetapeError as error:
        return FailureReply(type(error).__name__, str(error), error.settings)
    except BaseException as error:
        # Such as KeyboardInterrupt, raised by the strategy's code.
        text = f"the strategy's code raised {type(error).__name__}: {format_error(error)}"
        return FailureReply(ConfigurationError.__name__, text)
