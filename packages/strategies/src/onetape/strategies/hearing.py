"""What a strategy's own code prints while it runs: stdout belongs to the program's result."""

import contextlib
import io
import sys
from collections.abc import Generator


class _Nowhere(io.TextIOBase):
    """Takes any text and keeps none."""

    def write(self, text: str) -> int:
        """Return the length, as a file that wrote it would."""
        return len(text)


_NOWHERE = _Nowhere()


@contextlib.contextmanager
def printing_to_stderr() -> Generator[None]:
    """Send what is printed inside to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def silenced() -> Generator[None]:
    """Drop what is printed inside: a check runs a strategy hundreds of times more."""
    with contextlib.redirect_stderr(_NOWHERE):
        yield
