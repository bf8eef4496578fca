"""The time in which the market is watched (`StreamWatch`), and the text about an exit that is late.

An exit has the price of its rule only if the market was watched without a break until it was sent.
If the price passed during an outage, or while no session ran, no order could have sold there: such
an exit is late, and is sold at the first price that is known after that.
"""

from msgspec import Struct

from onetape.core.candles import Candle
from onetape.core.clock import format_utc
from onetape.core.digits import Digits
from onetape.core.untraded import is_untraded
from onetape.store.candles import read_candle_at
from onetape.store.reading import has_volume
from trader.session_context import SessionContext


class StreamWatch(Struct, frozen=True):
    """A time in which the stream is followed without a break, so that no price passes unseen."""

    first: Candle
    """Newest candle of the stream when the watch began, with its values then."""
    before: Candle | None
    """Values of that candle that were stored before the watch began; None: none were."""
    is_first_untraded: bool = False
    """Whether nothing was traded in that candle before the watch began, so that its first trade is
    watched too."""

    def has_seen_open(self, timestamp: int) -> bool:
        """Return whether the first trade of a candle came while the market was watched.

        Args:
            timestamp: Open of the candle, epoch seconds.
        """
        first = self.first.timestamp
        return timestamp > first or (timestamp == first and self.is_first_untraded)


def make_stream_watch(context: SessionContext, first: Candle, *, is_current: bool) -> StreamWatch:
    """Return the watch that begins now, before its first candle is stored.

    Args:
        context: Context of the traded symbol.
        first: The newest candle of the stream.
        is_current: Whether it has just arrived. A row that waited may be older than its trades.
    """
    before = read_candle_at(context.store, context.key, first.timestamp)
    is_quiet = is_current and is_untraded(first) and has_volume(context.store, context.key)
    return StreamWatch(first, before, is_quiet)


def describe_late_price(
    price: float, expected: float, passed: int, now_ms: int, digits: Digits, currency: str
) -> str:
    """Return a text with the difference between the price of a late exit and the decided price.

    Args:
        price: Price of the sale before slippage.
        expected: The level, or the open that the exit was decided for.
        passed: Open of the candle that passed that price, epoch seconds.
        now_ms: Market time, epoch milliseconds.
        digits: Decimals of prices.
        currency: Code of the quote currency.
    """
    text, difference = digits.format_price, price - expected
    side = "above" if difference > 0 else "below"
    gap = "no difference" if difference == 0 else f"{text(abs(difference))} {currency} {side}"
    return (
        f"late by up to {_format_span(now_ms / 1_000 - passed)}: "
        f"{text(expected)} was passed in the candle of {format_utc(passed)}, "
        f"the first price known after that is {text(price)} ({gap})"
    )


def _format_span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
