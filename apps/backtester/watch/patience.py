"""Say once that a backtest of the watch takes long: the strategy may hang."""

from typing import Final

#: Seconds after which it is said.
SLOW_AFTER_SECONDS: Final = 10.0


class Patience:
    """Of one backtest."""

    def __init__(self, began: float) -> None:
        """Begin to wait.

        Args:
            began: Seconds of a clock that is never set.
        """
        self._began = began
        self._is_said = False

    def ends(self, now: float) -> bool:
        """Return whether it is time to say it; true once.

        Args:
            now: Seconds of the same clock.
        """
        if self._is_said or now - self._began < SLOW_AFTER_SECONDS:
            return False
        self._is_said = True
        return True
