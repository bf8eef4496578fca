"""Compares candles that the stream has closed with those of REST, many with one request.

A candle that the exchange marks as final in the stream is used at once. REST may return another
value later; the difference is stored as a revision and accepted as a correction. Each candle is
compared within ten candles, with a tenth of the exchange's request rate at most, and never within a
minute after its close, in which REST may still return another value. With a position open, the
candle is compared right after that minute.
"""

import time

from onetape.core.clock import format_utc
from onetape.exchange.rest import RestExchange
from onetape.history.gaps import fetch_and_record_gaps
from onetape.store.corrections import Correction
from onetape.store.ledger import read_last_side
from onetape.store.ranks import SETTLED_MS
from onetape.store.stream_closes import read_uncompared
from trader.session_context import SessionContext

#: Number of candles after its close at which a candle is compared while no position is open.
COMPARE_AFTER_CANDLES = 5
#: One request in this number may be a comparison: a tenth of the exchange's request rate.
REQUESTS_PER_COMPARISON = 10
#: Minimum time between two comparisons, and longest pause if REST lacks the candle, wall seconds.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class RestComparison:
    """Fetches candles of one series again over REST that only the stream has closed so far."""

    def __init__(
        self, context: SessionContext, exchange: RestExchange, *, is_early: bool = False
    ) -> None:
        """Initialise; candles that an earlier session did not compare are compared too.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange of the candles.
            is_early: Whether each candle is compared a minute after its close, also without a
                position.
        """
        self._context = context
        self._is_early = is_early
        self._exchange = exchange
        self._next_after = 0.0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._oldest: int | None = None
        """Oldest candle of the last request, epoch seconds; if it is due again, the pauses grow."""

    async def run(self) -> None:
        """Fetch the candles that are due, if the request rate allows it; differences are stored.

        Raises:
            ExchangeUnreachable: no usable response.
            StoreError: the file cannot be written.
        """
        if time.monotonic() < self._next_after:
            return
        due = self._find_due_candles()
        if not due:
            return
        shortest = REQUESTS_PER_COMPARISON * self._exchange.seconds_per_request
        # A candle that REST leaves out is fetched more and more rarely.
        again = due[0] == self._oldest
        pause = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS) if again else 0.0
        self._oldest, self._pause_seconds = due[0], max(pause, FIRST_PAUSE_SECONDS)
        self._next_after = time.monotonic() + max(shortest, self._pause_seconds)
        context = self._context
        end = context.timeframe.next(due[-1])
        await fetch_and_record_gaps(
            self._exchange, context.store, context.key, start=due[0], end=end
        )

    def _find_due_candles(self) -> list[int]:
        """Return the opens of the candles to compare now, epoch seconds, oldest first."""
        context, timeframe = self._context, self._context.timeframe
        now_ms = self._exchange.now_ms()
        settled = timeframe.floor(max(now_ms - SETTLED_MS, 0) // 1_000)
        found = read_uncompared(context.store, context.key, end=settled)
        if not found:
            return []
        limit = self._exchange.quirks.page_limit
        is_late = timeframe.count_between(found[0], now_ms // 1_000) > COMPARE_AFTER_CANDLES
        if is_late or self._is_early or self._has_position():
            return [each for each in found if timeframe.count_between(found[0], each) < limit - 5]
        return []

    def _has_position(self) -> bool:
        key, account = self._context.key, self._context.session.account
        return read_last_side(self._context.store, account, key.exchange, key.symbol) == "buy"


def format_correction_line(context: SessionContext, correction: Correction) -> str:
    """Return a line about a corrected candle, such as `...: close 61,240 -> 61,238`."""
    before, after = correction.before, correction.after
    names = ("open", "high", "low", "close", "volume")
    changes = ", ".join(
        f"{name} {_format_value(context, name, old)} -> {_format_value(context, name, new)}"
        for name, old, new in zip(names, before[1:], after[1:], strict=True)
        if old != new
    )
    return f"the candle of {format_utc(after.timestamp)} was corrected: {changes}"


def _format_value(context: SessionContext, name: str, value: float) -> str:
    return f"{value:,}" if name == "volume" else context.digits.format_price(value)
