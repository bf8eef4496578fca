"""Printed lines about the stream: where the candles come from, and times without a trade."""

import time

from onetape.cli.output import print_line
from onetape.core.message_text import format_duration
from onetape.websocket.events import StreamOpened

#: Minimum interval between two lines about a market without trades, wall seconds.
QUIET_LINE_SECONDS = 3_600.0


def format_source_line(opened: StreamOpened) -> str:
    """Return a line with the source of the candles: stream, trades or polling."""
    match opened.candle_source:
        case "stream" if opened.has_marks:
            return "candles: stream, closed by the exchange's mark"
        case "stream":
            return "candles: stream, closed over REST (the exchange does not mark final candles)"
        case "trades":
            return "candles: built from trades (no candle stream), closed over REST"
        case "polling":
            return "candles: polled over REST (no stream has them)"


class QuietLines:
    """Prints that a market has no trades, at most once in an hour."""

    def __init__(self) -> None:
        """Initialise; nothing was printed yet."""
        self._printed: float | None = None
        """Time of the last line, monotonic seconds, or None."""

    def print_quiet(self, seconds: float) -> None:
        """Print the time without a frame, unless a line was printed within the last hour."""
        now = time.monotonic()
        if self._printed is not None and now - self._printed < QUIET_LINE_SECONDS:
            return
        self._printed = now
        print_line(
            f"quiet: no frame for {format_duration(seconds)}, and REST has nothing newer; "
            "no trade is made at the exchange, and the trader goes on"
        )
