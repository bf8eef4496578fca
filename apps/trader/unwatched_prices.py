"""Tests whether prices of a candle passed while the market was watched, and are still current.

An exit at a price that passed while the market was not watched is late (`stream_watch`).
"""

from onetape.core.candles import Candle
from onetape.engine import Exit
from onetape.exchange.rest import RestExchange
from onetape.history.gaps import DECIDING_RESPONSES
from onetape.store.candles import find_series_gaps
from onetape.store.gaps import find_unexplained
from trader.session_context import SessionContext
from trader.stepping import RuleStepper
from trader.stream_recorder import StreamRecorder

#: Time that exits wait for a candle that is missing or not closed, wall seconds.
GAP_TIMEOUT_SECONDS = 5.0


class UnwatchedPrices:
    """Compares the candles of one symbol with the present watch of the market."""

    def __init__(
        self, context: SessionContext, exchange: RestExchange, recorder: StreamRecorder
    ) -> None:
        """Initialise.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock measures how old a candle is.
            recorder: Recorder with the present watch of the market.
        """
        self._context = context
        self._exchange = exchange
        self._recorder = recorder

    def find_exit(self, candle: Candle, rules: RuleStepper) -> Exit | None:
        """Return the exit whose price a candle passed before the present watch began, or None.

        Such an exit is late. An exit that an earlier watch saw in this candle is not, such as a
        target that waits for the close of the candle.

        Args:
            candle: The candle, as far as it has formed.
            rules: The rules, fed with the candles before.
        """
        watch = self._recorder.watch
        if watch is not None and candle.timestamp > watch.first.timestamp:
            return None
        begun = rules.find_exit(self.get_first_seen(candle), is_unwatched=True)
        if begun is None or begun.kind == "signal":
            return None
        is_first = watch is not None and candle.timestamp == watch.first.timestamp
        before = watch.before if watch is not None and is_first else None
        if before is None:
            return begun
        is_pending = rules.find_exit(before, is_unwatched=False) is None
        is_same = is_pending and begun == rules.find_exit(before, is_unwatched=True)
        return None if is_same else begun

    def get_first_seen(self, candle: Candle) -> Candle:
        """Return the candle with its values when the present watch began, if it began in it."""
        watch = self._recorder.watch
        is_first = watch is not None and candle.timestamp == watch.first.timestamp
        return watch.first if watch is not None and is_first else candle

    def is_old(self, candle: Candle) -> bool:
        """Return whether a candle ended too long ago for its price to be current."""
        ended_ms = self._context.timeframe.next(candle.timestamp) * 1_000
        age_ms = max(0, self._exchange.now_ms() - ended_ms)
        age_seconds = self._exchange.clock.wall_seconds(age_ms)
        return age_seconds > self._context.settings.max_signal_age_seconds

    def describe_missed_open(self, candle: Candle) -> str | None:
        """Return a text if a candle opened too long ago while the market was not watched.

        The price that an entry is decided for, that of the open, has passed then. An open that was
        watched is not too old: the first trade of a quiet market may come late. If nothing was
        traded in the candle when the watch began, its first trade is watched, and that is its open.

        Args:
            candle: The candle whose open fills an entry.

        Returns:
            None: the open was watched, or it is not old.
        """
        watch = self._recorder.watch
        if watch is not None and watch.has_seen_open(candle.timestamp):
            return None
        age_ms = max(0, self._exchange.now_ms() - candle.timestamp * 1_000)
        age_seconds = self._exchange.clock.wall_seconds(age_ms)
        allowed = self._context.settings.max_signal_age_seconds
        if age_seconds <= allowed:
            return None
        return (
            f"the candle opened {age_seconds:.0f} s ago, while the market was not watched "
            f"(allowed {allowed:g} s)"
        )

    def is_gap_before(self, candle: Candle, decided: int) -> bool:
        """Return whether candles are missing before one for an unknown reason.

        Args:
            candle: The candle.
            decided: Open of the candle that was decided on last, epoch seconds.
        """
        context, start = self._context, self._context.timeframe.next(decided)
        if candle.timestamp <= start:
            return False
        gaps = find_series_gaps(context.store, context.key, start, candle.timestamp)
        return bool(
            find_unexplained(context.store, context.key, gaps, responses=DECIDING_RESPONSES)
        )

    def has_waited(self, timestamp: int) -> bool:
        """Return whether REST had `GAP_TIMEOUT_SECONDS` to return the candles before a time.

        Args:
            timestamp: The time, epoch seconds.
        """
        age_ms = max(0, self._exchange.now_ms() - timestamp * 1_000)
        return self._exchange.clock.wall_seconds(age_ms) > GAP_TIMEOUT_SECONDS
