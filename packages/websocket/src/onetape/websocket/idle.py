"""When a stream has been silent for too long: all of them, or one that others prove to be dead.

A market without trades sends nothing on its candles, and that is no fault. But where the ticker
tells of a new price and the candles do not follow, the candles are dead, and the other way round.
"""

import time


class IdleTimer:
    """Hears every message of a market's streams. Seconds of wall time."""

    def __init__(self, streams: tuple[str, ...]) -> None:
        """Begin with every stream heard just now."""
        self._streams = streams
        self._prices: dict[str, float | None] = {}
        self._behind_since: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """Forget what was heard: the connection is a new one."""
        self._last_message = time.monotonic()
        self._prices.clear()
        self._behind_since.clear()

    def heard(self, stream: str, price: float | None) -> None:
        """Note a message.

        Args:
            stream: Which one it came on.
            price: The last price that it tells; None: it tells none.
        """
        now = self._last_message = time.monotonic()
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

    def silence(self) -> tuple[float, str]:
        """Return how long what should have been heard was not, in seconds, and what it is."""
        now = time.monotonic()
        silences = [(now - self._last_message, "message")]
        silences += [
            (now - since, f"{stream} while the price moved")
            for stream, since in self._behind_since.items()
        ]
        return max(silences)
