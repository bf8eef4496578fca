"""The process that runs a strategy's code: loads and evaluates strategies on request.

The process has one socket to the trader, and neither the database, nor an exchange, nor settings.
"""

import math
import socket
from pathlib import Path

from onetape.core.clock import format_utc
from onetape.core.errors import ConfigurationError, OnetapeError
from onetape.core.message_text import format_error
from onetape.core.timeframes import Timeframe
from onetape.strategies import (
    Signals,
    Strategy,
    collect_higher_timeframes,
    collect_parameters,
    compute_strategy_digest,
    evaluate_strategy,
    get_higher_lookback,
    get_lookback,
    load_strategy,
)
from onetape.strategies.annotation_validation import LONGEST_TEXT
from onetape.strategies.output_capture import stdout_to_stderr
from onetape.strategies.registry import has_other_strategies
from trader.evaluator.messages import (
    HEADER,
    CandleView,
    Evaluated,
    EvaluateRequest,
    FailureReply,
    LoadedStrategy,
    LoadRequest,
    Reply,
    Request,
    decode_higher,
    decode_request,
    encode,
)


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
            strategies[request.key], loaded = _load(request)
            return loaded
        return _evaluate(strategies[request.key], request)
    except OnetapeError as error:
        return FailureReply(type(error).__name__, str(error), error.settings)
    except BaseException as error:
        # Such as KeyboardInterrupt, raised by the strategy's code.
        text = f"the strategy's code raised {type(error).__name__}: {format_error(error)}"
        return FailureReply(ConfigurationError.__name__, text)


def _load(request: LoadRequest) -> tuple[Strategy, LoadedStrategy]:
    """Load a strategy; return it with the facts for the trader."""
    strategy = load_strategy(
        request.name, request.parameters, user_folder=Path(request.user_folder)
    )
    higher = collect_higher_timeframes(strategy, Timeframe.parse(request.timeframe))
    loaded = LoadedStrategy(
        name=strategy.name,
        lookback=get_lookback(strategy),
        higher_lookback=get_higher_lookback(strategy) if higher else 0,
        higher_timeframes=tuple(one.name for one in higher),
        parameters={one.name: getattr(strategy, one.name) for one in collect_parameters(strategy)},
        code_digest=compute_strategy_digest(strategy),
        # Of a freqtrade file.
        note=getattr(type(strategy), "without_effect", ""),
        class_name=type(strategy).__name__,
        has_others=has_other_strategies(request.name, Path(request.user_folder)),
    )
    return strategy, loaded


def _evaluate(strategy: Strategy, request: EvaluateRequest) -> Evaluated:
    candles = request.candles.decode()
    signals = evaluate_strategy(strategy, candles, decode_higher(request.higher))
    views = [
        _make_view(strategy, signals, index, int(candles.timestamp[index]))
        for index in range(-request.rows, 0)
    ]
    return Evaluated(signals.signal.tobytes(), views)


def _make_view(strategy: Strategy, signals: Signals, index: int, timestamp: int) -> CandleView:
    """Return indicators and texts of the strategy on one candle.

    Raises:
        ConfigurationError: the strategy's `describe` failed.
    """
    values = {name: float(column[index]) for name, column in signals.indicators.items()}
    return CandleView(
        {name: value if math.isfinite(value) else None for name, value in values.items()},
        flat=_describe_candle(strategy, signals, index, timestamp, holding=False),
        holding=_describe_candle(strategy, signals, index, timestamp, holding=True),
    )


def _describe_candle(
    strategy: Strategy, signals: Signals, index: int, timestamp: int, *, holding: bool
) -> str:
    """Return the strategy's text about a candle, in one line.

    Raises:
        ConfigurationError: `describe` failed.
    """
    try:
        with stdout_to_stderr():
            text = str(strategy.describe(signals, index, holding=holding))[:LONGEST_TEXT]
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"strategy {strategy.name} could not describe the candle {format_utc(timestamp)} "
            f"({type(error).__name__}: {error}); fix its describe() or its indicators"
        ) from error
    return " ".join(text.split())
