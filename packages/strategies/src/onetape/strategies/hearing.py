"""What a strategy's own code does besides deciding: it may print, and leave the working folder.

Stdout belongs to the program's result, and relative paths are those of whoever started it.
"""

import contextlib
import io
import os
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
    """Send what is printed inside to stderr, and come back to the working folder at the end."""
    folder = _working_folder()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if folder is not None and _working_folder() != folder:
            # One that was deleted meanwhile: whoever needs a path in it says so.
            with contextlib.suppress(OSError):
                os.chdir(folder)


def _working_folder() -> str | None:
    # A check comes here for each bar: `Path.cwd` and `suppress` take several times as long.
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was deleted
        return None


@contextlib.contextmanager
def silenced() -> Generator[None]:
    """Drop what is printed inside: a check runs a strategy hundreds of times more."""
    with contextlib.redirect_stderr(_NOWHERE):
        yield
