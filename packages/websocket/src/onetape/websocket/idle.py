"""Measure how long the streams of a symbol have had no frames, all of them or one alone.

A market without trades sends no frames, which is no fault. But if the ticker has a new price and no
new candle comes, the candle stream is broken, and vice versa.
"""

import time


class IdleTimer:
    """Measures the time since the last frames of one symbol's streams, in wall seconds."""

    def __init__(self) -> None:
        """Initialise without a stream; the time begins now."""
        self._streams: set[str] = set()
        self._prices: dict[str, float | None] = {}
        self._behind_since: dict[str, float] = {}
        """Time since which a stream has not had the newest price of another, by stream."""
        self._last_frame = time.monotonic()
        self._postponed_until = 0.0

    def add(self, stream: str) -> None:
        """Add a stream whose frames are expected."""
        self._streams.add(stream)

    def restart(self) -> None:
        """Begin again, because the connection is new."""
        self._last_frame = time.monotonic()
        self._postponed_until = 0.0
        self._prices.clear()
        self._behind_since.clear()

    def postpone(self, seconds: float) -> None:
        """Let `compute_quiet_seconds` return 0 for `seconds`, unless a frame arrives."""
        self._postponed_until = time.monotonic() + seconds

    def note_frame(self, stream: str, price: float | None) -> None:
        """Note the arrival of a frame on a stream.

        Args:
            stream: The stream of the frame.
            price: The last price in the frame; None: it has none.
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
        """Return the time since the last frame of any stream, seconds; 0 while postponed."""
        now = time.monotonic()
        return 0.0 if now < self._postponed_until else now - self._last_frame

    def compute_seconds_since_frame(self) -> float:
        """Return the time since the last frame of any stream, seconds."""
        return time.monotonic() - self._last_frame

    def find_longest_lag(self) -> tuple[float, str]:
        """Return for how long a stream has not had a newer price of another, and its name.

        Of several streams, the one that is behind longest; 0 and an empty name: none is behind.
        """
        now = time.monotonic()
        return max(
            ((now - since, stream) for stream, since in self._behind_since.items()),
            default=(0.0, ""),
        )
