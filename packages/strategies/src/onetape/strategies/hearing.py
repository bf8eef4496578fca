"""What a strategy's own code does besides deciding: it may print, and leave the working folder.

Stdout belongs to the program's result, and relative paths are those of whoever started it.
"""

import contextlib
import io
import os
import sys
from contextlib import AbstractContextManager
from typing import Any


class _Nowhere(io.TextIOBase):
    """Takes any text and keeps none."""

    def write(self, text: str) -> int:
        """Return the length, as a file that wrote it would."""
        return len(text)


_NOWHERE = _Nowhere()


# Classes, because a check comes here for each bar: a generator takes twice as long.
class _PrintingToStderr:
    def __enter__(self) -> None:
        self._folder, self._stdout = _working_folder(), sys.stdout
        sys.stdout = sys.stderr

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._stdout
        if self._folder is not None and _working_folder() != self._folder:
            # One that was deleted meanwhile: whoever needs a path in it says so.
            with contextlib.suppress(OSError):
                os.chdir(self._folder)


class _Silenced:
    def __enter__(self) -> None:
        self._stderr: Any = sys.stderr
        sys.stderr = _NOWHERE

    def __exit__(self, *_: object) -> None:
        sys.stderr = self._stderr


def printing_to_stderr() -> AbstractContextManager[None]:
    """Send what is printed inside to stderr, and come back to the working folder at the end."""
    return _PrintingToStderr()


def _working_folder() -> str | None:
    # A check comes here for each bar: `Path.cwd` and `suppress` take several times as long.
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was deleted
        return None


def silenced() -> AbstractContextManager[None]:
    """Drop what is printed inside: a check runs a strategy hundreds of times more."""
    return _Silenced()
