"""Detects streams of a symbol that have carried nothing for too long, all of them or one alone.

A market without trades sends no frames, and that is no fault. But if the ticker has a new price and
no new candle comes, the candle stream is broken, and vice versa.
"""

import time


class IdleTimer:
    """Measures the time since the last frames of one symbol's streams. Seconds of wall time."""

    def __init__(self) -> None:
        """Begin without a stream, as if a frame had just come."""
        self._streams: set[str] = set()
        self._prices: dict[str, float | None] = {}
        self._behind_since: dict[str, float] = {}
        self._last_frame = time.monotonic()
        self._postponed_until = 0.0

    def add(self, stream: str) -> None:
        """Add a stream whose frames the timer waits for."""
        self._streams.add(stream)

    def restart(self) -> None:
        """Drop all frames, because the connection is new."""
        self._last_frame = time.monotonic()
        self._postponed_until = 0.0
        self._prices.clear()
        self._behind_since.clear()

    def postpone(self, seconds: float) -> None:
        """Count the time without frames again only after a pause: REST has nothing newer either."""
        self._postponed_until = time.monotonic() + seconds

    def note_frame(self, stream: str, price: float | None) -> None:
        """Note the arrival of a frame on a stream.

        Args:
            stream: The stream that carried it.
            price: The last price in it; None where it has none.
        """
        now = self._last_frame = time.monotonic()
        self._postponed_until = 0.0
        self._behind_since.pop(stream, None)
        if price is None:
            return
        before = self._prices.get(stream)
        self._prices[stream] = price
        for other in self._streams:
            if other == stream:
                continue
            if self._prices.get(other) == price:
                self._behind_since.pop(other, None)
            elif before is not None and before != price:
                self._behind_since.setdefault(other, now)

    def compute_quiet_seconds(self) -> float:
        """Return the time since the last frame of any stream; 0 while postponed."""
        now = time.monotonic()
        return 0.0 if now < self._postponed_until else now - self._last_frame

    def compute_seconds_since_frame(self) -> float:
        """Return the time since the last frame of any stream."""
        return time.monotonic() - self._last_frame

    def find_longest_lag(self) -> tuple[float, str]:
        """Return the longest time that one stream did not follow a price of another, and its name.

        0 and an empty name where every stream follows.
        """
        now = time.monotonic()
        return max(
            ((now - since, stream) for stream, since in self._behind_since.items()),
            default=(0.0, ""),
        )
