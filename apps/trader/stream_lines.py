"""Lines about the stream: where candles come from, and quiet markets."""

import time

from onetape.cli.output import print_line
from onetape.core.words import format_duration
from onetape.websocket.events import StreamOpened

#: A market that is quiet again and again is printed this often, wall seconds.
QUIET_LINE_SECONDS = 3_600.0


def source_line(opened: StreamOpened) -> str:
    """Return where the candles come from, in one line."""
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
    """Prints that a market is quiet, once in an hour."""

    def __init__(self) -> None:
        """Begin without a line."""
        self._printed: float | None = None

    def print_quiet(self, seconds: float) -> None:
        """Print that no frame came for so long, unless that was printed lately."""
        now = time.monotonic()
        if self._printed is not None and now - self._printed < QUIET_LINE_SECONDS:
            return
        self._printed = now
        print_line(
            f"quiet: no frame for {format_duration(seconds)}, and REST has nothing newer; "
            "no trade is made at the exchange, and the trader goes on"
        )
